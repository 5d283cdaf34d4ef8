//! Matrices of 32-bit numbers as the bytes of a safetensors file, and back.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A matrix by its name.
pub(crate) struct Named<'a> {
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Row by row.
    pub values: &'a [f32],
}

/// The values of matrices by their names.
pub(crate) type Matrices = BTreeMap<String, Vec<f32>>;

/// The bytes of a file with these matrices and one line of metadata: a second would stand in no order.
pub(crate) fn to_bytes(matrices: &[Named<'_>], (key, value): (&str, &str)) -> Result<Vec<u8>> {
    let little = |matrix: &Named<'_>| matrix.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = matrices.iter().map(little).collect();
    let mut views = Vec::with_capacity(matrices.len());
    for (Named { name, shape, .. }, bytes) in matrices.iter().zip(&bytes) {
        views.push((name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?));
    }
    let metadata = HashMap::from([(key.to_owned(), value.to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// The matrices of a file by their names, and its line of metadata under `key`.
pub(crate) fn from_bytes(bytes: &[u8], key: &str) -> Result<(Matrices, Option<String>)> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let value = metadata.metadata().as_ref().and_then(|all| all.get(key).cloned());
    let mut matrices = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(bytes)?.tensors() {
        ensure!(view.dtype() == Dtype::F32, "{name}: expected 32-bit numbers, found {:?}", view.dtype());
        let number = |four: &[u8]| four.try_into().map(f32::from_le_bytes);
        let values = view.data().chunks_exact(4).map(number).collect::<Result<_, _>>();
        matrices.insert(name, values.context("four bytes a number")?);
    }
    Ok((matrices, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_read_as_they_were_written() {
        let values = [1.0, -0.5, f32::MIN_POSITIVE, 3.25e9, 0.0, -0.0];
        let matrices = [
            Named { name: "b".into(), shape: [2, 3], values: &values },
            Named { name: "a".into(), shape: [1, 2], values: &values[..2] },
        ];
        let bytes = to_bytes(&matrices, ("n_steps", "7")).unwrap();
        let (read, n_steps) = from_bytes(&bytes, "n_steps").unwrap();
        assert_eq!(n_steps.as_deref(), Some("7"));
        assert_eq!(read["b"].iter().map(|x| x.to_bits()).collect::<Vec<_>>(), values.map(f32::to_bits));
        assert_eq!(read["a"], [1.0, -0.5]);
        assert!(from_bytes(&bytes[..bytes.len() - 1], "n_steps").is_err());
        assert!(
            to_bytes(&[Named { name: "a".into(), shape: [2, 2], values: &values[..3] }], ("", "")).is_err()
        );
    }
}
