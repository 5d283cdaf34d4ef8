//! A small curve with its band, drawn with Braille characters: two by four dots a cell.
//!
//! The band is drawn with every other dot and gives way to the curve within a cell. Where a length has no
//! rate the curve has a gap.

use super::figure::Figure;

/// Rows of cells.
const ROWS: usize = 10;

/// A drawing, as cells from the top row down.
pub(super) struct Curve {
    /// `ROWS` rows of cells.
    pub(super) rows: Vec<Vec<Cell>>,
    /// Column of each length.
    pub(super) columns: Vec<usize>,
}

/// A cell of the drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// Nothing.
    Empty,
    /// A part of the band alone.
    Band(char),
    /// A part of the curve.
    Line(char),
}

/// Draws rates from 0 to `top` over the lengths `at` (ascending) into `n_columns` columns of cells.
pub(super) fn curve(at: &[(usize, Figure)], top: f64, n_columns: usize) -> Curve {
    let n_columns = n_columns.max(1);
    let n_dots = 2 * n_columns;
    let last = at.last().map_or(1, |(k, _)| (*k).max(1));
    let dot = |k: usize| k * (n_dots - 1) / last;
    let mut canvas =
        Canvas { top, line: vec![vec![0; n_columns]; ROWS], band: vec![vec![0; n_columns]; ROWS] };
    for (k, figure) in at {
        canvas.column(dot(*k), *figure, figure.rate);
    }
    for pair in at.windows(2) {
        canvas.segment([dot(pair[0].0), dot(pair[1].0)], [pair[0].1, pair[1].1]);
    }
    Curve { rows: canvas.cells(), columns: at.iter().map(|(k, _)| dot(*k) / 2).collect() }
}

struct Canvas {
    top: f64,
    line: Vec<Vec<u8>>,
    band: Vec<Vec<u8>>,
}

impl Canvas {
    /// Draws from one length to the next.
    fn segment(&mut self, [from, to]: [usize; 2], [a, b]: [Figure; 2]) {
        let mut before = a.rate;
        for x in from..=to {
            let t = (x - from) as f64 / (to - from).max(1) as f64;
            let here = between(a, b, t);
            self.column(x, here, before);
            before = here.rate;
        }
    }

    /// Draws one column of dots: the band, and the curve from where it was `before`.
    fn column(&mut self, x: usize, here: Figure, before: Option<f64>) {
        if let Some([low, high]) = here.ci {
            let dots = (self.height(low)..=self.height(high)).filter(|y| (x + y).is_multiple_of(2));
            dots.for_each(|y| set(&mut self.band, x, y));
        }
        if let (Some(rate), Some(before)) = (here.rate, before) {
            let (y, y_before) = (self.height(rate), self.height(before));
            let start = if y_before < y { y_before + 1 } else { (y_before.max(1) - 1).max(y) };
            (start.min(y)..=start.max(y)).for_each(|y| set(&mut self.line, x, y));
        }
    }

    /// Dots above the bottom.
    fn height(&self, share: f64) -> usize {
        ((share / self.top).clamp(0.0, 1.0) * (4 * ROWS - 1) as f64).round() as usize
    }

    fn cells(&self) -> Vec<Vec<Cell>> {
        let cell = |(line, band): (&u8, &u8)| match (*line, *band) {
            (0, 0) => Cell::Empty,
            (0, dots) => Cell::Band(braille(dots)),
            (dots, _) => Cell::Line(braille(dots)),
        };
        let rows = self.line.iter().zip(&self.band);
        rows.map(|(line, band)| line.iter().zip(band).map(cell).collect()).collect()
    }
}

fn between(a: Figure, b: Figure, t: f64) -> Figure {
    let mix = |a: f64, b: f64| a + (b - a) * t;
    Figure {
        rate: a.rate.zip(b.rate).map(|(a, b)| mix(a, b)),
        ci: a.ci.zip(b.ci).map(|(a, b)| [mix(a[0], b[0]), mix(a[1], b[1])]),
    }
}

fn set(layer: &mut [Vec<u8>], x: usize, y: usize) {
    /// Bits of a cell's dots, from the bottom up, left and right.
    const BITS: [[u8; 2]; 4] = [[0x40, 0x80], [0x04, 0x20], [0x02, 0x10], [0x01, 0x08]];
    layer[ROWS - 1 - y / 4][x / 2] |= BITS[y % 4][x % 2];
}

fn braille(dots: u8) -> char {
    char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(rate: Option<f64>) -> Figure {
        Figure { rate, ci: rate.map(|r| [r, r]) }
    }

    fn line(curve: &Curve, row: usize) -> String {
        let seen = |cell: &Cell| if let Cell::Line(c) = cell { *c } else { ' ' };
        curve.rows[row].iter().map(seen).collect()
    }

    #[test]
    fn a_flat_curve_fills_one_row() {
        let drawn = curve(&[(1, figure(Some(0.2))), (8, figure(Some(0.2)))], 0.2, 4);
        assert_eq!(line(&drawn, 0), "⠉⠉⠉⠉");
        assert!((1..ROWS).all(|row| line(&drawn, row).trim().is_empty()));
        assert_eq!(drawn.columns, [0, 3]);
    }

    #[test]
    fn a_length_without_rate_is_a_gap() {
        let zero = figure(Some(0.0));
        let drawn = curve(&[(1, zero), (4, zero), (5, figure(None)), (8, zero)], 1.0, 8);
        assert_eq!(line(&drawn, ROWS - 1).trim_end(), "⢀⣀⣀⣀   ⢀");
    }

    #[test]
    fn any_width_and_any_rate_are_drawn() {
        for n_columns in 0..20 {
            let at = [(0, figure(Some(-1.0))), (3, figure(Some(f64::NAN))), (900, figure(Some(7.0)))];
            assert_eq!(curve(&at, 1.0, n_columns).rows.len(), ROWS);
            assert!(curve(&[], 1.0, n_columns).columns.is_empty());
        }
    }
}
