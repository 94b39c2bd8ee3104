//! Adam on values between 0 and 1.

/// Values in `(0, 1)` that Adam maximises over (Kingma and Ba 2015; its constants but the first momentum, which is
/// given). They are logistic functions of the numbers that Adam moves.
#[derive(Debug, Clone)]
pub(super) struct Climbed {
    at: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
    momentum: f64,
}

impl Climbed {
    /// Starts all of `n` values at the logistic function of `at`.
    pub(super) fn new(n: usize, at: f64, momentum: f64) -> Self {
        Self::from(vec![at; n], momentum)
    }

    /// Starts at the logistic functions of these numbers.
    pub(super) fn from(at: Vec<f64>, momentum: f64) -> Self {
        let zeros = vec![0.0; at.len()];
        Self {
            first: zeros.clone(),
            second: zeros,
            steps: 0,
            at,
            momentum,
        }
    }

    /// Returns the values.
    pub(super) fn shares(&self) -> Vec<f32> {
        let share = |v: &f64| (1.0 / (1.0 + (-v).exp())) as f32;
        self.at.iter().map(share).collect()
    }

    /// Takes one step up `gradient`, the gradient with respect to `shares`, the values as they stand.
    pub(super) fn climb(&mut self, gradient: &[f64], shares: &[f32], rate: f64) {
        const SECOND: f64 = 0.999;
        self.steps += 1;
        let (first_bias, second_bias) = (
            1.0 - self.momentum.powi(self.steps),
            1.0 - SECOND.powi(self.steps),
        );
        for (i, share) in shares.iter().enumerate() {
            let share = f64::from(*share);
            let g = gradient[i] * share * (1.0 - share);
            self.first[i] = self.momentum * self.first[i] + (1.0 - self.momentum) * g;
            self.second[i] = SECOND * self.second[i] + (1.0 - SECOND) * g * g;
            let (first, second) = (self.first[i] / first_bias, self.second[i] / second_bias);
            // Beyond 12 a share no longer moves in f32.
            let to = self.at[i] + rate * first / (second.sqrt() + 1e-8);
            self.at[i] = to.clamp(-12.0, 12.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_as_long_as_the_rate_whatever_the_gradient() {
        for g in [1e-3, 1.0, 50.0] {
            let mut climbed = Climbed::new(2, 0.0, 0.9);
            climbed.climb(&[g, -g], &[0.5, 0.5], 0.1);
            assert!((climbed.at[0] - 0.1).abs() < 1e-5 && (climbed.at[1] + 0.1).abs() < 1e-5);
        }
    }

    #[test]
    fn momentum_persists_after_the_gradient_has_gone() {
        let mut climbed = Climbed::new(1, 0.0, 0.9);
        let shares = climbed.shares();
        climbed.climb(&[1.0], &shares, 0.1);
        let before = climbed.at[0];
        let shares = climbed.shares();
        climbed.climb(&[0.0], &shares, 0.1);
        assert!(climbed.at[0] > before + 0.05, "{} {before}", climbed.at[0]);
    }
}
