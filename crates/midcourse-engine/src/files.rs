//! Opening files that people name: a pipe would be waited for, and a device never ends.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::path::Path;

/// Opens a regular file.
pub fn open(path: &Path) -> Result<File> {
    let kind = std::fs::metadata(path)?;
    if kind.is_file() {
        return File::open(path);
    }
    let found = if kind.is_dir() { "directory" } else { "pipe or device" };
    Err(Error::other(format!("expected a regular file, found a {found}")))
}

/// Reads a regular file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::other(format!("expected at most {limit} bytes, found more")));
    }
    Ok(bytes)
}

/// The same as text.
pub fn read_to_string(path: &Path, limit: u64) -> Result<String> {
    let problem = |from| Error::other(format!("expected valid UTF-8, which it is not from byte {from} on"));
    String::from_utf8(read(path, limit)?).map_err(|error| problem(error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_long_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_to_string(&path, 4).unwrap(), "four");
        assert!(read(&path, 3).unwrap_err().to_string().contains("at most 3 bytes"));
        for (path, found) in [(dir.path(), "directory"), (Path::new("/dev/zero"), "device")] {
            assert!(read(path, 9).unwrap_err().to_string().contains(found), "{}", path.display());
        }
    }
}
