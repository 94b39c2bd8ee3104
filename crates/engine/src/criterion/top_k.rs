use burn::tensor::Tensor;

use super::{Ways, kth_largest, others};
use crate::goal::two_classes;
use crate::{Criterion, EngineError, Focus, Truth, predict};

/// The label is not among the `k` classes with the highest scores; on ties lower classes come first. Targeted: the
/// target is among them.
///
/// With `k` = 1 it is misclassification. One way: the `k`th highest of the other classes against the label.
#[derive(Debug, Clone, Copy)]
pub struct TopK {
    k: usize,
    targeted: bool,
}

impl TopK {
    /// Creates the criterion; `k` is at least 1 and below the number of classes.
    pub fn new(k: usize, targeted: bool) -> Self {
        Self { k, targeted }
    }
}

/// Returns how many classes come before `class`.
fn rank(scores: &[f32], class: usize) -> usize {
    let own = scores[class];
    let before = |(other, score): (usize, &f32)| *score > own || (*score == own && other < class);
    scores.iter().enumerate().filter(|s| before(*s)).count()
}

impl Criterion for TopK {
    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
        if predict(scores).is_none() {
            return false;
        }
        match truth.target.filter(|_| self.targeted) {
            None => rank(scores, truth.label) >= self.k,
            Some(target) => rank(scores, target) < self.k,
        }
    }

    fn needs_target(&self) -> bool {
        self.targeted
    }

    fn check(&self, width: usize) -> Result<(), EngineError> {
        two_classes(width)
    }

    fn ways(&self) -> Option<&dyn Ways> {
        Some(self)
    }
}

impl Ways for TopK {
    fn count(&self, _: usize) -> usize {
        1
    }

    fn excess(&self, scores: &Tensor<2>, focus: &Focus) -> Tensor<2> {
        let behind = |class: &[usize]| {
            let own = Focus::score(scores, class).unsqueeze_dim::<2>(1);
            kth_largest(&others(scores, class), self.k) - own
        };
        match focus.target().filter(|_| self.targeted) {
            None => behind(focus.label()),
            Some(target) => behind(target).neg(),
        }
    }
}
