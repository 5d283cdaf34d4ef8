//! The rotary embedding: which angle every pair of a head's values is turned by at a position.
//!
//! Source: Su et al. 2021, in the half-split layout of transformers' `rotate_half`; the scalings as in
//! transformers' `modeling_rope_utils.py`.

/// A rotary embedding as a model describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Base of the wavelengths.
    pub base: f64,
    /// Values of a head that are turned, from its start; an even number.
    pub dims: usize,
    /// How the wavelengths are stretched for contexts longer than the first.
    pub scaling: Scaling,
}

/// How wavelengths are stretched.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// All by one factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// By a base that grows with the conversation once it is longer than the context.
    Dynamic {
        /// How fast the base grows.
        factor: f64,
        /// Tokens up to which the base stays.
        context: f64,
    },
    /// Long ones by a factor, short ones not, those between partly; Llama 3.1.
    Llama3 {
        /// For the long ones.
        factor: f64,
        /// Wavelengths above `original / low` are long.
        low: f64,
        /// Wavelengths below `original / high` are short.
        high: f64,
        /// Tokens of the first context.
        original: f64,
    },
    /// As `Llama3` with other borders, and cosine and sine scaled; Peng et al. 2023.
    Yarn {
        /// For the long ones.
        factor: f64,
        /// Turns within the first context above which a pair is left alone.
        beta_fast: f64,
        /// Turns within the first context below which a pair is stretched whole.
        beta_slow: f64,
        /// Whether the borders are whole pairs.
        truncate: bool,
        /// Tokens of the first context.
        original: f64,
        /// Of cosine and sine.
        attention_factor: f64,
    },
    /// Each by a factor of its own, of which there are two lists; Ding et al. 2024.
    LongRope {
        /// For conversations within the first context; one factor a pair.
        short: Vec<f64>,
        /// For longer ones.
        long: Vec<f64>,
        /// Tokens of the first context.
        original: f64,
        /// Of cosine and sine.
        attention_factor: f64,
    },
    /// Each by a factor of its own, as GGUF files of Llama 3.1 hold them.
    Each {
        /// One factor a pair.
        factors: Vec<f64>,
    },
}

/// What a rotary embedding is for one conversation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frequencies {
    /// Radians a position, for every pair.
    values: Vec<f32>,
    /// Scales cosine and sine.
    attention_factor: f32,
}

impl Frequencies {
    /// Cosine and sine of every pair at `position`.
    pub(crate) fn angles(&self, position: usize) -> impl Iterator<Item = (f32, f32)> {
        self.values.iter().map(move |frequency| {
            let (sin, cos) = (position as f32 * frequency).sin_cos();
            (cos * self.attention_factor, sin * self.attention_factor)
        })
    }
}

impl Rotary {
    /// The embedding for a conversation that may grow to `longest` tokens.
    pub(crate) fn frequencies(&self, longest: usize) -> Frequencies {
        let longest = longest as f64;
        let plain = |base: f64| {
            let exponent = move |pair: usize| 2.0 * pair as f64 / self.dims as f64;
            (0..self.dims / 2).map(move |pair| base.powf(-exponent(pair)))
        };
        let divided = |factors: &[f64]| plain(self.base).zip(factors).map(|(f, factor)| f / factor).collect();
        let (values, attention_factor): (Vec<f64>, f64) = match &self.scaling {
            Scaling::None => (plain(self.base).collect(), 1.0),
            Scaling::Linear { factor } => (plain(self.base).map(|f| f / factor).collect(), 1.0),
            Scaling::Dynamic { factor, context } => {
                let growth = factor * longest.max(*context) / context - (factor - 1.0);
                let base = self.base * growth.powf(self.dims as f64 / (self.dims as f64 - 2.0));
                (plain(base).collect(), 1.0)
            }
            Scaling::Llama3 { factor, low, high, original } => {
                let stretched = |frequency: f64| {
                    let turns = original * frequency / std::f64::consts::TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - kept) * frequency / factor + kept * frequency
                };
                (plain(self.base).map(stretched).collect(), 1.0)
            }
            Scaling::Yarn { factor, attention_factor, .. } => {
                let kept = self.yarn_kept();
                let stretched = |(frequency, kept)| (1.0 - kept) * frequency / factor + kept * frequency;
                (plain(self.base).zip(kept).map(stretched).collect(), *attention_factor)
            }
            Scaling::LongRope { short, long, original, attention_factor } => {
                (divided(if longest > *original { long } else { short }), *attention_factor)
            }
            Scaling::Each { factors } => (divided(factors), 1.0),
        };
        Frequencies {
            values: values.into_iter().map(|value| value as f32).collect(),
            attention_factor: attention_factor as f32,
        }
    }

    /// For every pair, how much of its frequency `YaRN` keeps.
    fn yarn_kept(&self) -> Vec<f64> {
        let Scaling::Yarn { beta_fast, beta_slow, truncate, original, .. } = self.scaling else {
            return Vec::new();
        };
        let dims = self.dims as f64;
        // The pair that turns this often within the first context.
        let pair =
            |turns: f64| dims * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * self.base.ln());
        let (mut first, mut last) = (pair(beta_fast), pair(beta_slow));
        if truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        let (first, mut last) = (first.max(0.0), last.min(dims - 1.0));
        // Borders that fall together would divide by zero.
        last = last.max(first + 0.001);
        (0..self.dims / 2)
            .map(|pair| 1.0 - ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0))
            .collect()
    }

    /// The field that makes no sense, and why.
    pub(super) fn check(&self, head_dim: usize) -> Result<(), (&'static str, String)> {
        let above = |field, value: f64, least: f64| {
            let problem = || (field, format!("expected a number above {least}, found {value}"));
            if value.is_finite() && value > least { Ok(()) } else { Err(problem()) }
        };
        above("rope_theta", self.base, 1.0)?;
        if self.dims == 0 || self.dims > head_dim || !self.dims.is_multiple_of(2) {
            let problem =
                format!("expected an even number of 2 to {head_dim} rotated values, found {}", self.dims);
            return Err(("head_dim", problem));
        }
        let list = |field, factors: &[f64]| {
            if factors.len() != self.dims / 2 {
                let problem = format!("expected {} factors, found {}", self.dims / 2, factors.len());
                return Err((field, problem));
            }
            factors.iter().try_for_each(|factor| above(field, *factor, 0.0))
        };
        match &self.scaling {
            Scaling::None => Ok(()),
            Scaling::Linear { factor } => above("factor", *factor, 0.0),
            Scaling::Dynamic { factor, context } => {
                above("head_dim", self.dims as f64, 2.0)?;
                above("factor", *factor, 0.0)?;
                above("max_position_embeddings", *context, 0.0)
            }
            Scaling::Llama3 { factor, low, high, original } => {
                above("factor", *factor, 0.0)?;
                above("low_freq_factor", *low, 0.0)?;
                above("high_freq_factor", *high, *low)?;
                above("original_max_position_embeddings", *original, 0.0)
            }
            Scaling::Yarn { factor, beta_fast, beta_slow, original, attention_factor, .. } => {
                above("factor", *factor, 0.0)?;
                above("beta_slow", *beta_slow, 0.0)?;
                above("beta_fast", *beta_fast, *beta_slow)?;
                above("original_max_position_embeddings", *original, 0.0)?;
                above("attention_factor", *attention_factor, 0.0)
            }
            Scaling::LongRope { short, long, original, attention_factor } => {
                list("short_factor", short)?;
                list("long_factor", long)?;
                above("original_max_position_embeddings", *original, 1.0)?;
                above("attention_factor", *attention_factor, 0.0)
            }
            Scaling::Each { factors } => list("rope_freqs.weight", factors),
        }
    }
}

/// Turns the first `2 · angles` values of `x`, a half against the other, and scales all of them.
#[inline(always)]
pub(crate) fn rotate(x: &[f32], angles: &[(f32, f32)], scale: f32, out: &mut [f32]) {
    let half = angles.len();
    let (turned, rest) = x.split_at(2 * half);
    let (low, high) = turned.split_at(half);
    let (out_turned, out_rest) = out.split_at_mut(2 * half);
    let (out_low, out_high) = out_turned.split_at_mut(half);
    for (i, &(cos, sin)) in angles.iter().enumerate() {
        out_low[i] = (low[i] * cos - high[i] * sin) * scale;
        out_high[i] = (high[i] * cos + low[i] * sin) * scale;
    }
    for (out, &x) in out_rest.iter_mut().zip(rest) {
        *out = x * scale;
    }
}

/// The attention factor that `YaRN` and `LongRope` derive where a model gives none.
pub(super) fn yarn_attention_factor(factor: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 }
}

/// See [`yarn_attention_factor`].
pub(super) fn longrope_attention_factor(factor: f64, original: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(scaling: Scaling, longest: usize) -> Vec<f32> {
        Rotary { base: 10_000.0, dims: 8, scaling }.frequencies(longest).values
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        let most = found.iter().zip(expected).map(|(a, b)| ((a - b) / b).abs()).fold(0.0, f32::max);
        assert!(found.len() == expected.len() && most < 1e-6, "{found:?} is not {expected:?}");
    }

    #[test]
    fn long_factors_are_chosen_by_the_planned_length() {
        let scaling = Scaling::LongRope {
            short: vec![1.0, 1.0, 2.0, 4.0],
            long: vec![8.0; 4],
            original: 32.0,
            attention_factor: 1.5,
        };
        assert_close(&values(scaling.clone(), 32), &[1.0, 0.1, 0.005, 0.000_25]);
        assert_close(&values(scaling, 33), &[0.125, 0.0125, 0.001_25, 0.000_125]);
    }

    #[test]
    fn a_dynamic_base_stays_within_the_context() {
        let scaling = Scaling::Dynamic { factor: 2.0, context: 32.0 };
        assert_eq!(values(scaling.clone(), 5), values(Scaling::None, 5));
        // base · (2 · 64 / 32 − 1)^(8 / 6) = 10,000 · 4.3267…
        assert_close(&values(scaling, 64)[1..2], &[43_267.49f32.powf(-0.25)]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let check = |base, dims, scaling| Rotary { base, dims, scaling }.check(8).unwrap_err().0;
        assert_eq!(check(1.0, 8, Scaling::None), "rope_theta");
        assert_eq!(check(1e4, 7, Scaling::None), "head_dim");
        assert_eq!(check(1e4, 10, Scaling::None), "head_dim");
        assert_eq!(check(1e4, 8, Scaling::Linear { factor: f64::NAN }), "factor");
        assert_eq!(check(1e4, 8, Scaling::Each { factors: vec![1.0; 3] }), "rope_freqs.weight");
        let llama3 = Scaling::Llama3 { factor: 8.0, low: 4.0, high: 1.0, original: 8192.0 };
        assert_eq!(check(1e4, 8, llama3), "high_freq_factor");
    }

    #[test]
    fn what_is_not_turned_passes() {
        let mut out = [0.0; 4];
        rotate(&[1.0, 2.0, 3.0, 4.0], &[(0.0, 1.0)], 2.0, &mut out);
        assert_close(&out, &[-4.0, 2.0, 6.0, 8.0]);
    }
}
