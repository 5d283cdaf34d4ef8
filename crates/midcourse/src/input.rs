//! Reading data files, compressed or not.

use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::Result;
use midcourse_core::data::{self, DataSet, Responses};
use midcourse_engine::files;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// Decompressed rows beyond this are refused: a bomb, or a file to be split.
const MAX_BYTES: u64 = 8 << 30;

/// A data set and what is recorded of its file.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub set: DataSet,
    /// SHA-256 of the decompressed rows.
    pub sha256: String,
}

/// Reads a data set, decompressing by the file's ending.
pub(crate) fn read(path: &Path, responses: Responses) -> Result<DataFile> {
    let bytes = read_file(path)?;
    let set = data::parse(&path.display().to_string(), &bytes, responses)?;
    Ok(DataFile { set, sha256: hex(&Sha256::digest(&bytes)) })
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
