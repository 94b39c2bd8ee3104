use burn::tensor::Tensor;
use proofmark_domain::Observation;
use proofmark_threat::host;

use crate::Rows;

/// Marks set by the oracle, read back in one transfer.
pub(super) struct Flags {
    pub(super) found: Vec<bool>,
    pub(super) invalid: Vec<bool>,
    by_gradient: Vec<bool>,
    /// Whether at least half of the gradients were exactly zero.
    pub(super) zero: Vec<bool>,
    /// Whether the loss was still rising over the last steps.
    pub(super) rising: Vec<bool>,
}

impl Flags {
    pub(super) fn read(rows: &Rows) -> Self {
        let w = &rows.watch;
        let mut columns = [&w.found, &w.invalid, &w.zero, &w.gradients]
            .map(Clone::clone)
            .to_vec();
        columns.push(w.climb.is_rising());
        let all = host(&Tensor::stack::<2>(columns, 0));
        let n = rows.len();
        let [found, invalid, zero, gradients, rising] =
            [0, 1, 2, 3, 4].map(|c| &all[c * n..(c + 1) * n]);
        Self {
            found: found.iter().map(|v| *v > 0.5).collect(),
            invalid: invalid.iter().map(|v| *v > 0.5).collect(),
            by_gradient: invalid.iter().map(|v| *v > 1.5).collect(),
            zero: zero
                .iter()
                .zip(gradients)
                .map(|(z, g)| *g > 0.0 && 2.0 * z >= *g)
                .collect(),
            rising: rising.iter().map(|v| *v > 0.5).collect(),
        }
    }

    /// Returns the observation for row `i` if its scores or a gradient were not finite.
    pub(super) fn invalid(&self, i: usize) -> Option<Observation> {
        let what = if self.by_gradient[i] {
            Observation::NonFiniteGradient
        } else {
            Observation::NonFiniteScores
        };
        self.invalid[i].then_some(what)
    }
}
