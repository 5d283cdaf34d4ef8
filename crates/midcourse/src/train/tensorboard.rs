//! Figures of a training for TensorBoard: an event file, written by hand.
//!
//! An event file is a row of records: length (8 bytes), checksum of the length, a message, checksum of the message, all
//! little-endian. A message is an `Event` of protocol buffers; of these the three fields that scalars need are written.
//! Event files hold times, so they are no record of a run: `train.jsonl` is.
//!
//! Source: TensorFlow's `record_writer.cc` (framing, masked CRC-32C), `event.proto` and `summary.proto`; PyTorch's
//! `SummaryWriter` for how a file goes on after a step (`purge_step`).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::storage::{StorageError, at};

/// Where the event files of a run lie.
pub(crate) const DIR: &str = "tensorboard";
/// What the first event of every file says.
const VERSION: &str = "brain.Event:2";
/// `SessionLog.START`: what was recorded at later steps by an earlier file does not count.
const START: u64 = 1;

/// An event file that is written to.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Begins a file beside those of earlier sessions; `from` is the first step of a run that goes on.
    pub(crate) fn create(run: &Path, from: Option<u64>) -> Result<Self, StorageError> {
        let dir = run.join(DIR);
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        let now = since_1970();
        // Files are read in the order of their names, so the time stands first; the process tells sessions of one
        // second apart.
        let name = format!("events.out.tfevents.{:010}.midcourse.{}", now as u64, std::process::id());
        let path = dir.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
        let mut events = Self { path, file };
        events.write(&[version(now, None)])?;
        if let Some(step) = from {
            events.write(&[version(now, from), session_start(now, step)])?;
        }
        Ok(events)
    }

    /// Adds the figures of a step. The names are those of a training log; figures of held-out data begin with `eval_`.
    pub(crate) fn add(&mut self, step: u64, figures: &[(String, f64)]) -> Result<(), StorageError> {
        self.write(&[scalars(since_1970(), step, figures)])
    }

    fn write(&mut self, events: &[Vec<u8>]) -> Result<(), StorageError> {
        let bytes: Vec<u8> = events.iter().flat_map(|event| record(event)).collect();
        self.file.write_all(&bytes).map_err(at(&self.path))
    }
}

fn since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The event that says which version a file is of.
fn version(wall_time: f64, step: Option<u64>) -> Vec<u8> {
    let mut event = begin(wall_time, step.unwrap_or(0));
    bytes_field(&mut event, 3, VERSION.as_bytes());
    event
}

/// The event after which what earlier files say of later steps is dropped.
fn session_start(wall_time: f64, step: u64) -> Vec<u8> {
    let mut status = Vec::new();
    varint_field(&mut status, 1, START);
    let mut event = begin(wall_time, step);
    bytes_field(&mut event, 7, &status);
    event
}

/// The event with figures of a step, under the names that the transformers library gives them.
fn scalars(wall_time: f64, step: u64, figures: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (name, figure) in figures {
        let tag = name.strip_prefix("eval_").map_or_else(|| format!("train/{name}"), |n| format!("eval/{n}"));
        let mut value = Vec::new();
        bytes_field(&mut value, 1, tag.as_bytes());
        key(&mut value, 2, Wire::Fixed32);
        value.extend((*figure as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &value);
    }
    let mut event = begin(wall_time, step);
    bytes_field(&mut event, 5, &summary);
    event
}

/// Time and step of an event; a step of 0 is left out, as protocol buffers do.
fn begin(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, Wire::Fixed64);
    event.extend(wall_time.to_le_bytes());
    if step > 0 {
        varint_field(&mut event, 2, step);
    }
    event
}

/// How a field of a message is written down.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

fn key(out: &mut Vec<u8>, field: u64, wire: Wire) {
    varint(out, field << 3 | wire as u64);
}

fn varint_field(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, Wire::Varint);
    varint(out, value);
}

fn bytes_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(out, field, Wire::Bytes);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message with its length and both checksums.
fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length, &masked_crc(&length).to_le_bytes()[..], message, &masked_crc(message).to_le_bytes()].concat()
}

/// CRC-32C, turned and moved so that checksums of checksums are not weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32 with Castagnoli's polynomial, bit by bit: records are short.
fn crc32c(bytes: &[u8]) -> u32 {
    let divide = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), divide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::hex;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros, and 0, 1, … 31.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn events_are_those_of_tensorboard_byte_for_byte() {
        // RecordWriter of tensorboard 2.21 on Event(wall_time=1000.5, file_version="brain.Event:2"),
        // Event(wall_time=1001, step=300, summary=…), and the two events of a SummaryWriter with purge_step=41.
        let figures = [("loss".to_owned(), std::f64::consts::LN_2), ("grad_norm".to_owned(), 2.0)];
        let events = [
            version(1000.5, None),
            scalars(1001.0, 300, &figures),
            version(1002.0, Some(41)),
            session_start(1002.0, 41),
        ];
        let bytes: Vec<u8> = events.iter().flat_map(|event| record(event)).collect();
        let golden = concat!(
            "1800000000000000a37f4b22090000000000448f401a0d627261696e2e4576656e743a32aba33345",
            "39000000000000008b0737f1090000000000488f4010ac022a2b0a110a0a747261696e2f6c6f7373151872313f",
            "0a160a0f747261696e2f677261645f6e6f726d150000004019cfd454",
            "1a00000000000000129bd82d090000000000508f4010291a0d627261696e2e4576656e743a32a118dfbe",
            "0f000000000000006d532b09090000000000508f4010293a020801d435d98f",
        );
        assert_eq!(hex(&bytes), golden);
    }

    #[test]
    fn figures_of_held_out_data_have_a_name_of_their_own() {
        let text = String::from_utf8_lossy(&scalars(0.0, 1, &[("eval_loss".to_owned(), 1.0)])).into_owned();
        assert!(text.contains("eval/loss") && !text.contains("train/"));
    }

    #[test]
    fn a_run_that_goes_on_begins_a_second_file() {
        let run = tempfile::tempdir().unwrap();
        EventFile::create(run.path(), None).unwrap().add(1, &[("loss".to_owned(), 0.5)]).unwrap();
        let names = || fs::read_dir(run.path().join(DIR)).unwrap().count();
        assert_eq!(names(), 1);
        let mut again = EventFile::create(run.path(), Some(2)).unwrap();
        again.add(2, &[("loss".to_owned(), 0.4)]).unwrap();
        // In the same second and process the file is the same one, and nothing of it is lost.
        assert!(fs::metadata(&again.path).unwrap().len() > 100 && names() <= 2);
    }
}
