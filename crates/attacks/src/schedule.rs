//! Schedules shared by attacks.

use std::f64::consts::PI;

/// Returns what is left after `done` of `whole`, from 1 to 0 along half a cosine.
pub(crate) fn cosine(done: f64, whole: f64) -> f64 {
    f64::midpoint(1.0, (PI * done / whole).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_falls_from_one_to_zero() {
        assert_eq!([cosine(0.0, 40.0), cosine(40.0, 40.0)], [1.0, 0.0]);
        assert!((cosine(20.0, 40.0) - 0.5).abs() < 1e-15);
        assert!(cosine(4.0, 40.0) > 0.97);
    }
}
