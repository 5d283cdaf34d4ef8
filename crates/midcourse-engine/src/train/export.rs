//! A trained adapter as PEFT saves it.

use super::lora::AdapterTensor;
use super::policy::Policy;
use super::real::Real;
use crate::Result;
use crate::weights::peft::{AdapterSpec, config_json, safetensors_bytes};
use crate::weights::{RawTensor, RowOrder, reorder};

/// The bytes of the two files of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedAdapter {
    /// `adapter_config.json`.
    pub config: String,
    /// `adapter_model.safetensors`.
    pub weights: Vec<u8>,
}

impl<T: Real> Policy<T> {
    /// The adapter of a base that people call `base_name`, its rows in the order of the checkpoint.
    ///
    /// # Errors
    /// When a matrix cannot be laid out.
    pub fn export(&self, base_name: &str) -> Result<ExportedAdapter> {
        let spec = AdapterSpec {
            base_name: base_name.to_owned(),
            rank: self.lora.rank(),
            alpha: self.lora.alpha(),
            target_modules: self.lora.target_modules(),
        };
        let slots = self.lora.pairs.iter().flat_map(|pair| [None, Some(pair.slot)]);
        let mut matrices = Vec::new();
        for (AdapterTensor { name, shape, values }, slot) in self.lora.tensors().zip(slots) {
            let values: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
            let values = match slot {
                // Rows of B are rows of the projection.
                Some(slot) => {
                    let rows = RawTensor::of_f32(&values, shape);
                    let orders = [RowOrder::Parted, RowOrder::Checkpoint];
                    reorder(&self.config, slot, rows, orders).to_f32()?
                }
                None => values,
            };
            matrices.push((name, shape, values));
        }
        let tensors = matrices.iter().map(|(name, shape, values)| (name.as_str(), *shape, values.as_slice()));
        Ok(ExportedAdapter { config: config_json(&spec), weights: safetensors_bytes(tensors)? })
    }
}
