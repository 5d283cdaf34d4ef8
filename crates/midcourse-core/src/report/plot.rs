//! Plots as inline SVG: the curve of Corr@k, where paths turn, and one interval a row.
//!
//! Colours and sizes of text come from the page's style sheet, so that the plots follow its light and dark
//! faces; positions here leave room for the larger text of narrow screens. No text of the user is drawn.

use std::fmt::Write;

use super::each;
use super::escape::Html;
use super::figure::{Figure, count};
use crate::metrics::calibrated::CalibratedAtK;
use crate::metrics::{CorrAtK, Scores};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 340.0;
/// The plotting area.
pub(super) const LEFT: f64 = 74.0;
pub(super) const RIGHT: f64 = WIDTH - 18.0;
pub(super) const TOP: f64 = 44.0;
pub(super) const BOTTOM: f64 = HEIGHT - 66.0;

/// A line of the curve's plot.
struct Series<'a> {
    style: Style,
    name: &'a str,
    plain: Option<Figure>,
    /// By length.
    at_k: Vec<(usize, Figure)>,
}

/// How a line is drawn.
#[derive(Clone, Copy)]
enum Style {
    Harmful,
    Benign,
    /// The harmful set, corrected for the judge's error.
    Corrected,
    /// The harmful set before training.
    HarmfulBefore,
    /// The harmless set before training.
    BenignBefore,
    /// One of several runs.
    Run(usize),
}

/// A run's curve: its name, and its figures by length.
pub(super) type RunCurve<'a> = (&'a str, Vec<(usize, Figure)>);

/// Corr@k and, with a benign set, its false corrections, over 0 to 100 %.
pub(super) fn curve(scores: &Scores) -> String {
    let plain = scores.plain.as_ref().map(Figure::from);
    let seen = |at_k: &[CorrAtK]| at_k.iter().map(|at| (at.k, at.into())).collect();
    let at_k = seen(&scores.corr_at_k);
    let mut all = vec![Series { style: Style::Harmful, name: "Corr@k (harmful)", plain, at_k }];
    if let Some(benign) = &scores.benign {
        let (plain, at_k) = (benign.plain.as_ref().map(Figure::from), seen(&benign.at_k));
        let name = "false corrections (harmless)";
        all.push(Series { style: Style::Benign, name, plain, at_k });
    }
    if let Some(calibrated) = &scores.calibrated {
        let at_k = calibrated.corr_at_k.iter().map(|at: &CalibratedAtK| (at.k, at.into())).collect();
        let name = "Corr@k corrected for the judge’s error";
        all.push(Series { style: Style::Corrected, name, plain: None, at_k });
    }
    curves(("curve", "Corr@k by length of the prefix"), &length(&scores.unit), (&all, Some(222.0)))
}

/// Corr@k and false corrections of a model before and after it was trained.
pub(super) fn before_and_after(before: &Scores, after: &Scores) -> String {
    let seen = |at_k: &[CorrAtK]| at_k.iter().map(|at| (at.k, at.into())).collect();
    let harmful = |scores: &Scores, style, name| Series {
        style,
        name,
        plain: scores.plain.as_ref().map(Figure::from),
        at_k: seen(&scores.corr_at_k),
    };
    let benign = |scores: &Scores, style, name| {
        scores.benign.as_ref().map(|benign| Series {
            style,
            name,
            plain: benign.plain.as_ref().map(Figure::from),
            at_k: seen(&benign.at_k),
        })
    };
    let mut all = vec![
        harmful(after, Style::Harmful, "Corr@k, trained"),
        harmful(before, Style::HarmfulBefore, "Corr@k, base"),
    ];
    all.extend(benign(after, Style::Benign, "false turns, trained"));
    all.extend(benign(before, Style::BenignBefore, "false turns, base"));
    let title = "Corr@k by length of the prefix, before and after training";
    curves(("curve", title), &length(&after.unit), (&all, Some(262.0)))
}

/// One rate of several runs, whose names stand beside the plot: see [`swatch`].
pub(super) fn of_runs(about: (&str, &str), runs: &[RunCurve]) -> String {
    let all = runs.iter().enumerate().filter(|(_, (_, at_k))| !at_k.is_empty());
    let all: Vec<Series> = all
        .map(|(i, (name, at_k))| Series { style: Style::Run(i), name, plain: None, at_k: at_k.clone() })
        .collect();
    curves(about, "length of the prefix, k", (&all, None))
}

/// Line and mark of a run, for a list of names.
pub(super) fn swatch(run: usize) -> String {
    let style = Style::Run(run);
    format!(
        r#"<svg class="swatch {}" viewBox="0 0 30 14" aria-hidden="true"><line class="line" x1="0" x2="30" y1="7" y2="7"/>{}</svg>"#,
        class(style),
        mark(style, [15.0, 7.0], "")
    )
}

/// What lengths are counted in.
fn length(unit: &str) -> String {
    format!("length of the prefix, k ({unit})")
}

/// Lines of rates by length, under a title with an id; a legend, if any, in two columns.
fn curves((id, title): (&str, &str), lengths: &str, (all, second): (&[Series], Option<f64>)) -> String {
    let last = all.iter().flat_map(|s| &s.at_k).map(|(k, _)| *k).max().unwrap_or(1).max(1);
    let x = |k: usize| LEFT + 14.0 + (RIGHT - LEFT - 28.0) * k as f64 / last as f64;
    let mut svg = open(id, title, &described(all));
    svg += &percent_axis();
    svg += &length_axis(all, x);
    svg += &axis_title(lengths);
    match second {
        Some(second) => svg += &legend(all, second),
        // Where no legend stands there is no room for one.
        None => {
            svg =
                svg.replacen(&format!("0 0 {WIDTH} {HEIGHT}"), &format!("0 28 {WIDTH} {}", HEIGHT - 28.0), 1);
        }
    }
    svg += &each(all, |series| band(series, x));
    svg + &each(all, |series| line(series, x)) + "</svg>"
}

/// Height of a share in [0, 1].
fn y(share: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * share.clamp(0.0, 1.0)
}

pub(super) fn open(id: &str, title: &str, description: &str) -> String {
    format!(
        r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-title {id}-desc">
<title id="{id}-title">{}</title><desc id="{id}-desc">{}</desc>
"#,
        Html(title),
        Html(description)
    )
}

/// The plot in words, for those who do not see it.
fn described(all: &[Series]) -> String {
    let mut text = String::new();
    for series in all {
        let at = |(k, figure): &(usize, Figure)| format!("k = {k}: {figure}");
        let points: Vec<_> = series.at_k.iter().map(at).collect();
        let _ = write!(text, "{}: {}. ", series.name, points.join("; "));
    }
    text
}

fn percent_axis() -> String {
    let mut svg = String::new();
    for percent in [0, 20, 40, 60, 80, 100] {
        let y = y(f64::from(percent) / 100.0);
        let label = if percent == 100 { "100 %".to_owned() } else { percent.to_string() };
        svg += &grid_line(y, &label);
    }
    svg
}

pub(super) fn grid_line(y: f64, label: &str) -> String {
    let class = if y < BOTTOM { "grid" } else { "axis" };
    format!(
        r#"<line class="{class}" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}"/><text class="y" x="{:.1}" y="{y:.1}">{label}</text>
"#,
        LEFT - 8.0
    )
}

/// A tick for every length, with a label where there is room for one.
fn length_axis(all: &[Series], x: impl Fn(usize) -> f64) -> String {
    let mut lengths: Vec<_> = all.iter().flat_map(|s| s.at_k.iter().map(|(k, _)| *k)).collect();
    if all.iter().any(|s| s.plain.is_some()) {
        lengths.push(0);
    }
    lengths.sort_unstable();
    lengths.dedup();
    let (mut svg, mut free) = (String::new(), 0.0);
    for k in lengths {
        let room = 7.0 * k.to_string().len() as f64;
        let label = (x(k) - room >= free).then(|| k.to_string());
        if label.is_some() {
            free = x(k) + room;
        }
        svg += &tick(x(k), label.as_deref().unwrap_or_default());
    }
    svg
}

pub(super) fn tick(x: f64, label: &str) -> String {
    format!(
        r#"<line class="axis" x1="{x:.1}" x2="{x:.1}" y1="{BOTTOM}" y2="{}"/><text class="x" x="{x:.1}" y="{}">{label}</text>
"#,
        BOTTOM + 5.0,
        BOTTOM + 24.0
    )
}

pub(super) fn axis_title(text: &str) -> String {
    let x = f64::midpoint(LEFT, RIGHT);
    format!("<text class=\"x title\" x=\"{x:.1}\" y=\"{}\">{}</text>\n", BOTTOM + 54.0, Html(text))
}

/// Names in two columns, of which the second begins that far from the first.
fn legend(all: &[Series], second: f64) -> String {
    let mut svg = String::new();
    for (i, series) in all.iter().enumerate() {
        let (x, y) = (LEFT + second * (i % 2) as f64, 10.0 + 23.0 * (i / 2) as f64);
        let (end, text, class) = (x + 26.0, x + 34.0, class(series.style));
        let _ = writeln!(
            svg,
            r#"<g class="{class}"><line class="line" x1="{x}" x2="{end}" y1="{y}" y2="{y}"/>{}</g><text class="key" x="{text}" y="{y}">{}</text>"#,
            mark(series.style, [x + 13.0, y], ""),
            Html(series.name)
        );
    }
    svg
}

/// Runs of neighbouring lengths for which `value` is known.
fn runs<T>(at_k: &[(usize, Figure)], value: impl Fn(&Figure) -> Option<T>) -> Vec<Vec<(usize, T)>> {
    let mut runs = vec![Vec::new()];
    for (k, figure) in at_k {
        match (value(figure), runs.last_mut()) {
            (Some(value), Some(run)) => run.push((*k, value)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn band(series: &Series, x: impl Fn(usize) -> f64) -> String {
    let mut svg = String::new();
    for run in runs(&series.at_k, |figure| figure.ci) {
        let upper = run.iter().map(|(k, [_, high])| format!("{:.1},{:.1}", x(*k), y(*high)));
        let lower = run.iter().rev().map(|(k, [low, _])| format!("{:.1},{:.1}", x(*k), y(*low)));
        let points: Vec<_> = upper.chain(lower).collect();
        let class = class(series.style);
        let _ = writeln!(svg, r#"<polygon class="band {class}" points="{}"/>"#, points.join(" "));
    }
    svg
}

fn line(series: &Series, x: impl Fn(usize) -> f64) -> String {
    let mut svg = format!("<g class=\"{}\">\n", class(series.style));
    for run in runs(&series.at_k, |figure| figure.rate) {
        let points: Vec<_> = run.iter().map(|(k, rate)| format!("{:.1},{:.1}", x(*k), y(*rate))).collect();
        let _ = writeln!(svg, r#"<polyline class="line" points="{}"/>"#, points.join(" "));
    }
    for (k, figure) in &series.at_k {
        svg += &point(series.style, x(*k), *k, *figure);
    }
    if let [(k, figure)] = series.at_k.as_slice() {
        svg += &whisker(x(*k), *figure);
    }
    if let Some(plain) = series.plain {
        let x = x(0) + shift(series.style);
        svg += &(whisker(x, plain) + &point(series.style, x, 0, plain));
    }
    svg + "</g>\n"
}

/// The mark of a figure, which shows when it is pointed at.
fn point(style: Style, x: f64, k: usize, figure: Figure) -> String {
    figure
        .rate
        .map_or_else(String::new, |rate| mark(style, [x, y(rate)], &format!("k = {k}: {figure}")) + "\n")
}

/// The interval of a figure that no band shows.
fn whisker(x: f64, figure: Figure) -> String {
    let Some([low, high]) = figure.ci else { return String::new() };
    let (low, high) = (y(low), y(high));
    format!(r#"<line class="whisker" x1="{x:.1}" x2="{x:.1}" y1="{low:.1}" y2="{high:.1}"/>"#)
}

/// The mark of a line: discs for the harmful set, squares for the harmless one, four shapes for runs.
fn mark(style: Style, [x, y]: [f64; 2], title: &str) -> String {
    let title = if title.is_empty() { String::new() } else { format!("<title>{title}</title>") };
    let shape = |points: [[f64; 2]; 4]| {
        let points = points.map(|[right, down]| format!("{:.1},{:.1}", x + right, y + down));
        format!(r#"<polygon class="mark" points="{}">{title}</polygon>"#, points.join(" "))
    };
    let (left, top) = (x - 4.5, y - 4.5);
    match style {
        Style::Benign | Style::BenignBefore => {
            format!(r#"<rect class="mark" x="{left:.1}" y="{top:.1}" width="9" height="9">{title}</rect>"#)
        }
        Style::Run(i) if i % 4 == 1 => shape([[-4.5, -4.5], [4.5, -4.5], [4.5, 4.5], [-4.5, 4.5]]),
        Style::Run(i) if i % 4 == 2 => shape([[0.0, -6.0], [6.0, 4.5], [0.0, 4.5], [-6.0, 4.5]]),
        Style::Run(i) if i % 4 == 3 => shape([[0.0, -6.5], [6.5, 0.0], [0.0, 6.5], [-6.5, 0.0]]),
        Style::Harmful | Style::Corrected | Style::HarmfulBefore | Style::Run(_) => {
            format!(r#"<circle class="mark" cx="{x:.1}" cy="{y:.1}" r="5">{title}</circle>"#)
        }
    }
}

/// The line's class in the style sheet.
fn class(style: Style) -> &'static str {
    match style {
        Style::Harmful => "harmful",
        Style::Benign => "benign",
        Style::Corrected => "corrected",
        Style::HarmfulBefore => "harmful before",
        Style::BenignBefore => "benign before",
        Style::Run(i) => run_class(i),
    }
}

/// A run's class in the style sheet: six colours; with the four shapes twelve runs look different.
pub(super) fn run_class(run: usize) -> &'static str {
    ["run-0", "run-1", "run-2", "run-3", "run-4", "run-5"][run % 6]
}

/// How far aside the mark at k = 0 stands, so that two sets do not cover each other.
fn shift(style: Style) -> f64 {
    match style {
        Style::HarmfulBefore => -12.0,
        Style::Harmful | Style::Corrected => -5.0,
        Style::Benign => 5.0,
        Style::BenignBefore => 12.0,
        Style::Run(_) => 0.0,
    }
}

/// At how many tokens after the cut the corrected paths turned, as a histogram.
pub(super) fn turns(turns: &[usize], max_new_tokens: usize) -> String {
    let end = turns.iter().map(|at| at + 1).max().unwrap_or(1).max(max_new_tokens);
    let width = end.div_ceil(MAX_BARS);
    let bars = binned(turns, width, end.div_ceil(width));
    let most = bars.iter().copied().max().unwrap_or(0).max(1);
    let step = round_step(most);
    let top = most.div_ceil(step) * step;
    let title = "Where corrected paths turn, in tokens after the cut";
    let mut svg = open("turns", title, &format!("Histogram of {} paths.", count(turns.len())));
    for n in (0..=top).step_by(step) {
        svg += &grid_line(y(n as f64 / top as f64), &count(n));
    }
    let slot = (RIGHT - LEFT) / bars.len() as f64;
    for (i, n) in bars.iter().enumerate() {
        svg += &bar(LEFT + slot * i as f64, slot, *n as f64 / top as f64, &bar_title(i * width, width, *n));
    }
    let label_every = round_step(end).div_ceil(width);
    for i in (0..bars.len()).step_by(label_every.max(1)) {
        svg += &tick(LEFT + slot * (i as f64 + 0.5), &(i * width).to_string());
    }
    let _ = writeln!(svg, r#"<text class="key" x="{LEFT}" y="16">corrected paths</text>"#);
    svg + &axis_title("tokens after the cut before the turn begins") + "</svg>"
}

const MAX_BARS: usize = 40;

fn binned(turns: &[usize], width: usize, n_bars: usize) -> Vec<usize> {
    let mut bars = vec![0; n_bars];
    for at in turns {
        bars[at / width] += 1;
    }
    bars
}

/// A round step that takes at most five steps to `most`.
pub(super) fn round_step(most: usize) -> usize {
    let steps =
        (0..).flat_map(|e| [1, 2, 5].map(|digit: usize| digit.saturating_mul(10_usize.saturating_pow(e))));
    steps.into_iter().find(|step| most <= step.saturating_mul(5)).unwrap_or(most)
}

fn bar(x: f64, slot: f64, share: f64, title: &str) -> String {
    let (gap, top) = (slot.min(10.0) * 0.1, y(share));
    format!(
        r#"<rect class="bar" x="{:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"><title>{title}</title></rect>
"#,
        x + gap,
        slot - 2.0 * gap,
        BOTTOM - top
    )
}

fn bar_title(from: usize, width: usize, n: usize) -> String {
    match width {
        1 => format!("token {from}: {}", count(n)),
        _ => format!("tokens {from} to {}: {}", from + width - 1, count(n)),
    }
}

/// A rate and its interval on a line from 0 to 100 %; as wide as the place it stands in.
pub(super) fn interval(figure: Figure) -> String {
    strip(&[0, 50, 100], &interval_marks(figure))
}

/// The whisker and the disc of a rate, on a strip.
pub(super) fn interval_marks(figure: Figure) -> String {
    let at = |share: f64| 100.0 * share.clamp(0.0, 1.0);
    let mut svg = String::new();
    if let Some([low, high]) = figure.ci {
        let (low, high) = (at(low), at(high));
        let _ = write!(svg, r#"<line class="whisker" x1="{low:.1}%" x2="{high:.1}%" y1="50%" y2="50%"/>"#);
    }
    if let Some(rate) = figure.rate {
        let _ = write!(svg, r#"<circle class="mark" cx="{:.1}%" cy="50%" r="5"/>"#, at(rate));
    }
    svg
}

/// A small plot in a row of a table, as wide as its place, with lines at some percents of that.
pub(super) fn strip(lines: &[usize], marks: &str) -> String {
    let line = |percent| format!(r#"<line class="grid" x1="{percent}%" x2="{percent}%" y1="0" y2="100%"/>"#);
    format!(r#"<svg class="interval" aria-hidden="true">{}{marks}</svg>"#, each(lines, line))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_rate_stands_at_its_height() {
        let mut scores = fixture::scores();
        scores.corr_at_k.truncate(1);
        scores.corr_at_k[0].rate = Some(0.5);
        let middle = f64::midpoint(TOP, BOTTOM);
        assert!(curve(&scores).contains(&format!(r#"cy="{middle:.1}""#)));
    }

    #[test]
    fn a_length_without_rate_parts_the_line() {
        let mut scores = fixture::scores();
        assert_eq!(curve(&scores).matches("<polyline").count(), 2);
        scores.corr_at_k[3].rate = None;
        scores.corr_at_k[3].ci = None;
        assert_eq!(curve(&scores).matches("<polyline").count(), 3);
        assert_eq!(curve(&scores).matches("<polygon").count(), 3);
    }

    #[test]
    fn every_turn_is_in_a_bar() {
        for turns in [&[][..], &[0], &[0, 0, 31, 700]] {
            let svg = super::turns(turns, 32);
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN"));
        }
        assert_eq!(binned(&[0, 1, 1, 9], 2, 5), [3, 0, 0, 0, 1]);
        assert_eq!([1, 5, 6, 11, 32, 6_400].map(round_step), [1, 1, 2, 5, 10, 2_000]);
    }

    #[test]
    fn an_interval_is_drawn_in_percent_of_its_place() {
        let svg = interval(Figure { rate: Some(0.125), ci: Some([0.081, 0.179]) });
        assert!(svg.contains(r#"x1="8.1%" x2="17.9%""#) && svg.contains(r#"cx="12.5%""#));
        assert!(!interval(Figure { rate: None, ci: None }).contains("circle"));
    }
}
