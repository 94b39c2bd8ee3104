//! Rival classes: the class that each restart of a minimum-norm attack heads for.

use burn::tensor::Tensor;
use proofmark_engine::{EngineError, Focus, Loss, Oracle, Rows};
use proofmark_model::{Gradient, GradientModel};
use proofmark_threat::{Batch, host};

use super::nth_other;
use crate::loss::Margin;

/// The classes that the restarts head for, the likeliest first; none if the loss picks the strongest class anew at
/// every point.
///
/// The margin over all other classes leads to one boundary close by. The smallest change is behind one of several, so
/// one restart per class comes closer to it, at the cost of that many runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rivals {
    count: u32,
}

impl Rivals {
    /// Creates at most `targets` rivals among `classes`; none for a run whose target class the user chose.
    pub(super) fn new(targets: u32, classes: usize, is_targeted: bool) -> Self {
        let others = (classes as u32).saturating_sub(1);
        Self {
            count: if is_targeted { 0 } else { targets.min(others) },
        }
    }

    /// Returns the number of restarts: one per rival.
    pub(super) fn restarts(self) -> u32 {
        self.count.max(1)
    }

    /// Returns each row's rival, by the clean scores and the row's restart; one forward per row if there are rivals.
    pub(super) fn choose<M: GradientModel + ?Sized>(
        self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
    ) -> Result<Vec<u64>, EngineError> {
        if self.count == 0 {
            return Ok(vec![0; rows.len()]);
        }
        let clean = rows.request(&rows.region().x0());
        let classes = oracle.classes();
        let scores = host(&oracle.scores(rows, clean)?);
        let focus = rows.focus();
        Ok((scores.chunks(classes).zip(focus.label()))
            .zip(rows.restarts())
            .map(|((scores, label), restart)| nth_other(scores, *label, *restart as usize) as u64)
            .collect())
    }

    /// Returns scores, loss and gradient at one point per row. With rivals the loss is [`Lead`], otherwise `loss`. Points
    /// are kept as results only if `watch` is set.
    pub(super) fn gradient<M: GradientModel + ?Sized>(
        self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        x: &Batch,
        rival: &[u64],
        loss: &dyn Loss,
        watch: bool,
    ) -> Result<Gradient, EngineError> {
        let mut request = rows.request(x);
        if !watch {
            request = request.unwatched();
        }
        if self.count == 0 {
            return oracle.gradient_of(rows, request, loss);
        }
        oracle.gradient_of(rows, request.towards(classes(rival)), &Lead)
    }

    /// Returns the margin of each point, `[rows]`: above 0 the row has reached its rival, or any class that succeeds.
    pub(super) fn margin(
        self,
        rows: &Rows,
        scores: &Tensor<2>,
        x: &Batch,
        rival: &[u64],
    ) -> Tensor<1> {
        if self.count == 0 {
            Margin.per_sample(scores, x, &rows.focus())
        } else {
            let request = rows.request(x).towards(classes(rival));
            Lead.per_sample(scores, x, &rows.focus_of(&request))
        }
    }
}

fn classes(rival: &[u64]) -> Vec<usize> {
    rival.iter().map(|c| *c as usize).collect()
}

/// The lead of the rival over the label, `z_t − z_y`. Other classes do not matter: if one of them is ahead of both, the
/// point succeeds all the same.
#[derive(Debug, Clone, Copy)]
struct Lead;

impl Loss for Lead {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        let rival = focus.target().unwrap_or(focus.label());
        Focus::score(scores, rival) - Focus::score(scores, focus.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_most_as_many_rivals_as_other_classes() {
        let restarts = |targets, classes, goal| Rivals::new(targets, classes, goal).restarts();
        assert_eq!(restarts(0, 10, false), 1);
        assert_eq!(restarts(9, 10, false), 9);
        assert_eq!(restarts(9, 3, false), 2);
        assert_eq!(restarts(9, 2, false), 1);
        assert_eq!(restarts(9, 10, true), 1);
    }
}
