//! The learner of this process: a frozen model with an adapter, and the optimiser's memory.

use anyhow::{Context, Result, ensure};
use midcourse_engine::train::{
    AdamW, AdamWOptions, AdapterUse, Batch, ExportedAdapter, Gradients, Lora, Policy, Recompute, Trainable,
};

use super::TrainPlan;
use super::adapter::Exported;
use super::learner::{Asked, Learner, PerNode, Weights};
use super::tensors::{self, Matrices, Named};
use crate::framing;
use crate::model::Base;

/// Metadata of the two files of a checkpoint.
const FORMAT: (&str, &str) = ("format", "pt");
const N_STEPS: &str = "n_steps";
/// What the moments of a matrix are called, before its name.
const FIRST: &str = "first.";
const SECOND: &str = "second.";

/// A frozen model with an adapter.
pub(crate) struct LocalLearner {
    policy: Policy<f32>,
    gradients: Gradients<f32>,
    optimizer: AdamW<f32>,
    recompute: Recompute,
    base_name: String,
}

impl LocalLearner {
    /// Loads the weights of a base, and begins an adapter beside them.
    pub(crate) fn load(plan: &TrainPlan, base: &Base) -> Result<Self> {
        let template = framing::choice(plan.options.framing.chat_template.as_deref());
        let Trainable { policy, .. } = Trainable::load(&base.path, &plan.model, (&template, &plan.lora()))?;
        let options =
            AdamWOptions { weight_decay: plan.settings.steps.weight_decay, ..AdamWOptions::default() };
        Ok(Self {
            gradients: Gradients::zeros(policy.adapter()),
            optimizer: AdamW::new(policy.adapter(), options),
            recompute: plan.options.recompute.unwrap_or_default().into(),
            base_name: plan.model.clone(),
            policy,
        })
    }
}

/// The matrices of an adapter.
fn of(lora: &Lora<f32>) -> Vec<Named<'_>> {
    lora.tensors().map(|t| Named { name: t.name, shape: t.shape, values: t.values }).collect()
}

impl Learner for LocalLearner {
    fn score(&self, asked: Asked<'_>, adapter: AdapterUse) -> Result<PerNode> {
        Ok(self.policy.score(&Batch { tries: asked }, adapter)?)
    }

    fn gather(&mut self, asked: Asked<'_>, gradient: &mut dyn FnMut(&[Vec<f64>]) -> PerNode) -> Result<()> {
        let pass = self.policy.forward(&Batch { tries: asked }, self.recompute)?;
        let gradient = gradient(pass.logps());
        Ok(self.policy.backward(pass, &gradient, &mut self.gradients)?)
    }

    fn norm(&self) -> f64 {
        self.gradients.norm()
    }

    fn step(&mut self, shortened: f64, learning_rate: f64) -> Result<()> {
        if shortened < 1.0 {
            self.gradients.scale(shortened);
        }
        let Self { policy, optimizer, gradients, .. } = self;
        policy.change(|lora| {
            optimizer.step(lora, gradients, learning_rate);
            Ok(())
        })?;
        gradients.clear();
        Ok(())
    }

    fn is_finite(&self) -> bool {
        self.policy.adapter().tensors().all(|tensor| tensor.values.iter().all(|value| value.is_finite()))
    }

    fn weights(&self) -> Result<Weights> {
        let matrices = of(self.policy.adapter());
        let (first, second) = self.optimizer.moments();
        let mut optimizer = Vec::with_capacity(2 * matrices.len());
        for (kind, values) in [(FIRST, first), (SECOND, second)] {
            for (matrix, values) in matrices.iter().zip(values) {
                optimizer.push(Named { name: format!("{kind}{}", matrix.name), shape: matrix.shape, values });
            }
        }
        let n_steps = self.optimizer.n_steps().to_string();
        Ok(Weights {
            adapter: tensors::to_bytes(&matrices, FORMAT)?,
            optimizer: tensors::to_bytes(&optimizer, (N_STEPS, &n_steps))?,
        })
    }

    fn restore(&mut self, weights: &Weights) -> Result<()> {
        let (mut adapter, _) = tensors::from_bytes(&weights.adapter, FORMAT.0)?;
        let (mut moments, n_steps) = tensors::from_bytes(&weights.optimizer, N_STEPS)?;
        let n_steps = n_steps.and_then(|n| n.parse().ok()).context("the number of steps of the optimiser")?;
        let names: Vec<String> = self.policy.adapter().tensors().map(|tensor| tensor.name).collect();
        ensure!(adapter.len() == names.len(), "expected {} matrices, found {}", names.len(), adapter.len());
        let values = take(&mut adapter, "", &names)?;
        let moments = (take(&mut moments, FIRST, &names)?, take(&mut moments, SECOND, &names)?);
        self.policy.change(|lora| lora.set(&values))?;
        Ok(self.optimizer.restore(n_steps, moments)?)
    }

    fn export(&self) -> Result<Exported> {
        let ExportedAdapter { config, weights } = self.policy.export(&self.base_name)?;
        Ok(Exported { config, weights })
    }
}

/// The matrices of these names, in their order.
fn take(from: &mut Matrices, kind: &str, names: &[String]) -> Result<Vec<Vec<f32>>> {
    let matrix = |name: &String| {
        from.remove(&format!("{kind}{name}")).with_context(|| format!("the matrix {kind}{name}"))
    };
    names.iter().map(matrix).collect()
}
