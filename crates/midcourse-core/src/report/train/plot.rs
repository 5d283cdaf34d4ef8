//! Figures by step as lines: the loss on a scale of its own, shares from 0 to 100 %.

use std::fmt::Write;

use super::super::each;
use super::super::escape::Html;
use super::super::plot::{BOTTOM, LEFT, RIGHT, TOP, axis_title, grid_line, open, round_step, tick};

/// A line by step.
pub(super) struct Line {
    pub name: &'static str,
    /// In the style sheet.
    pub class: &'static str,
    /// Step and value; where nothing was measured there is no point.
    pub points: Vec<(usize, f64)>,
}

/// The scale of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From 0 to 100 %.
    Shares,
    /// From 0 to the largest.
    Numbers,
}

/// Lines by step; nothing when no line has a point.
pub(super) fn by_step((id, title): (&str, &str), scale: Scale, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let Some(last) = points().map(|(step, _)| *step).max() else { return String::new() };
    let most = points().map(|(_, value)| *value).fold(0.0, f64::max);
    let (top, values) = match scale {
        Scale::Shares => (1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].to_vec()),
        Scale::Numbers => numbers(most),
    };
    let x = |step: usize| LEFT + (RIGHT - LEFT) * step as f64 / last.max(1) as f64;
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value / top).clamp(0.0, 1.0);
    let mut svg = open(id, title, &described(lines));
    for value in values {
        svg += &grid_line(y(value), &label(scale, value));
    }
    for step in (0..=last).step_by(round_step(last)) {
        svg += &tick(x(step), &step.to_string());
    }
    svg += &axis_title("step");
    svg += &each(lines.iter().enumerate(), |(i, line)| legend(i, line));
    svg + &each(lines, |line| drawn(line, &x, &y)) + "</svg>\n"
}

/// The top of a scale for numbers up to `most`, and what stands at its lines.
fn numbers(most: f64) -> (f64, Vec<f64>) {
    let most = if most > 0.0 && most.is_finite() { most } else { 1.0 };
    let power = 10f64.powf(most.log10().floor() - 1.0);
    let step = power * round_step((most / power).ceil() as usize) as f64;
    let n_steps = (most / step).ceil() as usize;
    (step * n_steps as f64, (0..=n_steps).map(|i| step * i as f64).collect())
}

fn label(scale: Scale, value: f64) -> String {
    match scale {
        Scale::Shares if value >= 1.0 => "100 %".into(),
        Scale::Shares => format!("{:.0}", 100.0 * value),
        Scale::Numbers if value >= 10.0 => format!("{value:.0}"),
        Scale::Numbers => format!("{value:.2}"),
    }
}

/// First and last value of every line, for those who do not see the plot.
fn described(lines: &[Line]) -> String {
    each(lines, |line| match line.points.as_slice() {
        [(first, from), .., (last, to)] => {
            format!("{}: {from:.3} at step {first}, {to:.3} at step {last}. ", line.name)
        }
        [(step, value)] => format!("{}: {value:.3} at step {step}. ", line.name),
        [] => String::new(),
    })
}

fn legend(i: usize, line: &Line) -> String {
    let (x, y) = (LEFT + 262.0 * (i % 2) as f64, 10.0 + 23.0 * (i / 2) as f64);
    format!(
        "<g class=\"{}\"><line class=\"line\" x1=\"{x}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/></g><text class=\"key\" x=\"{}\" y=\"{y}\">{}</text>\n",
        line.class,
        x + 26.0,
        x + 34.0,
        Html(line.name)
    )
}

fn drawn(line: &Line, x: &impl Fn(usize) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let mut points = String::new();
    for (step, value) in &line.points {
        let _ = write!(points, "{:.1},{:.1} ", x(*step), y(*value));
    }
    match line.points.as_slice() {
        [] => String::new(),
        [(step, value)] => {
            let (x, y) = (x(*step), y(*value));
            format!(
                "<g class=\"{}\"><circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/></g>\n",
                line.class
            )
        }
        _ => format!(
            "<g class=\"{}\"><polyline class=\"line\" points=\"{}\"/></g>\n",
            line.class,
            points.trim_end()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_hold_every_value() {
        for most in [0.000_31, 0.69, 1.0, 3.4, 25.0, 980.0, 0.0, f64::INFINITY] {
            let (top, lines) = numbers(most);
            assert!(most.is_infinite() || top >= most, "{most}: {top}");
            assert!((2..=7).contains(&lines.len()) && lines[0] == 0.0, "{most}: {lines:?}");
        }
    }

    #[test]
    fn a_line_goes_from_its_first_step_to_its_last() {
        let line = |points| Line { name: "loss", class: "harmful", points };
        let svg = by_step(("loss", "Loss"), Scale::Numbers, &[line(vec![(0, 1.0), (10, 0.5)])]);
        assert!(svg.contains(&format!("points=\"{LEFT:.1},{TOP:.1} {RIGHT:.1},")), "{svg}");
        assert_eq!(by_step(("loss", "Loss"), Scale::Numbers, &[line(Vec::new())]), "");
    }
}
