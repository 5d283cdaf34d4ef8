//! Many measures of one pair of runs: Holm's step-down correction.
//!
//! Among twenty measures of two runs that are alike one would come out below 0.05 by chance. Holm's correction (*Scandinavian
//! Journal of Statistics* 6, 1979) keeps the chance that any does below 0.05, however the measures depend on each other.

/// The p-values corrected for how many there are, in the same order: what is below a level now is clear at that level.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| ps[a].total_cmp(&ps[b]));
    let mut corrected = vec![0.0; ps.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max((ps.len() - rank) as f64 * ps[i]).min(1.0);
        corrected[i] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 0.01 × 4, 0.02 × 3, 0.03 × 2, and 0.04, which may not fall below the one before it.
    #[test]
    fn values_step_down_and_never_fall() {
        let corrected = holm(&[0.04, 0.01, 0.03, 0.02]);
        for (found, expected) in corrected.iter().zip([0.06, 0.04, 0.06, 0.06]) {
            assert!((found - expected).abs() < 1e-12, "{corrected:?}");
        }
        assert_eq!(holm(&[0.5, 0.9]), [1.0, 1.0]);
        assert_eq!(holm(&[0.03]), [0.03]);
        assert!(holm(&[]).is_empty());
    }

    /// It is never milder than no correction and never stricter than Bonferroni's.
    #[test]
    fn corrections_lie_between_none_and_bonferroni() {
        let ps = [0.001, 0.2, 0.013, 0.05, 0.6];
        for (p, corrected) in ps.iter().zip(holm(&ps)) {
            assert!(corrected >= *p && corrected <= (5.0 * p).min(1.0), "{p}: {corrected}");
        }
    }
}
