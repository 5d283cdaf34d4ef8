//! Reading data: files of rows, compressed or not, and splits of a hub's data sets.

mod arrow;
mod card;
mod objects;
mod parquet;
mod source;

use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Result;
use midcourse_core::data::{self, DataSet, Reader, Responses};
use midcourse_engine::files;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

pub(crate) use arrow::rows as arrow_rows;
pub(crate) use card::{Card, Config};
pub(crate) use objects::{Place, each as each_object, each_as_written};
pub(crate) use source::{DataSource, Located};

/// Decompressed rows beyond this are refused: a bomb, or a file to be split.
const MAX_BYTES: u64 = 8 << 30;

/// A data set and what is recorded of where it comes from.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub set: DataSet,
    /// SHA-256 of the decompressed files, one after the other.
    pub sha256: String,
    /// The commit, of a hub's data set.
    pub commit: Option<String>,
    /// The licences of the rows by the hub's names for them, as far as they are known: the card's, and the format's.
    pub licenses: Vec<String>,
}

/// Reads a data set. Files are decompressed by their endings; Parquet is told by how it begins.
pub(crate) fn read(source: &DataSource, responses: Responses) -> Result<DataFile> {
    read_at(source, None, responses)
}

/// The same, of a hub's data set at the commit that was recorded of it.
pub(crate) fn read_at(source: &DataSource, commit: Option<&str>, responses: Responses) -> Result<DataFile> {
    let located = source.locate(commit)?;
    let mut reader = Reader::new(responses);
    let mut hash = Sha256::new();
    located.each_file(|name, bytes| {
        hash.update(&bytes);
        take(&mut reader, name, bytes)
    })?;
    let set = reader.finish(&source.to_string())?;
    let Located { commit, card, .. } = located;
    let mut licenses = card.licenses;
    if let Some(license) =
        set.format.license().filter(|license| !licenses.iter().any(|there| there == license))
    {
        licenses.push(license.to_owned());
    }
    Ok(DataFile { set, sha256: hex(&hash.finalize()), commit, licenses })
}

/// Reads the rows of one file.
pub(crate) fn take(reader: &mut Reader, name: &str, bytes: Vec<u8>) -> Result<()> {
    if is_parquet(&bytes) {
        return reader.parquet(name, parquet::Rows::open(name, bytes, data::is_column)?);
    }
    Ok(reader.text(name, &bytes)?)
}

/// Whether a file is a Parquet table.
pub(crate) fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(parquet::MAGIC)
}

/// The bytes of a file of rows, decompressed by its ending.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_bytes(path).map_err(|error| Failure::Input {
        problem: format!("{}: {error}", path.display()),
        hint: "check the path and the file; .gz, .xz and .zst are decompressed by their endings".into(),
    })?;
    Ok(bytes)
}

fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = BufReader::new(files::open(path)?);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_compressed = ["gz", "xz", "zst", "zstd"].contains(&ending);
    let reader: Box<dyn Read> = match ending {
        "gz" => Box::new(flate2::read::MultiGzDecoder::new(file)),
        "xz" => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        "zst" | "zstd" => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(file),
    };
    let mut bytes = Vec::new();
    match reader.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        Ok(n_bytes) if n_bytes as u64 > MAX_BYTES => Err(std::io::Error::other("it holds more than 8 GiB")),
        Ok(_) => Ok(bytes),
        Err(error) if is_compressed => {
            Err(std::io::Error::other(format!("after {} decompressed bytes: {error}", bytes.len())))
        }
        Err(error) => Err(error),
    }
}

/// SHA-256 of a file, in hex.
pub(crate) fn sha256_of_file(path: &Path) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = files::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
