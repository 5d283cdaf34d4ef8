//! Deadlines of an exchange, each held at the socket.
//!
//! The HTTP library has limits for connecting, for the head of a reply and for the whole. Its limit for a single
//! read would also cut the wait for the first byte, so [`Pacing`] sets it only once a byte of the reply has come.

use std::time::Duration;

use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// How long parts of an exchange may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// To find the host and agree on a connection, TLS included: 10 s.
    pub connect: Duration,
    /// From the end of the request to the end of the reply's head: 300 s, since a server may queue requests and
    /// answers only when all is sampled.
    pub first_byte: Duration,
    /// From bytes of the reply to the next: 60 s.
    pub between_bytes: Duration,
    /// For all of it: 600 s.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { connect: secs(10), first_byte: secs(300), between_bytes: secs(60), total: secs(600) }
    }
}

/// Puts [`Paced`] around every connection.
#[derive(Debug)]
pub(super) struct Pacing(pub Duration);

/// A connection on which bytes of a reply follow each other within a time.
#[derive(Debug)]
pub(super) struct Paced<T> {
    inner: T,
    between_bytes: Duration,
    has_begun: bool,
}

impl<In: Transport> Connector<In> for Pacing {
    type Out = Paced<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(|inner| Paced { inner, between_bytes: self.0, has_begun: false }))
    }
}

impl<T: Transport> Transport for Paced<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.has_begun = false;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, mut timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if self.has_begun {
            timeout.per_read = Some(self.between_bytes.into());
        }
        let progress = self.inner.await_input(timeout)?;
        self.has_begun = true;
        Ok(progress)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// The system's names of hosts; one that is not found is told from a connection that breaks.
#[derive(Debug, Default)]
pub(super) struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(_) => ureq::Error::HostNotFound,
            other => other,
        })
    }
}
