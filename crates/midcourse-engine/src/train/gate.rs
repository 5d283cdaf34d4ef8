//! The gated unit between its products, and its gradient.
//!
//! Source: Shazeer 2020.

use candle_core::Tensor;

use super::real::{Real, lend, lend_both};
use super::rows::rows;
use crate::Result;
use crate::model::config::Activation;

/// √(2/π), and the weight of the cube in the approximation of GELU (Hendrycks and Gimpel 2016).
const GELU: (f64, f64) = (0.797_884_560_802_865_4, 0.044_715);

/// Value and derivative of the activation at `x`.
///
/// Both are x · σ(z): z = x for the first, and z = 2 √(2/π) (x + 0.044715 x³) for the other, as (1 + tanh t)/2 = σ(2t).
#[inline(always)]
fn activate<T: Real>(x: T, activation: Activation) -> (T, T) {
    let (z, slope) = match activation {
        Activation::Silu => (x, T::one()),
        Activation::GeluTanh => {
            let (root, cube) = (T::of(2.0 * GELU.0), T::of(GELU.1));
            (root * (x + cube * x * x * x), root * (T::one() + T::of(3.0) * cube * x * x))
        }
    };
    let sigmoid = T::one() / (T::one() + (-z).exp());
    (x * sigmoid, sigmoid * (T::one() + x * slope * (T::one() - sigmoid)))
}

/// act(gate) ⊙ up.
///
/// # Shapes
/// `gate_up` (T, 2F), gate first; result (T, F).
pub(super) fn forward<T: Real>(gate_up: &Tensor, activation: Activation) -> Result<Tensor> {
    let (n_rows, width) = gate_up.dims2()?;
    let half = width / 2;
    lend::<T, _>(gate_up, |x| {
        rows::<T>(
            n_rows,
            half,
            #[inline(always)]
            |row, out| {
                let (gate, up) = x[row * width..][..width].split_at(half);
                for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
                    *out = activate(gate, activation).0 * up;
                }
            },
        )
    })?
}

/// The gradient for `gate_up`.
///
/// # Shapes
/// `gate_up` (T, 2F), `dy` (T, F), result (T, 2F).
pub(super) fn backward<T: Real>(gate_up: &Tensor, dy: &Tensor, activation: Activation) -> Result<Tensor> {
    let (n_rows, width) = gate_up.dims2()?;
    let half = width / 2;
    lend_both::<T, _>(gate_up, dy, |x, dy| {
        rows::<T>(
            n_rows,
            width,
            #[inline(always)]
            |row, out| {
                let (gate, up) = x[row * width..][..width].split_at(half);
                let dy = &dy[row * half..][..half];
                let (d_gate, d_up) = out.split_at_mut(half);
                for i in 0..half {
                    let (value, derivative) = activate(gate[i], activation);
                    d_gate[i] = dy[i] * up[i] * derivative;
                    d_up[i] = dy[i] * value;
                }
            },
        )
    })?
}
