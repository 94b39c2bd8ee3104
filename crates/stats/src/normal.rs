//! The normal distribution's tail and its inverse.

use std::f64::consts::SQRT_2;

use statrs::function::erf::{erfc, erfc_inv};

/// Returns the probability that a standard normal variable exceeds `z`.
pub fn normal_tail(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}

/// Returns the `z` at which both tails of a standard normal variable together have probability `1 - level`: 1.96 at
/// 0.95.
pub fn normal_critical(level: f64) -> f64 {
    SQRT_2 * erfc_inv(1.0 - level)
}

/// Returns the density of the standard normal distribution.
pub(crate) fn density(z: f64) -> f64 {
    const ROOT: f64 = 0.398_942_280_401_432_7;
    ROOT * (-0.5 * z * z).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_values() {
        for (level, z) in [(0.95, 1.959_963_984_540_054), (0.99, 2.575_829_303_548_901)] {
            assert!((normal_critical(level) - z).abs() < 1e-12);
            assert!((2.0 * normal_tail(z) - (1.0 - level)).abs() < 1e-10);
        }
        // Abramowitz and Stegun, table 26.2: -log10 Q(8) = 15.20614.
        assert!((normal_tail(8.0).log10() + 15.206_14).abs() < 1e-5);
    }
}
