//! How fast answers grow: `cargo xtask perf synth` runs this and prints what it measures as JSON.
//!
//! Arguments: the model file, the data file. The work is the harmful rankings of 16 rows, four cuts, one greedy
//! candidate of up to 128 tokens: the model's own answers and the corrections together, then the opened refusals of
//! those that did not decline. Utilisation compares the multiplications that the distinct tokens need with what
//! candle's own product does at this model's shapes and its best batch. A machine's speed drifts: the product is timed
//! before, between and after the trees of the same run, the clock of the run stopped.

mod perf;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use midcourse_core::data::{self, Responses};
use midcourse_core::engine::{BoxError, Continue, Forest, Grown, Growth, Sampling, TokenId, Tree, Usage};
use midcourse_core::eval::Set;
use midcourse_core::judge::TextJudge;
use midcourse_core::judge::rule::RuleJudge;
use midcourse_core::synth::{
    Completeness, CutRule, Draft, OpenerPolicy, Planner, SafeResponse, SynthSettings, Triggers,
};
use midcourse_core::template::Framing;
use midcourse_engine::local::{LoadOptions, LocalModel};
use perf::{Reference, rss_mb};

const N_PROMPTS: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, rows] = arguments.as_slice() else { return Err("expected MODEL.gguf DATA.jsonl".into()) };
    let model = LocalModel::load(Path::new(model), "perf", &LoadOptions::default())?;
    let set = data::parse(rows, &std::fs::read(rows)?, Responses::Required)?;
    let settings = settings();
    let planner = Planner {
        settings: &settings,
        template: &model.template,
        tokenizer: &model.tokenizer,
        context: model.engine.context(),
    };
    let samples = set.samples.into_iter().take(N_PROMPTS).enumerate();
    let mut forest = Grove {
        planner,
        drafts: samples.map(|(at, sample)| Draft::new(&planner, at, Set::Harmful, sample)).collect(),
        next: 0,
        reference: Reference::new(model.engine.config()),
        paused_secs: 0.0,
        peak_rss_mb: 0.0,
    };
    let started = Instant::now();
    let mut usage = Usage::default();
    while forest.asks() {
        usage +=
            model.engine.grow(&settings.sampling, &mut forest).map_err(|error| error as Box<dyn Error>)?;
        forest.judge();
    }
    let wall_secs = started.elapsed().as_secs_f64() - forest.paused_secs;
    let reference = forest.reference.best_gflops();
    let gflops = 2e-9 * (model.engine.config().n_matmul_weights() * usage.n_computed) as f64 / wall_secs;
    let measured = serde_json::json!({
        "sampled_tokens_per_sec": usage.n_sampled as f64 / wall_secs,
        "matmul_gflops": gflops,
        "reference_gflops": reference,
        "utilisation": gflops / reference,
        "peak_rss_mb": forest.peak_rss_mb,
        "n_tokens_sampled": usage.n_sampled,
        "n_tokens_distinct": usage.n_computed,
        "wall_secs": wall_secs,
    });
    #[expect(clippy::print_stdout, reason = "this is the program's result")]
    {
        println!("{measured}");
    }
    Ok(())
}

fn settings() -> SynthSettings {
    SynthSettings {
        n_cuts: 4,
        cut_rule: CutRule::Clauses,
        opener: OpenerPolicy::None,
        safe_response: SafeResponse::Auto,
        candidates: 1,
        sampling: Sampling { temperature: 0.0, top_p: 1.0, max_new_tokens: 128 },
        completeness: Completeness::Any,
        framing: Framing::default(),
        triggers: Triggers::builtin(),
        refusals: Triggers::builtin_refusals(),
        seed: 0,
    }
}

struct Grove<'a> {
    planner: Planner<'a>,
    drafts: Vec<Draft>,
    next: usize,
    reference: Reference,
    /// Time spent on the reference while the engine waited.
    paused_secs: f64,
    peak_rss_mb: f64,
}

impl Grove<'_> {
    /// Begins another round, if a draft asks for one.
    fn asks(&mut self) -> bool {
        self.next = 0;
        self.drafts.iter().any(|draft| draft.tree(self.planner.settings, 0).is_some())
    }

    fn judge(&mut self) {
        let judge = RuleJudge::new();
        for draft in &mut self.drafts {
            draft.advance(&self.planner);
            for asked in draft.unheard(self.planner.settings) {
                let heard = judge.read(&draft.evidence(asked).case(draft.prompt()));
                draft.hear(asked, heard.into());
            }
            draft.advance(&self.planner);
        }
    }
}

impl Forest for Grove<'_> {
    fn plant(&mut self) -> Option<Tree> {
        while let Some(draft) = self.drafts.get(self.next) {
            let first_id = self.next * Draft::n_ids(self.planner.settings);
            self.next += 1;
            if let Some(tree) = draft.tree(self.planner.settings, first_id) {
                let paused = Instant::now();
                self.reference.measure();
                self.paused_secs += paused.elapsed().as_secs_f64();
                return Some(tree);
            }
        }
        None
    }

    fn stopping(&self) -> bool {
        false
    }

    fn grown_by_one(&mut self, _id: usize, _tokens: &[TokenId]) -> Growth {
        Growth::Continue
    }

    fn harvest(&mut self, paths: Vec<Grown>) -> Result<(), BoxError> {
        let n_ids = Draft::n_ids(self.planner.settings);
        for path in paths {
            let draft = &mut self.drafts[path.id / n_ids];
            let record = draft.record(&self.planner, path.id % n_ids, Ok(&path))?;
            draft.take(self.planner.settings, record);
        }
        Ok(())
    }

    fn progress(&mut self, _so_far: Usage) {
        self.peak_rss_mb = self.peak_rss_mb.max(rss_mb());
    }
}
