//! A property on the device: how far each point is from a case, whether it satisfies it, and the losses to maximise.

use std::sync::Arc;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use proofmark_data::vnnlib::Case;
use proofmark_engine::{Criterion, EngineError, Focus, Loss, Truth};
use proofmark_model::Output;
use proofmark_threat::{Batch, index};

/// Violation of a padding constraint, which always holds: every case has as many constraints as the longest one.
const NEVER: f32 = -1e30;

/// The constraints of every case as tensors.
#[derive(Debug)]
pub(super) struct Property {
    cases: Vec<Case>,
    /// Shape `[cases, constraints, outputs]`.
    coefficients: Tensor<3>,
    /// Right-hand sides, rounded down: a constraint that holds in `f32` holds, up to the rounding of the sum.
    at_most: Tensor<2>,
    /// One over the largest coefficient, so that constraints of different scale weigh the same in a loss.
    scale: Tensor<2>,
    /// 1 where equality does not satisfy the constraint.
    strict: Tensor<2>,
    constraints: usize,
    outputs: usize,
}

impl Property {
    /// Returns how many numbers the constraints of `cases` take on the device.
    pub(super) fn size(cases: &[Case], outputs: usize) -> usize {
        let most = cases.iter().map(|c| c.constraints.len()).max().unwrap_or(0);
        cases.len().saturating_mul(most).saturating_mul(outputs)
    }

    pub(super) fn new(cases: &[Case], outputs: usize, device: &Device) -> Self {
        let most = cases.iter().map(|c| c.constraints.len()).max().unwrap_or(0);
        let (n, k) = (cases.len(), most.max(1));
        let mut coefficients = vec![0.0_f32; n * k * outputs];
        let (mut at_most, mut scale) = (vec![-NEVER; n * k], vec![1.0_f32; n * k]);
        let mut strict = vec![0.0_f32; n * k];
        for (c, case) in cases.iter().enumerate() {
            for (i, constraint) in case.constraints.iter().enumerate() {
                let at = c * k + i;
                for (j, a) in &constraint.terms {
                    coefficients[at * outputs + j] = *a as f32;
                }
                let rounded = constraint.at_most as f32;
                at_most[at] = if f64::from(rounded) > constraint.at_most {
                    rounded.next_down()
                } else {
                    rounded
                };
                let largest = constraint
                    .terms
                    .iter()
                    .map(|(_, a)| a.abs())
                    .fold(0.0, f64::max);
                scale[at] = largest.recip() as f32;
                strict[at] = f32::from(u8::from(constraint.strict));
            }
        }
        let matrix = |v: Vec<f32>| Tensor::<2>::from_data(TensorData::new(v, [n, k]), device);
        Self {
            cases: cases.to_vec(),
            coefficients: Tensor::from_data(TensorData::new(coefficients, [n, k, outputs]), device),
            at_most: matrix(at_most),
            scale: matrix(scale),
            strict: matrix(strict),
            constraints: k,
            outputs,
        }
    }

    /// Returns the number of constraints of the longest case, at least 1.
    pub(super) fn constraints(&self) -> usize {
        self.constraints
    }

    pub(super) fn case(&self, case: usize) -> &Case {
        &self.cases[case]
    }

    /// Returns one set of a model's scores: the first, or a surrogate's second ([`Self::has_fine`]).
    fn set(&self, scores: &Tensor<2>, second: bool) -> Tensor<2> {
        let from = if second { self.outputs } else { 0 };
        scores.clone().narrow(1, from, self.outputs)
    }

    /// Whether scores hold a second set, which tells points apart whose first set is equal.
    fn has_fine(&self, scores: &Tensor<2>) -> bool {
        scores.dims()[1] == 2 * self.outputs
    }

    /// Returns `sum a_j y_j - b` per point and constraint, `[q, constraints]`.
    fn violations(&self, scores: &Tensor<2>, cases: &Tensor<1, Int>) -> Tensor<2> {
        let coefficients = self.coefficients.clone().select(0, cases.clone());
        let sum = (coefficients * scores.clone().unsqueeze_dim::<3>(1)).sum_dim(2);
        sum.squeeze_dim::<2>(2) - self.at_most.clone().select(0, cases.clone())
    }
}

/// The rows of one run with the property they try to satisfy, indexed by sample.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) property: Arc<Property>,
    /// Case that each row tries to satisfy.
    pub(super) cases: Vec<usize>,
}

impl Rows {
    fn of(&self, focus: &Focus, device: &Device) -> Tensor<1, Int> {
        let cases: Vec<usize> = focus.sample().iter().map(|s| self.cases[*s]).collect();
        index(&cases, device)
    }

    /// Returns how far each point violates each constraint, in units of the constraint's largest coefficient.
    fn scaled(&self, scores: &Tensor<2>, focus: &Focus) -> Tensor<2> {
        let cases = self.of(focus, &scores.device().inner());
        self.property.violations(scores, &cases) * self.property.scale.clone().select(0, cases)
    }
}

/// Success: the row's case is satisfied, with the required margin.
#[derive(Debug)]
pub(super) struct Satisfied {
    pub(super) rows: Rows,
    /// Margin that every constraint must have.
    pub(super) slack: f64,
}

impl Criterion for Satisfied {
    fn met(&self, output: &Output, focus: &Focus) -> Result<Tensor<1, Bool>, EngineError> {
        let Output::Scores(scores) = output else {
            return Err(EngineError::NeedsScores);
        };
        let device = scores.device();
        let cases = self.rows.of(focus, &device);
        let property = &self.rows.property;
        let over = property.violations(&property.set(scores, false), &cases) + self.slack as f32;
        let strict = property.strict.clone().select(0, cases).greater_scalar(0.5);
        let holds = over
            .clone()
            .lower_scalar(0.0)
            .bool_or(over.equal_scalar(0.0).bool_and(strict.bool_not()));
        Ok(holds.all_dim(1).squeeze_dim::<1>(1))
    }

    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
        let property = &self.rows.property;
        let case = property.case(self.rows.cases[truth.sample]);
        // A surrogate's second set does not count.
        let scores = &scores[..property.outputs];
        scores.iter().all(|s| s.is_finite())
            && case.satisfied(scores)
            && case.margin(scores) >= self.slack
    }
}

/// How the violations of several constraints become one loss.
#[derive(Debug, Clone)]
pub(super) enum Nearness {
    /// The worst violation alone: exact, but ignores the others.
    Worst,
    /// A softmax-weighted mean: close to the worst, with some weight on those near it.
    Soft,
    /// The sum of the violated constraints, each weighted per row, `[rows, constraints]`.
    Hinges(Tensor<2>),
    /// A direction of the outputs per row, `[rows, outputs]`: unrelated to the property, it only leads somewhere else.
    Towards(Tensor<2>),
}

/// Loss that a row maximises.
#[derive(Debug, Clone)]
pub(super) struct Near {
    pub(super) rows: Rows,
    pub(super) by: Nearness,
}

/// Weight of a surrogate's second set of scores.
const FINE: f64 = 0.03;

impl Near {
    /// Returns how nearly each point's scores satisfy its case.
    pub(super) fn nearness(&self, scores: &Tensor<2>, focus: &Focus) -> Tensor<1> {
        let scores = self.rows.property.set(scores, false);
        let worst = self.rows.scaled(&scores, focus).max_dim(1).neg();
        worst.squeeze_dim::<1>(1)
    }

    /// Returns the loss by one set of scores.
    fn by_set(&self, scores: &Tensor<2>, focus: &Focus) -> Tensor<1> {
        let rows = || index(&focus.sample(), &scores.device().inner());
        let climbed = match &self.by {
            Nearness::Worst => self.rows.scaled(scores, focus).max_dim(1).neg(),
            Nearness::Soft => {
                let over = self.rows.scaled(scores, focus);
                // Weights use the values without gradient; the temperature is a tenth of the worst violation.
                let plain = over.clone().inner();
                let worst = plain.clone().max_dim(1);
                let heat = worst.clone().abs().mul_scalar(0.1).clamp_min(1e-6);
                let weight = ((plain - worst) / heat).exp();
                let weight = weight.clone() / weight.sum_dim(1);
                (over * weight).sum_dim(1).neg()
            }
            Nearness::Hinges(weights) => {
                let over = self.rows.scaled(scores, focus);
                // Beyond a constraint the hinge has no gradient; a hundredth of the violation keeps it from crossing
                // back.
                let hinge = over.clone().clamp_min(0.0) + over.clamp(-1.0, 1.0).mul_scalar(0.01);
                (hinge * weights.clone().select(0, rows())).sum_dim(1).neg()
            }
            Nearness::Towards(directions) => {
                (scores.clone() * directions.clone().select(0, rows())).sum_dim(1)
            }
        };
        climbed.squeeze_dim::<1>(1)
    }
}

impl Loss for Near {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        let property = &self.rows.property;
        let loss = self.by_set(&property.set(scores, false), focus);
        if !property.has_fine(scores) {
            return loss;
        }
        let fine = self.by_set(&property.set(scores, true), focus);
        loss + fine.mul_scalar(FINE)
    }
}
