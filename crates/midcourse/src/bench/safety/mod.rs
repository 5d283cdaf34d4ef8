//! Safety tasks: what a model says to attacks and to harmless prompts, and what a judge says of that.
//!
//! Replies are sampled as C²-Eval samples continuations and lie in `replies/TASK/` with the prompts, in the form of an
//! evaluation's records; they are judged when all tasks are measured and the model has left the memory. Records and pages
//! hold no text.

mod judging;
mod options;
mod rows;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Result, anyhow};
use midcourse_core::bench::safety::{self, Item, Probes, SafetyTask};
use midcourse_core::bench::{ItemRecord, TaskSummary};
use midcourse_core::engine::Usage;
use midcourse_core::eval::{EarlyStop, EvalSettings, Observer, Opener, PlannedSample, Trial, Unit};
use midcourse_core::template::{ChatTemplate, Mode, Tokenizer};

use self::judging::Replies;
use self::options::Files;
pub(crate) use self::options::SafetyOptions;
use super::{BenchPlan, Task, TaskForetold, Work};
use crate::failure::Failure;
use crate::judges::{JudgePlan, KnownJudge};
use crate::model::{MeasurableModel, Outline};
use crate::pages::SampleRecord;
use crate::planned::{self, PlannedPaths};
use crate::run_dir;
use crate::session::{Records, Session};
use crate::storage::at;

/// The names of the tasks.
pub(crate) const NAMES: [&str; 5] = {
    let [a, b, c, d, e] = SafetyTask::ALL;
    [a.name(), b.name(), c.name(), d.name(), e.name()]
};

/// Changes when what is asked or counted does.
const VERSION: &str = "1";

/// The tasks that `name` names: one, or for `safety` all for which there is data. None when it names no safety task.
pub(super) fn named(
    name: &str,
    plan: &BenchPlan,
    judge: &Rc<KnownJudge>,
) -> Result<Option<Vec<Box<dyn Task>>>> {
    let named: Vec<SafetyTask> =
        SafetyTask::ALL.into_iter().filter(|task| name == "safety" || task.name() == name).collect();
    let mut tasks: Vec<Box<dyn Task>> = Vec::new();
    for &task in &named {
        match Safety::read(task, plan, judge)? {
            Some(task) => tasks.push(Box::new(task)),
            None if name == "safety" => {}
            None => return Err(rows::missing(task).into()),
        }
    }
    if tasks.is_empty() && name == "safety" {
        return Err(Failure::Usage {
            problem: "--tasks: safety has no data".into(),
            hint: "name some with --xstest, --benign, --attacks, --goals or --prefills, or a directory with --data"
                .into(),
        }
        .into());
    }
    Ok((!named.is_empty()).then_some(tasks))
}

/// A safety task, its rows read.
struct Safety {
    probes: Probes,
    settings: EvalSettings,
    items: Vec<Item>,
    identity: BTreeMap<String, String>,
    judge: Rc<KnownJudge>,
    judge_plan: JudgePlan,
    /// The model as the user named it.
    model: String,
    /// Known once the model's tokenizer is.
    plan: OnceCell<Vec<PlannedSample>>,
}

impl Safety {
    fn read(task: SafetyTask, plan: &BenchPlan, judge: &Rc<KnownJudge>) -> Result<Option<Self>> {
        let options = &plan.options.safety;
        let files = Files { options, dir: plan.options.data.as_deref() };
        let limit = plan.options.limit.unwrap_or(usize::MAX);
        let Some(rows) = rows::read(task, files, limit)? else { return Ok(None) };
        let settings = EvalSettings {
            prefix_lengths: options.lengths(task),
            unit: Unit::Tokens,
            opener: Opener::None,
            mode: Mode::OpenTurn,
            framing: plan.options.framing.framing(),
            paths: 1,
            sampling: options.sampling(),
            early_stop: EarlyStop::Off,
            seed: plan.seed,
        };
        settings.check()?;
        let mut identity = identity(&settings, &rows.sha256, judge);
        identity.extend(plan.options.limit.map(|limit| ("limit".to_owned(), limit.to_string())));
        let template = plan.options.framing.chat_template.clone();
        identity.extend(template.map(|template| ("chat_template".to_owned(), template)));
        if task == SafetyTask::Ciphers {
            let ciphers: Vec<String> = options.ciphers().iter().map(ToString::to_string).collect();
            identity.insert("ciphers".into(), ciphers.join(","));
        }
        Ok(Some(Self {
            items: rows.probes.items(&settings.prefix_lengths),
            probes: rows.probes,
            settings,
            identity,
            judge: Rc::clone(judge),
            judge_plan: plan.judge.clone(),
            model: plan.model.clone(),
            plan: OnceCell::new(),
        }))
    }

    fn lay_out(&self, text: (&ChatTemplate, &dyn Tokenizer), context: usize) -> Result<Vec<PlannedSample>> {
        planned::lay_out(&self.probes.samples(), &self.settings, &self.model, text, context)
    }

    /// A file of the task's replies, below the run's directory.
    fn file(&self, name: &str) -> String {
        format!("replies/{}/{name}", self.name())
    }

    /// Samples what is not recorded yet; then puts the records in order, unless the run is stopping.
    fn sample(&self, model: &MeasurableModel, work: &mut Work<'_>, plan: &[PlannedSample]) -> Result<()> {
        let (dir, trials) = (work.dir, self.file(run_dir::TRIALS));
        let folder = dir.file(&self.file(""));
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let samples: Vec<SampleRecord> = plan.iter().map(SampleRecord::of).collect();
        dir.write_records(&self.file(run_dir::SAMPLES), &samples)?;
        let paths = PlannedPaths { settings: &self.settings, plan };
        let done = paths.recover(dir, &trials)?.into_iter().map(|(key, _)| key.id(&self.settings)).collect();
        let observer =
            Observer { settings: &self.settings, plan, tokenizer: model.tokenizer.as_ref(), judge: None };
        let records = Records { trials: dir.append(&trials)?, judgements: None };
        let session =
            Session { observer, signals: work.signals, records, done, on_recorded: &mut |_| Ok(()) };
        let cost = work.shown_apart(|| session.sample(model))?;
        *work.usage += Usage {
            n_computed: cost.n_tokens_computed,
            n_sampled: cost.n_tokens_sampled,
            n_requests: cost.n_requests,
            n_prompt: cost.n_tokens_prompt,
        };
        if work.stopping() {
            return Ok(());
        }
        let in_order: Vec<Trial> =
            paths.in_order(dir, &trials)?.into_iter().map(|(_, trial)| trial).collect();
        Ok(dir.write_records(&trials, &in_order)?)
    }
}

impl Task for Safety {
    fn name(&self) -> &str {
        self.probes.task.name()
    }

    fn identity(&self) -> BTreeMap<String, String> {
        self.identity.clone()
    }

    fn items(&self) -> Vec<String> {
        self.items.iter().map(|item| item.id.clone()).collect()
    }

    fn foretell(&self, outline: &Outline) -> Result<TaskForetold> {
        let template = outline.template.clone().framed(self.settings.framing.clone());
        let planned = self.lay_out((&template, outline.tokenizer.as_ref()), outline.context)?;
        let mut foretold = TaskForetold {
            task: self.name().to_owned(),
            n_items: self.items.len(),
            ..TaskForetold::default()
        };
        for sample in &planned {
            let forks = (0..self.settings.prefix_lengths.len()).filter_map(|length| sample.planned(length));
            foretold.n_tokens += sample.trunk.len();
            for fork in forks {
                foretold.n_requests += 1;
                foretold.n_tokens += fork.lead.len();
                foretold.n_tokens_alone += fork.at + fork.lead.len();
                foretold.n_tokens_written_at_most += self.settings.sampling.max_new_tokens;
            }
        }
        Ok(foretold)
    }

    fn measure(&self, model: &MeasurableModel, work: &mut Work<'_>) -> Result<()> {
        let text: (_, &dyn Tokenizer) = (&model.template, model.tokenizer.as_ref());
        let plan = self.lay_out(text, model.engine.context())?;
        self.sample(model, work, self.plan.get_or_init(|| plan))
    }

    fn conclude(&self, work: &mut Work<'_>) -> Result<()> {
        let plan =
            self.plan.get().ok_or_else(|| anyhow!("{} is judged before it is sampled", self.name()))?;
        let trials: Vec<Trial> = run_dir::read_records(&work.dir.file(&self.file(run_dir::TRIALS)))?;
        let replies = Replies::new(self, plan, &trials);
        replies.judge(work)
    }

    fn summarise(&self, records: &[ItemRecord]) -> Result<TaskSummary> {
        Ok(safety::summarise(&self.probes, self.identity.clone(), records, self.settings.seed))
    }
}

/// All that decides what replies are and what is said of them, but for the model.
fn identity(settings: &EvalSettings, data: &str, judge: &KnownJudge) -> BTreeMap<String, String> {
    let sampling = settings.sampling;
    let lengths: Vec<String> = settings.prefix_lengths.iter().map(usize::to_string).collect();
    let mut identity = BTreeMap::from([
        ("version".to_owned(), VERSION.to_owned()),
        ("data".into(), data.to_owned()),
        ("judge".into(), judge.identity.id.clone()),
        ("judge_fingerprint".into(), judge.identity.fingerprint()),
        ("max_new_tokens".into(), sampling.max_new_tokens.to_string()),
        ("temperature".into(), sampling.temperature.to_string()),
        ("prefix_lengths".into(), lengths.join(",")),
        ("system".into(), settings.framing.system.clone().into()),
        ("thinking".into(), settings.framing.thinking.clone().into()),
    ]);
    // The likeliest token is the same under any seed.
    if sampling.temperature > 0.0 {
        identity.insert("top_p".into(), sampling.top_p.to_string());
        identity.insert("seed".into(), settings.seed.to_string());
    }
    identity
}
