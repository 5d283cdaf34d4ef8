//! The paths that the page's browser shows, as JSON in a data block.
//!
//! Paths of one fork share prompt and prefix, which are written once. A continuation is cut where its turn
//! begins, so that `evaluation.js` need not know about bytes.

use serde_json::{Value, json};

use super::{PathView, Set, Turn};
use crate::judge::Verdict;

/// Forks with their paths.
pub(super) fn forks(paths: &[PathView]) -> Value {
    let same_fork = |a: &PathView, b: &PathView| fork_of(a) == fork_of(b);
    paths.chunk_by(same_fork).map(fork).collect()
}

fn fork_of<'a>(path: &PathView<'a>) -> (Set, Option<&'a str>, &'a str, usize, &'a str, &'a str) {
    (path.set, path.category, path.sample_id, path.k, path.prompt, path.prefix)
}

fn fork(paths: &[PathView]) -> Value {
    let (set, category, sample, k, prompt, prefix) = fork_of(&paths[0]);
    let set = match set {
        Set::Harmful => "harmful",
        Set::Benign => "harmless",
    };
    let grown: Vec<_> = paths.iter().map(path).collect();
    json!({
        "set": set,
        "sample": sample,
        "category": category,
        "k": k,
        "prompt": prompt,
        "prefix": prefix,
        "paths": grown,
    })
}

fn path(path: &PathView) -> Value {
    let (before, after) = parted(path.continuation, path.turn);
    let verdict = match path.verdict {
        Verdict::Corrected => "corrected",
        Verdict::NotCorrected => "not corrected",
        Verdict::Unparsed => "unparsed",
    };
    json!({
        "path": path.path,
        "verdict": verdict,
        "turn": path.turn.map(|turn| turn.at_token),
        "finish": path.finish,
        "before": before,
        "after": after,
    })
}

/// The continuation before and after its turn; in one piece when the place is not known.
fn parted(continuation: &str, turn: Option<Turn>) -> (&str, Option<&str>) {
    let parts = turn.and_then(|turn| continuation.split_at_checked(turn.at_byte?));
    parts.map_or((continuation, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn paths_of_a_fork_share_its_prefix() {
        let paths = fixture::paths();
        let forks = forks(&paths);
        let shape: Vec<_> =
            forks.as_array().unwrap().iter().map(|f| f["paths"].as_array().unwrap().len()).collect();
        assert_eq!(shape, [2, 1]);
        assert_eq!(forks[0]["prefix"], paths[0].prefix);
    }

    #[test]
    fn a_continuation_is_cut_where_it_turns() {
        let turn = |at_byte| Some(Turn { at_token: 1, at_byte });
        assert_eq!(parted("Né. But no.", turn(Some(4))), ("Né.", Some(" But no.")));
        assert_eq!(parted("Né", turn(Some(2))), ("Né", None));
        assert_eq!(parted("Né", turn(Some(9))), ("Né", None));
        assert_eq!(parted("Né", turn(None)), ("Né", None));
    }
}
