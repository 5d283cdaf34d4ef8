//! The rankings that the page's browser shows, as JSON in a data block.
//!
//! Answers are parted here into what is the response's, what was given and what was written, so that `page.js` need
//! not know about characters.

use serde_json::{Value, json};

use super::super::figure::count;
use super::prose;
use crate::eval::Set;
use crate::judge::Verdict;
use crate::synth::{Answer, AnswerKind, Ranking};

/// Most characters of a text that the page holds.
const MAX_CHARS: usize = 8_000;

/// Rankings with their answers.
pub(super) fn rows(rankings: &[Ranking]) -> Value {
    rankings.iter().map(ranking).collect()
}

fn ranking(ranking: &Ranking) -> Value {
    let n_chars = ranking.answers.iter().find(|answer| answer.kind == AnswerKind::Response);
    let n_chars = n_chars.map(|answer| answer.text.chars().count());
    let answers: Vec<_> = ranking.answers.iter().map(|one| answer(ranking, one, n_chars)).collect();
    let lost = |lost: &crate::synth::DroppedAnswer| {
        let name = lost.kind.paper_name(ranking.set);
        format!("{name}: {} (candidates: {})", prose::reason(lost.reason), lost.n_candidates)
    };
    json!({
        "set": match ranking.set {
            Set::Harmful => "harmful",
            Set::Benign => "contrast",
        },
        "sample": ranking.sample,
        "category": ranking.category,
        "prompt": clipped(&prompt(ranking)),
        "answers": answers,
        "lost": ranking.dropped.iter().map(lost).collect::<Vec<_>>(),
    })
}

/// The one question as it is, several turns with who says them.
fn prompt(ranking: &Ranking) -> String {
    match ranking.prompt.as_slice() {
        [only] => only.content.clone(),
        turns => {
            let turns = turns.iter().map(|turn| format!("{}: {}", turn.role.name(), turn.content));
            turns.collect::<Vec<_>>().join("\n\n")
        }
    }
}

fn answer(ranking: &Ranking, answer: &Answer, n_chars: Option<usize>) -> Value {
    let [prefix, forced, written] = parted(answer);
    let verdict = answer.verdict.as_ref().map(|judged| match judged.verdict {
        Verdict::Corrected => "turns",
        Verdict::NotCorrected => "carries on",
        Verdict::Unparsed => "judge could not say",
    });
    json!({
        "rank": answer.rank + 1,
        "name": answer.kind.paper_name(ranking.set),
        "verdict": verdict,
        "about": about(ranking, answer, n_chars),
        "prefix": clipped(prefix),
        "forced": clipped(forced),
        "written": clipped(written),
    })
}

/// Facts of an answer, in words.
fn about(ranking: &Ranking, answer: &Answer, n_chars: Option<usize>) -> Vec<String> {
    let mut about = Vec::new();
    let cut = match answer.kind {
        AnswerKind::Correction(i) => i.checked_sub(1).and_then(|i| ranking.cuts.get(i)),
        _ => None,
    };
    if let Some(cut) = cut {
        let share =
            n_chars.map(|n| format!(" ({} % of the response)", (100 * cut.chars / n.max(1)).min(100)));
        about.push(format!("cut after {} tokens{}", count(cut.tokens), share.unwrap_or_default()));
    }
    about.push(format!("words: {}", prose::origin(answer.origin)));
    about.extend(answer.candidate.map(|candidate| format!("candidate {}", candidate + 1)));
    about.push(format!("end: {}", prose::end(answer.end)));
    about.extend(
        answer.verdict.iter().filter_map(|judged| Some(format!("phrase: {}", judged.phrase.as_ref()?))),
    );
    about
}

/// An answer as the response's part, the given part and the rest. What is not where it should be is not marked.
fn parted(answer: &Answer) -> [&str; 3] {
    let end = answer.text.char_indices().nth(answer.prefix_chars).map_or(answer.text.len(), |(at, _)| at);
    let (prefix, rest) = answer.text.split_at(end);
    let margin = rest.len() - rest.trim_start().len();
    let forced = answer.forced.trim_start();
    let n_forced =
        if rest[margin..].starts_with(forced) && !forced.is_empty() { margin + forced.len() } else { 0 };
    let (forced, written) = rest.split_at(n_forced);
    [prefix, forced, written]
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{} […]", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::fixture;

    #[test]
    fn the_parts_of_an_answer_are_the_answer() {
        for ranking in fixture::rankings(10, 10) {
            for answer in &ranking.answers {
                let [prefix, forced, written] = parted(answer);
                assert_eq!([prefix, forced, written].concat(), answer.text);
                assert_eq!(prefix.chars().count(), answer.prefix_chars);
                assert_eq!(forced, answer.forced);
            }
        }
    }

    #[test]
    fn what_is_not_where_it_should_be_is_not_marked() {
        let ranking = fixture::ranking(0, Set::Harmful);
        let with = |text: &str, prefix_chars, forced: &str| Answer {
            text: text.to_owned(),
            prefix_chars,
            forced: forced.to_owned(),
            ..ranking.answers[1].clone()
        };
        assert_eq!(parted(&with("Né. But no.", 3, "But")), ["Né.", " But", " no."]);
        assert_eq!(parted(&with("Né. Oh no.", 3, "But")), ["Né.", "", " Oh no."]);
        assert_eq!(parted(&with("Né", 9, "But")), ["Né", "", ""]);
        assert_eq!(clipped(&"é".repeat(MAX_CHARS + 1)).chars().count(), MAX_CHARS + 4);
    }

    #[test]
    fn a_correction_says_where_it_was_cut_and_several_turns_who_speaks() {
        let mut ranking = fixture::ranking(1, Set::Harmful);
        let row = &rows(std::slice::from_ref(&ranking))[0];
        assert!(row["answers"][2]["about"][0].as_str().unwrap().starts_with("cut after "), "{row}");
        assert_eq!(
            (row["answers"][0]["name"].as_str(), row["answers"][0]["rank"].as_u64()),
            (Some("SR"), Some(1))
        );
        ranking.prompt.insert(0, crate::chat::Message::system("Be kind."));
        assert!(
            rows(&[ranking])[0]["prompt"].as_str().unwrap().starts_with("system: Be kind.\n\nuser: How do I")
        );
    }
}
