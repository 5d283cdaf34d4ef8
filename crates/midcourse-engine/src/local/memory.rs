//! How much memory a model takes, and whether it is there.

use std::path::Path;

use sysinfo::System;

use super::{DtypeChoice, LoadOptions};
use crate::model::ModelConfig;
use crate::weights::{Dtype, ModelFiles, Slot};
use crate::{Error, Result};

/// Bytes for activations, logits and a panel of weights, beside keys and values.
const WORK: u64 = 256 << 20;

/// The form in which the weights will be kept, if that fits into memory.
pub(super) fn choose(
    path: &Path,
    files: &ModelFiles,
    config: &ModelConfig,
    options: &LoadOptions,
) -> Result<Dtype> {
    // A configuration that does not belong to the weights would ask for memory that no model needs.
    files.weights(config)?.check(Slot::Embedding, [config.vocab, config.width])?;
    let stored = files.stored_bytes()?;
    let needed = |dtype| config.weight_bytes(dtype, stored) + options.limits.bytes as u64 + WORK;
    let free = free_bytes();
    let chosen = match options.dtype {
        // Sums of weights and adapter have no other form that holds them.
        DtypeChoice::Auto | DtypeChoice::F32 if options.adapter.is_some() => Dtype::F32,
        _ if options.adapter.is_some() => {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: "--adapter with weights in another form than f32".into(),
                hint: "leave --dtype out or take --dtype f32".into(),
            });
        }
        DtypeChoice::Auto if needed(Dtype::F32) <= free => Dtype::F32,
        DtypeChoice::Auto => Dtype::Stored,
        DtypeChoice::F32 => Dtype::F32,
        DtypeChoice::Bf16 => Dtype::Bf16,
        DtypeChoice::Quantized if files.is_quantized() => Dtype::Stored,
        DtypeChoice::Quantized => {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: "--dtype quantized for weights that are not quantised".into(),
                hint: "take --dtype bf16, or a quantised GGUF file of the model".into(),
            });
        }
    };
    if needed(chosen) <= free {
        return Ok(chosen);
    }
    let fits = |(name, dtype)| (needed(dtype) <= free).then_some(name);
    let smaller = [("--dtype bf16", Dtype::Bf16), ("--dtype auto", Dtype::Stored)].into_iter().find_map(fits);
    let smaller = smaller.map_or_else(String::new, |smaller| format!("{smaller}, "));
    Err(Error::TooLarge {
        path: path.to_owned(),
        needed: needed(chosen),
        free,
        hint: format!("take {smaller}a more quantised GGUF file, a smaller model, or one behind an endpoint"),
    })
}

/// Bytes that this process may still take: of the machine, or of its container.
fn free_bytes() -> u64 {
    let mut system = System::new();
    system.refresh_memory();
    let container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    system.available_memory().min(container)
}
