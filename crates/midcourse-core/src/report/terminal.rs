//! The figures of an evaluation on a terminal: a table, a small curve, and what stands beside them.
//!
//! No text of a model is shown here; the names that users and data gave are stripped of controls.

use std::fmt::Write;
use std::mem::discriminant;

use super::braille::{self, Cell};
use super::figure::{Figure, count, in_percent};
use super::{Report, each, prose, strip_controls};
use crate::metrics::{Benign, CorrAtK, Scores, Share};

/// The curve is not drawn wider than this.
const MAX_CURVE_COLUMNS: usize = 64;
/// The table's width: what is narrower is treated as this wide.
const MIN_WIDTH: usize = 53;

/// Whether the terminal shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI sequences.
    On,
    /// Plain text.
    Off,
}

#[derive(Clone, Copy)]
pub(super) enum Ink {
    Strong,
    Faint,
    Line,
    Warning,
}

impl Colour {
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Strong => "1",
            Ink::Faint => "2",
            Ink::Line => "36",
            Ink::Warning => "33",
        };
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }

    /// Paints cells of one kind.
    fn paint_cells(self, cells: &[Cell]) -> String {
        let dot = |cell: &Cell| match cell {
            Cell::Empty => ' ',
            Cell::Band(dots) | Cell::Line(dots) => *dots,
        };
        let text: String = cells.iter().map(dot).collect();
        match cells.first() {
            Some(Cell::Band(_)) => self.paint(Ink::Faint, &text),
            Some(Cell::Line(_)) => self.paint(Ink::Line, &text),
            _ => text,
        }
    }
}

/// The report in lines of at most `width` characters (53 at least), ending with a line break.
pub fn terminal(report: &Report, width: usize, colour: Colour) -> String {
    let width = width.max(MIN_WIDTH);
    let scores = report.scores;
    let parts = [
        heading(scores, width, colour),
        table(scores, colour),
        corrected(scores, width, colour),
        curve(scores, width, colour),
        beside(scores, width),
        warnings(scores, width, colour),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn heading(scores: &Scores, width: usize, colour: Colour) -> String {
    let model = shortened(&strip_controls(&scores.model), width);
    let facts = format!(
        "{} prompts × {} paths × {} new tokens · prefixes in {} · {} · judge {}",
        count(scores.n_samples),
        count(scores.paths),
        count(scores.max_new_tokens),
        scores.unit,
        scores.mode,
        scores.judge
    );
    let facts = wrapped(&strip_controls(&facts), width, "");
    format!("{}\n{}", colour.paint(Ink::Strong, &model), each_line(&facts, colour, Ink::Faint))
}

fn table(scores: &Scores, colour: Colour) -> String {
    let head =
        format!("{:>9}  {:>7} {:<14}  {:>9}  {:>7}", "k", "Corr@k", "95 % interval", "corrected", "judged");
    let mut text = colour.paint(Ink::Faint, &head) + "\n";
    for at in &scores.corr_at_k {
        let counts = format!("{:>9}  {:>7}", count(at.n_corrected), count(at.n_judged));
        text += &row(&at.k.to_string(), at.into(), &counts, colour);
    }
    let sum = |of: fn(&CorrAtK) -> usize| count(scores.corr_at_k.iter().map(of).sum());
    let counts = format!("{:>9}  {:>7}", sum(|at| at.n_corrected), sum(|at| at.n_judged));
    text + &row("Corr_mean", scores.corr_mean.into(), &counts, colour)
}

fn row(label: &str, figure: Figure, counts: &str, colour: Colour) -> String {
    let percent = colour.paint(Ink::Strong, &format!("{:>7}", figure.percent()));
    let line = format!("{label:>9}  {percent} {:<14}  {counts}", figure.interval());
    line.trim_end().to_owned() + "\n"
}

/// The figures corrected for the judge's error.
fn corrected(scores: &Scores, width: usize, colour: Colour) -> String {
    let Some(calibrated) = &scores.calibrated else { return String::new() };
    let said = wrapped(&prose::corrected(calibrated), width, "");
    let mut text = each_line(&said, colour, Ink::Faint) + "\n";
    for at in &calibrated.corr_at_k {
        text += &row(&at.k.to_string(), at.into(), "", colour);
    }
    text += &row("Corr_mean", calibrated.corr_mean.into(), "", colour);
    if calibrated.benign.is_some() {
        text += &row("benign", calibrated.benign.into(), "", colour);
    }
    text
}

fn curve(scores: &Scores, width: usize, colour: Colour) -> String {
    let at: Vec<_> = scores.corr_at_k.iter().map(|at| (at.k, Figure::from(at))).collect();
    if at.iter().all(|(_, figure)| figure.rate.is_none()) {
        return String::new();
    }
    let top = top(&at);
    let drawn = braille::curve(&at, top, (width - AXIS).min(MAX_CURVE_COLUMNS));
    let rows = each(drawn.rows.iter().enumerate(), |(row, cells)| {
        let runs = cells.chunk_by(|a, b| discriminant(a) == discriminant(b));
        let drawn = each(runs, |run| colour.paint_cells(run));
        format!("{}{}\n", colour.paint(Ink::Faint, &axis(row, top)), drawn.trim_end())
    });
    let labels: Vec<_> = at.iter().map(|(k, _)| *k).zip(drawn.columns).collect();
    rows + &colour.paint(Ink::Faint, &ticks(&labels, width)) + "\n"
}

/// The axis left of a row of cells.
fn axis(row: usize, top: f64) -> String {
    match row {
        0 => format!("{:>5.0} % ┤", in_percent(top)),
        5 => format!("{:>5.0} % ┤", in_percent(top / 2.0)),
        9 => "    0 % ┤".to_owned(),
        _ => "        │".to_owned(),
    }
}

/// The end of the axis: a round share that no interval exceeds.
fn top(at: &[(usize, Figure)]) -> f64 {
    let highest = at.iter().filter_map(|(_, figure)| figure.ci.map(|[_, high]| high).or(figure.rate));
    let highest = highest.fold(0.0, f64::max);
    [0.1, 0.2, 0.5].into_iter().find(|top| highest <= *top).unwrap_or(1.0)
}

/// Columns before the first cell of the curve.
const AXIS: usize = 9;

/// The line of lengths under the curve: each ends under its column, and what would overlap is left out.
fn ticks(labels: &[(usize, usize)], width: usize) -> String {
    let mut line = format!("{:>AXIS$}", "k = ");
    for (k, column) in labels {
        let (label, end) = (k.to_string(), (AXIS + column + 1).min(width));
        let room = end.saturating_sub(line.len());
        if room > label.len() {
            let _ = write!(line, "{label:>room$}");
        }
    }
    line
}

/// What stands beside Corr@k: the plain answers, false corrections, and where paths turn.
fn beside(scores: &Scores, width: usize) -> String {
    let mut lines = Vec::new();
    if let Some(plain) = &scores.plain {
        lines.push(share("k = 0", plain, "plain answers refuse outright"));
    }
    if let Some(Benign { overall, plain, .. }) = &scores.benign {
        lines.push(share("benign", overall, "paths turn away falsely"));
        lines.extend(plain.iter().map(|plain| share("k = 0", plain, "benign plain answers refuse")));
    }
    lines.extend(prose::turning(&scores.tokens_to_correction).map(|said| format!("{:>9}  {said}", "turns")));
    each(lines, |line| wrapped(&line, width, "           ") + "\n")
}

fn share(label: &str, share: &Share, what: &str) -> String {
    let (figure, n_judged) = (Figure::from(share), count(share.n_judged));
    format!("{label:>9}  {:>7} {} of {n_judged} {what}", figure.percent(), figure.interval())
}

fn warnings(scores: &Scores, width: usize, colour: Colour) -> String {
    each(prose::losses(scores), |line| {
        each_line(&wrapped(&line, width, "  "), colour, Ink::Warning)
            + "
"
    })
}

pub(super) fn each_line(text: &str, colour: Colour, ink: Ink) -> String {
    text.lines().map(|line| colour.paint(ink, line)).collect::<Vec<_>>().join("\n")
}

/// `text` broken at single spaces into lines of at most `width`, all but the first behind `indent`; what
/// stands before the text's first word stays.
pub(super) fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let margin = text.len() - text.trim_start().len();
    let (mut lines, mut line) = (Vec::new(), " ".repeat(margin));
    for word in text.trim_start().split(' ') {
        let word = shortened(word, width - indent.len());
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        } else if !line.trim().is_empty() {
            line.push(' ');
        }
        line += &word;
    }
    lines.push(line);
    lines.join("\n")
}

/// The first characters of `text` that fit, the last of them an ellipsis if some are missing.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use expect_test::{Expect, expect};

    fn check(scores: &Scores, width: usize, expected: &Expect) {
        expected.assert_eq(&terminal(&fixture::report(scores), width, Colour::Off));
    }

    #[test]
    fn a_wide_terminal() {
        check(
            &fixture::scores(),
            100,
            &expect![[r"
                smollm2
                40 prompts × 20 paths × 32 new tokens · prefixes in tokens · open-turn · judge rule
                        k   Corr@k 95 % interval   corrected   judged
                       10    4.1 % [2.5, 5.9]             33      800
                       20    7.5 % [4.5, 10.9]            60      800
                       30   11.0 % [6.6, 16.0]            88      800
                       40   12.5 % [7.5, 18.1]           100      800
                       50   13.8 % [8.2, 19.9]           110      800
                       60   16.0 % [9.6, 23.2]           128      800
                       70   15.5 % [9.3, 22.5]           124      800
                       80   19.0 % [11.4, 27.5]          152      800
                Corr_mean   12.4 % [8.6, 17.0]           795    6,400

                   50 % ┤
                        │
                        │
                        │
                        │                                                            ⡀⡀⡠⡠
                   25 % ┤                                        ⡀⡀⡠⡠⡠⡠⡢⡢⡢⡢⡢⡢⡢⡢⡢⡢⡢⡪⡪⡪⡪⡪⡪⡪
                        │                      ⡀⡀⡠⡠⡠⡠⡠⡢⡢⡢⡢⡢⡪⡪⡪⡪⡪⡪⡪⡪⡪⢀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⠤⠤⠤⠒⠒⠒⠉
                        │              ⡀⡀⡠⡠⡢⡢⢀⣀⣀⡠⠤⠤⠤⠤⠤⠤⠒⠒⠒⠒⠒⠒⠒⠒⠉⠉⠉⠉⠉⠁⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⡪⠪⠪
                        │       ⠠⢀⣀⣀⡠⠤⠤⠔⠒⠒⠊⠉⠉⠁⠪⠪⠪⠪⠪⠪⠪⠊⠊⠊⠊⠊⠊⠊⠊⠊⠊⠊⠊⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈
                    0 % ┤       ⠈⠁⠊⠊⠈⠈⠈⠈
                     k =       10      20      30      40      50      60      70      80

                    k = 0   33.1 % [19.9, 46.4] of 800 plain answers refuse outright
                   benign    0.8 % [0.5, 1.1] of 6,400 paths turn away falsely
                    k = 0    5.0 % [3.0, 7.0] of 800 benign plain answers refuse
                    turns  half have turned by token 9 after the cut, nine tenths by token 21
            "]],
        );
    }

    #[test]
    fn corrected_figures_stand_below_those_that_the_judge_saw() {
        let mut scores = fixture::scores();
        scores.calibrated = Some(fixture::calibrated());
        let text = terminal(&fixture::report(&scores), 80, Colour::Off);
        let part = text.lines().skip(11).take(16).collect::<Vec<_>>().join("\n") + "\n";
        expect![[r#"
                   80   19.0 % [11.4, 27.5]          152      800
            Corr_mean   12.4 % [8.6, 17.0]           795    6,400

            Corrected for the judge's error: on 1,250 labelled rows the judge found 90.0 %
            of the corrections and left 98.0 % of the rest alone. The intervals hold this
            uncertainty, too, as long as the judge errs here as it did there. Below 0 or
            above 100 %, and put at that bound: 1 corrected rate.
                   10    2.4 % [0.5, 6.5]
                   20    6.2 % [2.8, 12.1]
                   30   10.2 % [5.2, 17.9]
                   40   11.9 % [6.2, 20.3]
                   50   13.4 % [7.1, 22.4]
                   60   15.9 % [8.6, 26.1]
                   70   15.3 % [8.3, 25.3]
                   80   19.3 % [10.7, 31.0]
            Corr_mean   11.8 % [7.0, 17.5]
        "#]]
        .assert_eq(&part);
    }

    #[test]
    fn a_narrow_terminal_with_losses() {
        let mut scores = fixture::scores();
        scores.corr_at_k[7].n_skipped = 12;
        scores.corr_at_k[7].rate = None;
        scores.corr_at_k[7].ci = None;
        scores.corr_at_k[0].n_unparsed = 1_234;
        scores.benign = None;
        check(
            &scores,
            60,
            &expect![[r"
                smollm2
                40 prompts × 20 paths × 32 new tokens · prefixes in tokens ·
                open-turn · judge rule
                        k   Corr@k 95 % interval   corrected   judged
                       10    4.1 % [2.5, 5.9]             33      800
                       20    7.5 % [4.5, 10.9]            60      800
                       30   11.0 % [6.6, 16.0]            88      800
                       40   12.5 % [7.5, 18.1]           100      800
                       50   13.8 % [8.2, 19.9]           110      800
                       60   16.0 % [9.6, 23.2]           128      800
                       70   15.5 % [9.3, 22.5]           124      800
                       80        –                       152      800
                Corr_mean   12.4 % [8.6, 17.0]           795    6,400

                   50 % ┤
                        │
                        │
                        │
                        │
                   25 % ┤                                ⡀⡀⡠⡠⡠⡢⡢⡢⡢⡢⡢⡢⡂
                        │                  ⡀⡠⡠⡠⡠⡢⡢⡢⡢⡪⡪⡪⡪⡪⡪⡪⢀⣀⣀⣀⣀⣀⣀⣀⣀⣀⡀
                        │           ⡀⡀⡠⡠⡢⢀⣀⡠⠤⠤⠤⠤⠤⠒⠒⠒⠒⠒⠒⠉⠉⠉⠉⠁⡪⡪⡪⡪⡪⡪⡪⡪⡪⡂
                        │      ⡠⣀⣀⡠⠤⠤⠒⠒⠉⠉⠁⠪⠪⠪⠪⠪⠊⠊⠊⠊⠊⠊⠊⠊⠊⠊⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈⠈
                    0 % ┤      ⠉⠊⠊⠈⠈⠈
                     k =      10    20    30     40    50    60     70    80

                    k = 0   33.1 % [19.9, 46.4] of 800 plain answers refuse
                           outright
                    turns  half have turned by token 9 after the cut, nine
                           tenths by token 21

                Not counted, harmful set – unparsed paths: 1,234, skipped
                  prefixes (response shorter than k): 12
            "]],
        );
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let mut scores = fixture::scores();
        scores.model = "a-very-long-name/of-a-model".repeat(9);
        scores.judge = "judge with a name of many words ".repeat(9);
        scores.corr_at_k[2].n_failed = 3;
        for width in [0, 53, 60, 61, 80, 200] {
            let text = terminal(&fixture::report(&scores), width, Colour::Off);
            assert!(
                text.lines().all(|line| line.chars().count() <= width.max(MIN_WIDTH)),
                "{width}:\n{text}"
            );
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let scores = fixture::scores();
        let report = fixture::report(&scores);
        let coloured = terminal(&report, 80, Colour::On);
        let plain = terminal(&report, 80, Colour::Off);
        let codes = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[36m"];
        assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain);
    }

    #[test]
    fn names_cannot_control_the_terminal() {
        let mut scores = fixture::scores();
        for name in [&mut scores.model, &mut scores.mode, &mut scores.unit, &mut scores.judge] {
            *name = fixture::HOSTILE.to_owned();
        }
        let text = terminal(&fixture::report(&scores), 80, Colour::Off);
        assert!(text.lines().all(|line| line == strip_controls(line)));
    }
}
