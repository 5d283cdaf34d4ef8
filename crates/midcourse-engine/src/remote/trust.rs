//! Whom to trust when a connection is encrypted.

use ureq::tls::{self, PemItem, RootCerts, TlsConfig};

/// Trusts the authorities of a file in PEM, and no others.
///
/// # Errors
/// What was expected and what was found, where it holds no certificate or a broken one.
pub fn trust(pem: &[u8]) -> Result<TlsConfig, String> {
    let certificates: Vec<_> = tls::parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(error.to_string())),
        })
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return Err("expected certificates in PEM, found none".into());
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
}
