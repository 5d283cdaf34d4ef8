//! How an adapter's file names and orders its matrices, seen from the model that it adapts.
//!
//! Names are PEFT's: those of the checkpoint behind `base_model.model.`, also where the model at hand is a GGUF file
//! that was made of it. Rows of A stand alike everywhere. Rows of B are rows of the projection, and of q and k these
//! stand in up to three orders: [`RowOrder`].

use super::index::RawTensor;
use super::names::{Names, Part, Slot};
use crate::model::ModelConfig;

/// What PEFT puts before the names of a checkpoint.
const PREFIX: &str = "base_model.model.";

/// Which of an adapter's two matrices for a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// (rank, in)
    A,
    /// (out, rank)
    B,
}

impl Side {
    /// The end of a tensor's name in PEFT.
    fn kind(self) -> &'static str {
        match self {
            Self::A => "lora_A.weight",
            Self::B => "lora_B.weight",
        }
    }
}

/// The order of the rows of q and k in a head: which stand next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// The halves of a head turn against each other, as the decoder computes.
    #[cfg_attr(not(test), allow(dead_code, reason = "what trains keeps its rows so"))]
    Parted,
    /// As the checkpoint has them, and PEFT with it.
    Checkpoint,
    /// As GGUF files of the family have them.
    Gguf,
}

/// Names and orders of the matrices of adapters of one model.
#[derive(Debug)]
pub(crate) struct AdapterLayout<'a> {
    config: &'a ModelConfig,
    names: Names,
}

impl<'a> AdapterLayout<'a> {
    /// `names` are those of the checkpoint that is adapted.
    pub(super) fn new(config: &'a ModelConfig, names: Names) -> Self {
        Self { config, names: names.behind(PREFIX) }
    }

    /// What PEFT calls a matrix.
    pub(crate) fn name(&self, slot: Slot, side: Side) -> String {
        self.names.of(slot, side.kind())
    }

    /// What PEFT calls the projection at `slot` in `target_modules`, such as `q_proj`.
    #[cfg_attr(not(test), allow(dead_code, reason = "asked for by what trains"))]
    pub(crate) fn module(&self, slot: Slot) -> String {
        let name = self.names.of(slot, "");
        name.trim_end_matches('.').rsplit('.').next().unwrap_or_default().to_owned()
    }

    /// Every projection that can be adapted, layer by layer.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        let fused = self.config.fused;
        let attention: &[Part] = if fused.qkv { &[Part::Qkv] } else { &[Part::Q, Part::K, Part::V] };
        let gates: &[Part] = if fused.gate_up { &[Part::GateUp] } else { &[Part::Gate, Part::Up] };
        let parts = [attention, &[Part::Output], gates, &[Part::Down]].concat();
        let n_layers = self.config.layers.len();
        (0..n_layers)
            .flat_map(move |layer| parts.clone().into_iter().map(move |part| Slot::Block(layer, part)))
    }

    /// Rows of the projection at `slot`, or of its B, in another order. Only those of q and k ever move.
    pub(crate) fn reorder(&self, slot: Slot, rows: RawTensor, [from, to]: [RowOrder; 2]) -> RawTensor {
        let Slot::Block(_, Part::Q | Part::K) = slot else { return rows };
        let (head_dim, dims) = (self.config.head_dim, self.config.rotaries[0].dims);
        match [from, to].map(|order| self.has_pairs_joined(order)) {
            [false, true] => rows.join_pairs(head_dim, dims),
            [true, false] => rows.part_pairs(head_dim, dims),
            _ => rows,
        }
    }

    /// Whether the two rows of a rotary pair stand next to each other.
    fn has_pairs_joined(&self, order: RowOrder) -> bool {
        match order {
            RowOrder::Parted => false,
            RowOrder::Checkpoint => self.config.family.joins_pairs_in_checkpoints(),
            RowOrder::Gguf => self.config.family.joins_pairs_in_gguf(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::ModelFiles;
    use super::*;

    const ALL: [RowOrder; 3] = [RowOrder::Parted, RowOrder::Checkpoint, RowOrder::Gguf];

    fn with_layout(family: &str, check: impl Fn(&ModelConfig, &AdapterLayout<'_>)) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/families").join(family);
        let files = ModelFiles::open(&path).unwrap();
        let config = files.config().unwrap();
        check(&config, &files.adapter_layout(&config).unwrap());
    }

    /// A row a value: what stands where is what is read.
    fn numbered(n: usize) -> RawTensor {
        RawTensor::of_f32(&(0..n).map(|i| i as f32).collect::<Vec<_>>(), [n, 1])
    }

    /// Source: the modelling files of transformers (GLM turns neighbours, Llama halves) and `permute` of llama.cpp's
    /// converter, which joins halves for Llama.
    #[test]
    fn rows_of_q_and_k_are_joined_where_the_family_keeps_pairs_together() {
        for (family, joined) in [
            ("llama3.1", [false, false, true]),
            ("llama3.1.gguf", [false, false, true]),
            ("glm4", [false, true, true]),
            ("glm4.gguf", [false, true, true]),
            ("qwen2", [false, false, false]),
        ] {
            with_layout(family, |config, layout| {
                let rows = numbered(2 * config.head_dim);
                let second = |joined| if joined { config.rotaries[0].dims / 2 } else { 1 };
                for (order, joined) in ALL.into_iter().zip(joined) {
                    let from_parted =
                        |part| layout.reorder(Slot::Block(0, part), rows.clone(), [RowOrder::Parted, order]);
                    // The second half of the first pair stands beside the first, or half a rotation further.
                    assert_eq!(
                        row(&from_parted(Part::K), 1),
                        row(&rows, second(joined)),
                        "{family} {order:?}"
                    );
                    assert_eq!(from_parted(Part::V).bytes, rows.bytes);
                }
            });
        }
    }

    /// The bytes of a row of one value.
    fn row(rows: &RawTensor, at: usize) -> &[u8] {
        &rows.bytes[4 * at..][..4]
    }

    #[test]
    fn rows_come_back_from_any_order() {
        for family in ["llama3.1.gguf", "glm4"] {
            with_layout(family, |config, layout| {
                let (slot, rows) = (Slot::Block(1, Part::Q), numbered(config.n_heads * config.head_dim));
                for (from, to) in ALL.into_iter().flat_map(|from| ALL.map(|to| (from, to))) {
                    let there = layout.reorder(slot, rows.clone(), [from, to]);
                    assert_eq!(layout.reorder(slot, there, [to, from]).bytes, rows.bytes);
                }
            });
        }
    }

    #[test]
    fn names_are_those_of_peft() {
        for (family, n, module, name) in [
            ("llama3.1.gguf", 7, "q_proj", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"),
            ("phi3", 4, "qkv_proj", "base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight"),
        ] {
            with_layout(family, |config, layout| {
                let slots: Vec<Slot> = layout.slots().collect();
                assert_eq!(slots.len(), n * config.layers.len());
                assert_eq!(
                    (layout.module(slots[0]), layout.name(slots[0], Side::A)),
                    (module.into(), name.into())
                );
            });
        }
    }
}
