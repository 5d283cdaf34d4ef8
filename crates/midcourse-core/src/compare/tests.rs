//! Runs side by side: what is compared, what is refused, what gates say, and that swapped runs mirror.

use super::fixture::{Task, bench, comparison, evaluation, right, runs};
use super::*;
use crate::bench::{Better, ItemRecord, Kind};
use crate::metrics::Scale;

fn run(name: &str, measures: Vec<Measured>) -> Run {
    Run { name: name.into(), sources: Vec::new(), measures }
}

fn benched(name: &str, change: impl Fn(&mut Vec<ItemRecord>)) -> Run {
    let task = |name, share| Task {
        name,
        kind: Kind::General,
        better: Better::Higher,
        scale: Scale::Share,
        values: right(50, share),
    };
    let (summary, mut items) = bench(&[task("piqa", 0.6), task("boolq", 0.5)]);
    change(&mut items);
    run(name, of_bench(&summary, &items))
}

#[test]
fn every_measure_of_both_runs_is_compared() {
    let found = comparison();
    let names: Vec<&str> =
        found.comparisons[0].changes.iter().map(|change| change.measure.as_str()).collect();
    assert_eq!(
        names,
        [
            "corr_mean",
            "corr@10",
            "corr@40",
            "false_corrections",
            "plain_refusal/harmful",
            "plain_refusal/benign",
            "hellaswag",
            "piqa",
            "perplexity",
            "over_refusal",
            "jailbreak_artifacts",
        ]
    );
    let taught = found.comparisons[0].change("corr_mean").unwrap();
    assert!((taught.difference.difference - 0.59).abs() < 1e-12, "{taught:?}");
    assert_eq!((taught.clarity, taught.difference.n_prompts), (Clarity::Better, 10));
    assert_eq!(found.comparisons[0].change("jailbreak_artifacts").unwrap().clarity, Clarity::Better);
    assert_eq!(found.comparisons[0].change("perplexity").unwrap().clarity, Clarity::Worse);
    assert_eq!(found.comparisons[0].change("piqa").unwrap().clarity, Clarity::No);
    assert_eq!(found.runs[0].curve().iter().map(|at| at.k).collect::<Vec<_>>(), [10, 40]);
}

#[test]
#[expect(clippy::float_cmp, reason = "mirrored to the last bit")]
fn swapped_runs_mirror() {
    let [first, second, _] = runs().try_into().unwrap();
    let there = compare(&[first.clone(), second.clone()], &[]).unwrap();
    let back = compare(&[second, first], &[]).unwrap();
    for (there, back) in there.comparisons[0].changes.iter().zip(&back.comparisons[0].changes) {
        let (one, other) = (there.difference, back.difference);
        assert_eq!(one.difference, -other.difference, "{there:?}");
        assert_eq!(one.ci, [-other.ci[1], -other.ci[0]], "{there:?}");
        assert_eq!((one.p, there.p_holm), (other.p, back.p_holm), "{there:?}");
        let opposite = match there.clarity {
            Clarity::Better => Clarity::Worse,
            Clarity::Worse => Clarity::Better,
            same => same,
        };
        assert_eq!(opposite, back.clarity);
    }
}

#[test]
fn the_order_of_items_decides_nothing() {
    let baseline = benched("a", |items| {
        for item in items.iter_mut().step_by(9) {
            item.values.insert("acc".into(), 0.0);
        }
    });
    let [plain, reversed] = [benched("b", |_| {}), benched("b", |items| items.reverse())];
    let compared = |run: Run| compare(&[baseline.clone(), run], &[]).unwrap().comparisons;
    assert_eq!(compared(plain), compared(reversed));
}

#[test]
fn other_data_another_judge_or_setting_is_named_and_not_compared() {
    let turned = [3, 4, 5, 1];
    let baseline = run("a", evaluation(&turned, &[0, 1], "rule 1"));
    let why = |other: Vec<Measured>, measure: &str| {
        let runs = [baseline.clone(), run("b", [other, baseline_task()].concat())];
        let runs = [run("a", [runs[0].measures.clone(), baseline_task()].concat()), runs[1].clone()];
        let found = compare(&runs, &[]).unwrap();
        let left = found.comparisons[0].not_compared.iter().find(|left| left.measure == measure);
        left.unwrap_or_else(|| panic!("{measure} was compared")).why.to_string()
    };
    assert_eq!(
        why(evaluation(&turned, &[0, 1], "rule 2"), "corr@10"),
        "judge differs: the baseline has rule 1, this run rule 2"
    );
    let other_data = why(evaluation(&[3, 4, 5], &[0, 1], "rule 1"), "corr_mean");
    assert!(other_data.starts_with("prompts differs: the baseline has 4 ("), "{other_data}");
    let mut hotter = evaluation(&turned, &[0, 1], "rule 1");
    for measure in &mut hotter {
        measure.identity.insert("temperature".into(), "1".into());
    }
    assert_eq!(why(hotter, "plain_refusal/benign"), "temperature differs: the baseline has 0.8, this run 1");
    assert_eq!(why(Vec::new(), "corr_mean"), "only the baseline has it");
}

fn baseline_task() -> Vec<Measured> {
    benched("x", |_| {}).measures
}

#[test]
fn harmful_prompts_are_compared_where_only_the_harmless_ones_differ() {
    let runs = [&[0, 1][..], &[0, 1, 1]].map(|benign| run("a", evaluation(&[3, 4, 5, 1], benign, "rule 1")));
    let found = compare(&runs, &[]).unwrap();
    assert!(found.comparisons[0].change("corr_mean").is_some());
    assert!(found.comparisons[0].change("false_corrections").is_none());
}

#[test]
fn runs_without_a_measure_in_common_are_refused_with_the_reasons() {
    let runs = [run("a", evaluation(&[3, 4], &[], "rule 1")), run("b", evaluation(&[3, 4], &[], "rule 2"))];
    let said = compare(&runs, &[]).unwrap_err().to_string();
    let first = "nothing can be compared: corr_mean: judge differs: the baseline has rule 1, this run rule 2; corr@10:";
    assert!(said.starts_with(first) && said.ends_with("and 1 more measures"), "{said}");
    assert!(compare(&[run("a", Vec::new()), run("b", Vec::new())], &[]).is_err());
}

#[test]
fn items_of_one_run_only_are_counted_and_repeated_items_keep_their_places() {
    let baseline = benched("a", |items| items.push(items[0].clone()));
    let other = benched("b", |items| {
        items.push(items[0].clone());
        items[1].values.clear();
        items.remove(2);
    });
    let found = compare(&[baseline, other], &[]).unwrap();
    let change = found.comparisons[0].change("piqa").unwrap();
    assert_eq!((change.difference.n_prompts, change.n_unpaired), (49, 2), "{change:?}");
}

#[test]
fn items_of_a_cluster_are_one() {
    let clustered = |name| {
        benched(name, |items| {
            for (i, item) in items.iter_mut().enumerate() {
                item.cluster = Some(format!("c{}", i / 5));
            }
        })
    };
    let found = compare(&[clustered("a"), clustered("b")], &[]).unwrap();
    assert_eq!(found.comparisons[0].change("piqa").unwrap().difference.n_prompts, 10);
}

#[test]
fn many_measures_need_more_than_one() {
    let measure = |i: usize, share: f64| Task {
        name: ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"][i],
        kind: Kind::General,
        better: Better::Higher,
        scale: Scale::Share,
        values: right(97, share),
    };
    let runs = [0.0, 0.07].map(|more| {
        let tasks: Vec<Task> = (0..10).map(|i| measure(i, if i == 3 { 0.5 + more } else { 0.5 })).collect();
        let (summary, items) = bench(&tasks);
        run("a", of_bench(&summary, &items))
    });
    let found = compare(&runs, &[]).unwrap();
    let change = found.comparisons[0].change("t3").unwrap();
    assert!(change.difference.p < 0.05 && change.p_holm > 0.05, "{change:?}");
    assert_eq!(change.clarity, Clarity::Alone);
}

#[test]
fn gates_are_held_against_every_run_after_the_first() {
    let found = comparison();
    let told: Vec<_> = found.gates.iter().map(|g| (g.gate.as_str(), g.run.as_str(), g.outcome)).collect();
    assert_eq!(
        told,
        [
            ("corr_mean>=+10", "taught", GateOutcome::Met),
            ("hellaswag>=-1", "taught", GateOutcome::Met),
            ("corr_mean>=+10", "a little", GateOutcome::Missed),
            ("hellaswag>=-1", "a little", GateOutcome::Met),
        ]
    );
    assert!((found.gates[0].found.unwrap() - 59.0).abs() < 1e-9);
}

#[test]
fn the_ends_of_an_interval_and_other_units_can_be_bounded() {
    let runs = &runs()[..2];
    let outcome = |gate: &str| compare(runs, &gates(gate).unwrap()).unwrap().gates[0].outcome;
    assert_eq!(outcome("low(corr_mean)>=40"), GateOutcome::Met);
    assert_eq!(outcome("high(corr_mean)<=59"), GateOutcome::Missed);
    // e³·⁰⁵ − e³·⁰³, not points.
    assert_eq!(outcome("perplexity<=0.5"), GateOutcome::Met);
    assert_eq!(outcome("perplexity<=0.3"), GateOutcome::Missed);
}

#[test]
fn a_gate_that_cannot_be_told_is_not_met() {
    let runs = [
        run("a", [evaluation(&[3, 4], &[], "rule 1"), baseline_task()].concat()),
        run("b", [evaluation(&[3, 4], &[], "rule 2"), baseline_task()].concat()),
    ];
    let found = compare(&runs, &gates("corr_mean>=0").unwrap()).unwrap();
    assert_eq!(found.gates[0].outcome, GateOutcome::Untold);
    assert!(found.gates[0].reason.as_ref().unwrap().starts_with("judge differs"));
}

#[test]
fn a_gate_on_nothing_known_lists_what_there_is() {
    let error = compare(&runs(), &gates("corr_men>=0").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "--gate: `corr_men>=0`: no run has a measure called `corr_men`");
    assert!(error.hint().starts_with("the runs have corr_mean, corr@10, corr@40"), "{}", error.hint());
}

/// Keys are a contract (`docs/schemas.md`). Numbers read back within the last digit.
#[test]
fn what_is_written_reads_back() {
    let found = comparison();
    let json = serde_json::to_value(&found).unwrap();
    let keys = |at: &str| {
        let object = json.pointer(at).unwrap().as_object().unwrap();
        object.keys().map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(""), "schema runs measures comparisons gates");
    assert_eq!(keys("/runs/0"), "name sources values");
    assert_eq!(keys("/runs/0/values/0"), "measure value ci n");
    assert_eq!(keys("/measures/0"), "name aspect rank better scale");
    assert_eq!(keys("/comparisons/0"), "run baseline changes not_compared");
    let change = "measure figures difference ci p detectable n_prompts p_holm clarity n_unpaired";
    assert_eq!(keys("/comparisons/0/changes/0"), change);
    assert_eq!(keys("/gates/0"), "gate run outcome found reason");
    let back: Comparison = serde_json::from_value(json).unwrap();
    assert_eq!(back.measures, found.measures);
    assert_eq!(back.comparisons[1].run, "a little");
}
