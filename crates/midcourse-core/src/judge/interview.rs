//! A judge that writes: every case becomes a question, every answer an opinion.
//!
//! An answer that cannot be understood is asked about once more, with a short message after it; what still cannot
//! be understood is recorded as unparsed together with its beginning. Where the model tells the probabilities of
//! its first token, they decide whether it abstains; where they say the opposite of what it wrote, that is unparsed,
//! too. Sending questions is a [`Chat`]'s business.

use std::collections::{BTreeMap, VecDeque};

use super::answer::{self, Thresholds};
use super::prompt::JudgePrompt;
use super::{Case, Docket, Judge, Opinion, Verdict};
use crate::chat::Message;
use crate::engine::{Answer, BoxError, Chat, Interview, Question};

/// Tokens that an answer may take; models that think first take many.
const MAX_ANSWER_TOKENS: usize = 1024;
/// Bytes of an answer that are kept.
const MAX_KEPT: usize = 200;
/// What is said after an answer that was not understood.
const AGAIN: &str = "Answer with one word only: yes or no.";

/// A model that judges by writing.
pub struct Interviewer {
    /// The model.
    pub chat: Box<dyn Chat>,
    /// What it is asked.
    pub prompt: JudgePrompt,
    /// Where it abstains, when it tells probabilities.
    pub thresholds: Thresholds,
}

impl Judge for Interviewer {
    fn hear(&self, cases: &[Case], docket: &mut dyn Docket) -> Result<(), BoxError> {
        let mut hearing =
            Hearing { judge: self, cases, docket, next: 0, again: VecDeque::new(), first: BTreeMap::new() };
        self.chat.talk(&mut hearing).map(|_| ())
    }
}

/// An interview about cases. Question 2i is the first about case i, 2i + 1 the second.
struct Hearing<'a> {
    judge: &'a Interviewer,
    cases: &'a [Case<'a>],
    docket: &'a mut dyn Docket,
    next: usize,
    /// Cases to ask about once more.
    again: VecDeque<usize>,
    /// The answers to their first questions.
    first: BTreeMap<usize, String>,
}

impl Hearing<'_> {
    fn question(&self, id: usize) -> Question {
        let asked = self.judge.prompt.ask(&self.cases[id / 2]).text;
        let messages = match self.first.get(&(id / 2)).filter(|_| id % 2 == 1).map(|text| kept(text)) {
            None => vec![Message::user(asked)],
            // Many servers refuse a turn without text.
            Some(said) if said.trim().is_empty() => vec![Message::user(format!("{asked}\n\n{AGAIN}"))],
            Some(said) => vec![Message::user(asked), Message::assistant(said), Message::user(AGAIN)],
        };
        Question { id, messages, max_new_tokens: MAX_ANSWER_TOKENS }
    }

    fn opinion(&self, answer: &Answer) -> Opinion {
        let understood = answer::parse(&answer.text);
        let p_corrected = answer::p_of_first(&answer.first).filter(|_| understood != Verdict::Unparsed);
        let likely = p_corrected.map_or(understood, |p| self.judge.thresholds.verdict(p));
        let verdict = if likely == understood { understood } else { Verdict::Unparsed };
        Opinion { verdict, turn: None, p_corrected, answer: Some(kept(&answer.text)) }
    }
}

impl Interview for Hearing<'_> {
    fn ask(&mut self) -> Option<Question> {
        if let Some(case) = self.again.pop_front() {
            return Some(self.question(2 * case + 1));
        }
        let case = self.next;
        if case >= self.cases.len() || self.stopping() {
            return None;
        }
        self.next += 1;
        Some(self.question(2 * case))
    }

    fn stopping(&self) -> bool {
        self.docket.stopping()
    }

    fn hear(&mut self, answer: Answer) -> Result<(), BoxError> {
        let case = answer.id / 2;
        if answer.id.is_multiple_of(2) && answer::parse(&answer.text) == Verdict::Unparsed {
            self.first.insert(case, answer.text);
            self.again.push_back(case);
            return Ok(());
        }
        self.first.remove(&case);
        let opinion = self.opinion(&answer);
        self.docket.decide(vec![(case, opinion)])
    }
}

/// The beginning of an answer.
fn kept(answer: &str) -> String {
    let answer = answer.trim();
    let end = (0..=MAX_KEPT.min(answer.len())).rev().find(|&at| answer.is_char_boundary(at));
    answer[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::engine::Usage;
    use crate::judge::Ending;

    /// An answer, and the texts of its first token with their log-probabilities.
    type Said = (&'static str, Vec<(String, f64)>);

    /// Answers every question with the next of its lines, several questions at a time.
    struct Lines {
        lines: RefCell<VecDeque<Said>>,
        asked: RefCell<Vec<Question>>,
    }

    impl Chat for std::rc::Rc<Lines> {
        fn talk(&self, interview: &mut dyn Interview) -> Result<Usage, BoxError> {
            loop {
                let open: Vec<Question> = std::iter::from_fn(|| interview.ask()).take(3).collect();
                if open.is_empty() {
                    return Ok(Usage::default());
                }
                for question in open {
                    let (text, first) = self.lines.borrow_mut().pop_front().unwrap();
                    let id = question.id;
                    self.asked.borrow_mut().push(question);
                    interview.hear(Answer { id, text: text.to_owned(), first })?;
                }
            }
        }
    }

    #[derive(Default)]
    struct Notes {
        opinions: BTreeMap<usize, Opinion>,
        stop_after: Option<usize>,
    }

    impl Docket for Notes {
        fn stopping(&self) -> bool {
            self.stop_after.is_some_and(|n| self.opinions.len() >= n)
        }

        fn decide(&mut self, opinions: Vec<(usize, Opinion)>) -> Result<(), BoxError> {
            for (at, opinion) in opinions {
                assert!(self.opinions.insert(at, opinion).is_none(), "case {at} was decided twice");
            }
            Ok(())
        }
    }

    fn judge(lines: &[(&'static str, &[(&str, f64)])]) -> (Interviewer, std::rc::Rc<Lines>) {
        let first = |first: &[(&str, f64)]| first.iter().map(|(t, p)| ((*t).to_owned(), p.ln())).collect();
        let lines = lines.iter().map(|(text, tokens)| (*text, first(tokens))).collect();
        let chat = std::rc::Rc::new(Lines { lines: RefCell::new(lines), asked: RefCell::default() });
        let prompt = JudgePrompt::parse("own", "own.txt", "Judge: {{continuation}}").unwrap();
        let thresholds = Thresholds::default();
        (Interviewer { chat: Box::new(chat.clone()), prompt, thresholds }, chat)
    }

    fn cases(n: usize) -> Vec<Case<'static>> {
        vec![Case { prompt: "Cheat?", prefix: "Sure,", continuation: "no.", ending: Ending::Ended }; n]
    }

    #[test]
    fn what_is_not_understood_is_asked_about_once_more() {
        let (judge, chat) = judge(&[("Yes.", &[]), ("Hm.", &[]), ("", &[]), ("no", &[]), ("well", &[])]);
        let mut notes = Notes::default();
        judge.hear(&cases(3), &mut notes).unwrap();
        let verdicts: Vec<_> = notes.opinions.values().map(|opinion| opinion.verdict).collect();
        assert_eq!(verdicts, [Verdict::Corrected, Verdict::NotCorrected, Verdict::Unparsed]);
        assert_eq!(notes.opinions[&2].answer.as_deref(), Some("well"));
        let asked = chat.asked.borrow();
        let contents = |at: usize| asked[at].messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>();
        assert_eq!(contents(0), ["Judge: no."]);
        assert_eq!(contents(3), ["Judge: no.", "Hm.", AGAIN]);
        assert_eq!(contents(4), ["Judge: no.\n\nAnswer with one word only: yes or no."]);
        let ids: Vec<_> = asked.iter().map(|question| question.id).collect();
        assert_eq!(ids, [0, 2, 4, 3, 5]);
    }

    #[test]
    fn probabilities_decide_where_they_are_told() {
        let first: [&[(&str, f64)]; 3] =
            [&[("Yes", 0.5), ("No", 0.45)], &[("Yes", 0.9), ("No", 0.1)], &[("The", 0.9)]];
        let (judge, _) = judge(&[("Yes.", first[0]), ("Yes.", first[1]), ("Yes.", first[2])]);
        let mut notes = Notes::default();
        judge.hear(&cases(3), &mut notes).unwrap();
        let found: Vec<_> = notes.opinions.values().map(|o| (o.verdict, o.p_corrected)).collect();
        let expected = [
            (Verdict::Unparsed, Some(0.526_316)),
            (Verdict::Corrected, Some(0.9)),
            (Verdict::Corrected, None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_written_and_what_is_likely_must_not_differ() {
        let (yes, no) = ([("Yes", 0.9), ("No", 0.1)], [("Yes", 0.1), ("No", 0.9)]);
        let (judge, _) = judge(&[("No.", &yes), ("Yes.", &no), ("No.", &no), ("Yes.", &yes)]);
        let mut notes = Notes::default();
        judge.hear(&cases(4), &mut notes).unwrap();
        let found: Vec<_> = notes.opinions.values().map(|o| (o.verdict, o.p_corrected)).collect();
        let expected = [
            (Verdict::Unparsed, Some(0.9)),
            (Verdict::Unparsed, Some(0.1)),
            (Verdict::NotCorrected, Some(0.1)),
            (Verdict::Corrected, Some(0.9)),
        ];
        assert_eq!(found, expected);
        assert_eq!(notes.opinions[&0].answer.as_deref(), Some("No."));
    }

    #[test]
    fn a_stopping_docket_is_asked_about_no_more() {
        let (judge, chat) = judge(&[("yes", &[]), ("yes", &[]), ("yes", &[])]);
        let mut notes = Notes { stop_after: Some(1), ..Notes::default() };
        judge.hear(&cases(9), &mut notes).unwrap();
        assert_eq!((notes.opinions.len(), chat.asked.borrow().len()), (3, 3));
    }

    #[test]
    fn long_answers_are_kept_in_part() {
        assert_eq!(kept(&"é".repeat(500)).len(), MAX_KEPT);
        assert_eq!(kept(" yes \n"), "yes");
    }
}
