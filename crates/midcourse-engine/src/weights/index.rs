//! Where the tensors of a model lie in its files, and reading them one by one.
//!
//! Files are read at given places, not mapped: a mapped file that somebody cuts short kills the process, and
//! every weight is laid out anew in memory anyway.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use rayon::prelude::*;

use crate::contain::contain;
use crate::files;
use crate::{Error, Result};

/// The tensors of a model by name.
#[derive(Debug, Default)]
pub(crate) struct TensorIndex {
    files: Vec<PathBuf>,
    tensors: BTreeMap<String, Place>,
    /// The file that should hold, or name, every tensor.
    list: PathBuf,
}

/// Where a tensor lies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// Index of the file.
    pub file: usize,
    /// Byte of the file at which the tensor begins.
    pub offset: u64,
    /// (out, in) for matrices.
    pub shape: Vec<usize>,
    /// None when the file says a type that cannot be weights; its name then.
    pub dtype: std::result::Result<GgmlDType, String>,
}

/// A tensor as its file stores it.
#[derive(Debug, Clone)]
pub(crate) struct RawTensor {
    pub dtype: GgmlDType,
    /// (out, in) for matrices.
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl TensorIndex {
    /// An index of the tensors in `files`, which `list` holds or names.
    pub(super) fn new(list: &Path, files: Vec<PathBuf>) -> Self {
        Self { files, tensors: BTreeMap::new(), list: list.to_owned() }
    }

    /// Adds a tensor.
    pub(super) fn insert(&mut self, name: String, place: Place) {
        self.tensors.insert(name, place);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.tensors.keys()
    }

    /// The shape of a tensor that may be there.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|place| place.shape.as_slice())
    }

    /// Where a tensor lies that may be there.
    pub(crate) fn place(&self, name: &str) -> Option<&Place> {
        self.tensors.get(name)
    }

    /// The tensors of a file, in their order there.
    pub(super) fn in_file(&self, file: usize) -> Vec<(&String, &Place)> {
        let mut tensors: Vec<_> = self.tensors.iter().filter(|(_, place)| place.file == file).collect();
        tensors.sort_by_key(|(_, place)| place.offset);
        tensors
    }

    /// The file that holds a tensor, or should.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.tensors.get(name).map_or(&self.list, |place| &self.files[place.file]).clone()
    }

    /// Bytes of all tensors together.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.places().filter_map(|(shape, dtype)| n_bytes(shape, dtype)).fold(0, u64::saturating_add)
    }

    /// Whether any tensor is in blocks of fewer than 16 bits a weight.
    pub(crate) fn is_quantized(&self) -> bool {
        self.places().any(|(_, dtype)| dtype.block_size() > 1)
    }

    fn places(&self) -> impl Iterator<Item = (&[usize], GgmlDType)> {
        self.tensors.values().filter_map(|place| Some((place.shape.as_slice(), place.dtype.clone().ok()?)))
    }

    /// Refuses a tensor that is missing or has another shape.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<&Place> {
        let Some(place) = self.tensors.get(name) else {
            return Err(broken(&self.list, format!("tensor {name} is missing")));
        };
        if place.shape != shape {
            let (expected, found) = (shape.to_vec(), place.shape.clone());
            let path = self.files[place.file].clone();
            return Err(Error::Shape { path, tensor: name.into(), expected, found });
        }
        Ok(place)
    }

    /// Reads a tensor, which must have `shape`.
    pub(crate) fn read(&self, name: &str, shape: &[usize]) -> Result<RawTensor> {
        let place = self.check(name, shape)?;
        let path = &self.files[place.file];
        let wrong = |problem: String| broken(path, format!("tensor {name}: {problem}"));
        let dtype = place.dtype.clone();
        let dtype =
            dtype.map_err(|found| wrong(format!("expected a type that weights have, found {found}")))?;
        let Some(n_bytes) = n_bytes(shape, dtype) else {
            let size = dtype.block_size();
            return Err(wrong(format!("rows of {shape:?} are no whole blocks of {size} values ({dtype:?})")));
        };
        let read = |bytes: &mut Vec<u8>| {
            let mut file = files::open(path)?;
            file.seek(SeekFrom::Start(place.offset))?;
            // Memory grows with what is there, not with what the header says.
            file.take(n_bytes).read_to_end(bytes)
        };
        let mut bytes = Vec::new();
        let n_read = read(&mut bytes).map_err(|e| wrong(e.to_string()))? as u64;
        if n_read < n_bytes {
            let offset = place.offset;
            return Err(wrong(format!("needs {n_bytes} bytes at offset {offset}, found {n_read}")));
        }
        Ok(RawTensor { dtype, shape: shape.to_vec(), bytes })
    }
}

/// Bytes that a tensor takes; none when its rows are no whole blocks or the number overflows.
pub(super) fn n_bytes(shape: &[usize], dtype: GgmlDType) -> Option<u64> {
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(dtype.block_size()) {
        return None;
    }
    let n = shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size as u64))?;
    (n / dtype.block_size() as u64).checked_mul(dtype.type_size() as u64)
}

pub(super) fn broken(path: &Path, problem: String) -> Error {
    let hint = "the file is cut short or damaged; download it again and compare its hash".into();
    Error::ModelFile { path: path.to_owned(), problem, hint }
}

impl RawTensor {
    pub(crate) fn n_rows(&self) -> usize {
        self.shape[0]
    }

    /// Values of a row.
    pub(crate) fn width(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }

    fn row_bytes(&self) -> usize {
        self.bytes.len() / self.n_rows().max(1)
    }

    /// All values.
    pub(crate) fn to_f32(&self) -> Result<Vec<f32>> {
        let n: usize = self.shape.iter().product();
        let tensor = block(self.dtype, &self.bytes, (1, n))?;
        Ok(tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?)
    }

    /// The matrix cut into blocks of at most `n` rows, `rounded` to the upper half of an f32 or as they are.
    pub(crate) fn blocks(&self, n: usize, rounded: bool) -> Result<Vec<QTensor>> {
        let rows = self.bytes.par_chunks(n * self.row_bytes());
        let one = |bytes: &[u8]| {
            let shape = (bytes.len() / self.row_bytes(), self.width());
            let rows = block(self.dtype, bytes, shape)?;
            if !rounded || self.dtype == GgmlDType::BF16 {
                return Ok(rows);
            }
            let values: Vec<f32> = rows.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?;
            let bytes: Vec<u8> =
                values.into_iter().flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect();
            block(GgmlDType::BF16, &bytes, shape)
        };
        rows.map(one).collect()
    }

    /// The rows `from..to`.
    pub(crate) fn rows(&self, from: usize, to: usize) -> Self {
        let bytes = self.bytes[from * self.row_bytes()..to * self.row_bytes()].to_vec();
        let mut shape = self.shape.clone();
        shape[0] = to - from;
        Self { dtype: self.dtype, shape, bytes }
    }

    /// Takes the first `dims` rows of every head of `head_dim` apart: those at even places, then those at odd
    /// places. Files that turn neighbouring rows of a head against each other become such that turn its halves.
    pub(crate) fn part_pairs(mut self, head_dim: usize, dims: usize) -> Self {
        let row = self.row_bytes();
        let order = parted(head_dim, dims);
        let heads = self.bytes.chunks(row * head_dim);
        self.bytes =
            heads.flat_map(|head| order.iter().flat_map(|&i| &head[i * row..][..row])).copied().collect();
        self
    }

    /// Undoes [`RawTensor::part_pairs`].
    pub(super) fn join_pairs(mut self, head_dim: usize, dims: usize) -> Self {
        let row = self.row_bytes();
        let order = parted(head_dim, dims);
        let mut joined = vec![0; self.bytes.len()];
        for (joined, head) in joined.chunks_mut(row * head_dim).zip(self.bytes.chunks(row * head_dim)) {
            for (&at, bytes) in order.iter().zip(head.chunks(row)) {
                joined[at * row..][..row].copy_from_slice(bytes);
            }
        }
        self.bytes = joined;
        self
    }
}

/// The rows of a head in the order in which its pairs are parted.
fn parted(head_dim: usize, dims: usize) -> Vec<usize> {
    (0..dims).step_by(2).chain((1..dims).step_by(2)).chain(dims..head_dim).collect()
}

/// Rows as candle holds quantised ones. Its readers assert what they want of the bytes.
fn block(dtype: GgmlDType, bytes: &[u8], shape: (usize, usize)) -> Result<QTensor> {
    let storage = contain(|| QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype));
    let storage = storage.map_err(candle_core::Error::Msg)??;
    Ok(QTensor::new(storage, shape)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[f32], width: usize) -> RawTensor {
        let bytes = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
        RawTensor { dtype: GgmlDType::F32, shape: vec![rows.len() / width, width], bytes }
    }

    #[test]
    fn pairs_are_parted_head_by_head_and_the_rest_stays() {
        let rows: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let parted = matrix(&rows, 1).part_pairs(6, 4).to_f32().unwrap();
        assert_eq!(parted, [0.0, 2.0, 1.0, 3.0, 4.0, 5.0, 6.0, 8.0, 7.0, 9.0, 10.0, 11.0]);
        let joined = matrix(&parted, 1).join_pairs(6, 4).to_f32().unwrap();
        assert_eq!(joined, rows);
    }

    #[test]
    fn rows_and_blocks_are_those_of_the_matrix() {
        let tensor = matrix(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
        assert_eq!(tensor.rows(1, 3).to_f32().unwrap(), [3.0, 4.0, 5.0, 6.0]);
        let blocks = tensor.blocks(2, false).unwrap();
        assert_eq!(blocks.iter().map(|b| b.shape().dims2().unwrap()).collect::<Vec<_>>(), [(2, 2), (1, 2)]);
    }

    #[test]
    fn sizes_that_overflow_are_none() {
        assert_eq!(n_bytes(&[usize::MAX, 8], GgmlDType::F32), None);
        assert_eq!(n_bytes(&[2, 33], GgmlDType::Q4_0), None);
        assert_eq!(n_bytes(&[2, 64], GgmlDType::Q4_0), Some(72));
    }
}
