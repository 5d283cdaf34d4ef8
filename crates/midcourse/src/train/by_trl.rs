//! The engine `trl`: from a course to a hand-over, and from what TRL sends back to the files of a run.
//!
//! What is handed over and how it is launched is [`super::trl`]'s; here the plan becomes its settings, and its log the
//! progress, TensorBoard's events, the warnings and the manifest that the local engine leaves too.

use std::path::{Path, PathBuf, absolute};
use std::time::Instant;

use anyhow::{Context, Result};
use midcourse_core::train::{EvalRecord, Example, StepRecord};
use midcourse_engine::model::ModelConfig;
use midcourse_engine::train::AdamWOptions;

use super::TrainPlan;
use super::checkpoint::Best;
use super::course::Course;
use super::manifest::SessionCost;
use super::run::{Ended, eval_text, figures, step_text};
use super::session::TrainRun;
use super::targets::TargetsText;
use super::tensorboard::EventFile;
use super::trl::{self, Accelerate, Adam, Data, Device, HandOver, Launch, Lora, Seen, Settings};
use super::watch::Watch;
use crate::catalogue;
use crate::failure::Failure;
use crate::model::Base;
use crate::progress::Steps;
use crate::signals::Signals;

/// A training that TRL does.
pub(crate) struct ByTrl<'a> {
    pub plan: &'a TrainPlan,
    pub base: &'a Base,
    pub course: &'a Course,
    pub signals: &'a Signals,
}

impl ByTrl<'_> {
    /// Writes everything that TRL needs into the directory of a run.
    ///
    /// # Errors
    /// When transformers does not load the model, and when the user's configuration of accelerate cannot be read.
    pub(crate) fn write(&self, run: &Path) -> Result<()> {
        self.hand_over(|over| over.write(run))
    }

    /// Checks that Python and its packages are there, unless nothing is left to train.
    ///
    /// # Errors
    /// When one is missing.
    pub(crate) fn check(&self, run: &TrainRun) -> Result<()> {
        if run.adapter().is_dir() {
            return Ok(());
        }
        Ok(self.launch()?.check(&run.dir.path)?)
    }

    /// Trains what is not trained yet.
    ///
    /// # Errors
    /// When the training fails.
    pub(crate) fn train(&self, run: &mut TrainRun) -> Result<Ended> {
        // TRL's adapter is put there when everything is done.
        if run.adapter().is_dir() {
            return Ok(Ended::Done);
        }
        let mut watched = Watched::new(self, &run.dir.path)?;
        let launch = self.launch()?;
        let dir = &run.dir.path;
        let mut lost = Ok(());
        let mut see = |seen: &Seen| {
            let taken = watched.take(seen);
            if lost.is_ok() {
                lost = taken;
            }
        };
        let exported = self.hand_over(|over| over.launch(dir, &launch, &mut see));
        let kept = exported.and_then(|exported| lost.and_then(|()| run.adapter_dir().put(&exported)));
        watched.note(run);
        // What failed has cost something, too.
        let written = run.write_manifest();
        match kept {
            Err(_) if self.signals.stopping() => Ok(Ended::Stopped),
            kept => kept.and(written).map(|()| Ended::Done),
        }
    }

    fn launch(&self) -> Result<Launch<'_>> {
        let given = self.plan.options.python.clone();
        let python = given.unwrap_or_else(|| PathBuf::from(catalogue::interpreter()));
        // The script is launched in its own directory. A name without a directory is looked for in PATH.
        let is_name = python.components().count() == 1 && !python.is_absolute();
        let python = if is_name { python } else { absolute(python).context("finding --python")? };
        Ok(Launch { python, signals: self.signals })
    }

    fn hand_over<T>(&self, use_it: impl FnOnce(&HandOver<'_>) -> Result<T>) -> Result<T> {
        let Self { plan, base, course, .. } = self;
        let examples: Vec<&Example> = course.items.iter().map(|item| &item.example).collect();
        let data = Data {
            tokenizer: base.tokenizer.as_ref(),
            examples: &examples,
            steps: &course.steps,
            held_out: &course.held_out,
            n_epochs: plan.settings.steps.epochs,
        };
        let options = &plan.options;
        let accelerate = options.accelerate_config.clone().map_or_else(
            || Accelerate::Processes(options.processes.unwrap_or(1), Device::found()),
            Accelerate::Given,
        );
        use_it(&HandOver {
            base: trl::Base::find(&plan.model, base.identity.commit.as_deref())?,
            settings: settings(plan, &base.config, course.steps.len())?,
            data,
            accelerate,
        })
    }
}

/// The plan in the script's words.
fn settings(plan: &TrainPlan, config: &ModelConfig, n_steps: usize) -> Result<Settings> {
    let (lora, steps) = (&plan.settings.lora, &plan.settings.steps);
    let AdamWOptions { betas: (beta1, beta2), eps, .. } = AdamWOptions::default();
    Ok(Settings {
        objective: plan.settings.objective,
        lora: Lora {
            rank: lora.rank,
            alpha: lora.alpha,
            target_modules: target_modules(&plan.model, config, &lora.targets)?,
        },
        learning_rate: steps.learning_rate,
        schedule: steps.schedule,
        // As `LearningRate` and transformers count them.
        n_warmup_steps: (n_steps as f64 * steps.warmup).ceil() as usize,
        weight_decay: steps.weight_decay,
        adam: Adam { beta1, beta2, eps },
        clip: steps.clip,
        seed: plan.settings.seed,
        save_every: steps.save_every,
        keep_checkpoints: plan.keep_checkpoints(),
    })
}

/// PEFT's names of the projections that are adapted: matrices that checkpoints keep as one are adapted as one.
fn target_modules(model: &str, config: &ModelConfig, targets: &TargetsText) -> Result<Vec<String>, Failure> {
    let qkv: &[&str] = if config.fused.qkv { &["qkv"] } else { &["q", "k", "v"] };
    let gate_up: &[&str] = if config.fused.gate_up { &["gate_up"] } else { &["gate", "up"] };
    let all = [qkv, &["o"], gate_up, &["down"]].concat();
    if let TargetsText::Named(names) = targets
        && let Some(strange) = names.iter().find(|name| !all.contains(&name.as_str()))
    {
        return Err(Failure::Unsupported {
            problem: format!("{model}: an adapter on {strange} is not supported"),
            hint: format!("the projections of this model are {}", all.join(", ")),
        });
    }
    let is_target = |name: &&str| targets.holds(name);
    Ok(all.into_iter().filter(is_target).map(|name| format!("{name}_proj")).collect())
}

/// What is seen of a training while it goes on. Lines of steps that an earlier session did come again.
struct Watched {
    /// Steps that earlier sessions have done.
    n_before: usize,
    started: Instant,
    progress: Steps,
    events: EventFile,
    watch: Watch,
    warning: Option<String>,
    best: Option<(usize, f64)>,
    n_steps: usize,
    /// Distinct tokens of all steps so far, and of those of earlier sessions.
    n_tokens: usize,
    n_tokens_before: usize,
}

impl Watched {
    fn new(training: &ByTrl<'_>, run: &Path) -> Result<Self> {
        let n_before = trl::n_steps_done(run)?;
        let plan = training.plan;
        Ok(Self {
            n_before,
            started: Instant::now(),
            progress: Steps::new(training.course.steps.len(), n_before, plan.log_every()),
            events: EventFile::create(run, (n_before > 0).then_some(n_before as u64 + 1))?,
            watch: Watch::new(plan.settings.objective.beta),
            warning: None,
            best: None,
            n_steps: 0,
            n_tokens: 0,
            n_tokens_before: 0,
        })
    }

    fn take(&mut self, seen: &Seen) -> Result<()> {
        match seen {
            Seen::Step(record) => self.take_step(record),
            Seen::HeldOut(record) => self.take_held_out(record),
        }
    }

    fn take_step(&mut self, record: &StepRecord) -> Result<()> {
        let is_new = record.step > self.n_before;
        let warning = self.watch.see(record.logps_chosen, record.rewards_chosen);
        if let Some(warning) = warning.filter(|_| self.warning.is_none()) {
            let warning = format!("step {}: {warning}", record.step);
            if is_new {
                self.progress.say(&format!("warning: {warning}"));
            }
            self.warning = Some(warning);
        }
        self.n_tokens = record.num_tokens_distinct;
        if !is_new {
            self.n_tokens_before = self.n_tokens;
            return Ok(());
        }
        self.n_steps += 1;
        self.progress.show(record.step, &step_text(record));
        Ok(self.events.add(record.step as u64, &figures(record)?)?)
    }

    fn take_held_out(&mut self, record: &EvalRecord) -> Result<()> {
        // As transformers chooses: the base is no adapter to keep, and of two that are equal the first is kept.
        if let Some(loss) = record.eval_loss.filter(|_| record.step > 0)
            && self.best.is_none_or(|(_, best)| loss < best)
        {
            self.best = Some((record.step, loss));
        }
        if record.step <= self.n_before && self.n_before > 0 {
            return Ok(());
        }
        self.progress.say(&eval_text(record));
        Ok(self.events.add(record.step as u64, &figures(record)?)?)
    }

    /// Notes in the manifest what came of it.
    fn note(self, run: &mut TrainRun) {
        run.manifest.best = self.best.map(|(step, loss)| Best { step, loss: loss as f32 });
        run.manifest.warnings = self.warning.into_iter().collect();
        run.manifest.sessions.push(SessionCost {
            wall_secs: self.started.elapsed().as_secs_f64(),
            n_steps: self.n_steps,
            n_tokens_distinct: (self.n_tokens - self.n_tokens_before) as u64,
        });
    }
}

#[cfg(test)]
mod tests {
    use midcourse_engine::chat_template::TemplateChoice;
    use midcourse_engine::local::ModelHeader;

    use super::*;

    #[test]
    fn matrices_that_a_checkpoint_keeps_as_one_are_adapted_as_one() {
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
        let header = ModelHeader::read(&testdata.join("tiny-llama"), "tiny", &TemplateChoice::Own).unwrap();
        let mut config = header.config;
        let modules = |config: &ModelConfig, targets: &str| {
            target_modules("m", config, &targets.parse().unwrap()).map(|modules| modules.join(" "))
        };
        let all = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj";
        assert_eq!(modules(&config, "all").unwrap(), all);
        assert_eq!(modules(&config, "down,q").unwrap(), "q_proj down_proj");
        // As Phi-3's are.
        (config.fused.qkv, config.fused.gate_up) = (true, true);
        assert_eq!(modules(&config, "all").unwrap(), "qkv_proj o_proj gate_up_proj down_proj");
        assert_eq!(modules(&config, "o").unwrap(), "o_proj");
        let refused = modules(&config, "o,up").unwrap_err();
        assert_eq!(refused.to_string(), "m: an adapter on up is not supported");
    }
}
