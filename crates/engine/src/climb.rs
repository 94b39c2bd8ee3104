use burn::tensor::{Bool, Tensor};
use proofmark_threat::{Batch, Column, Columns, mask};

/// Fewest steps of an attack whose progress is followed.
const FEW: u32 = 10;

/// The last steps that progress is measured over are one in this many.
const LAST: u32 = 10;

/// Share of the range of its loss by which an attack must still rise to count as unfinished.
const RISING: f32 = 0.05;

/// How the loss of each row rose along the points at which gradients were taken, on the device.
///
/// An attack is unfinished if its loss, as the best so far and scaled to its own range, rose by more than 5 % over the
/// last steps. Source: Pintor et al., "Indicators of Attack Failure", `NeurIPS` 2022 (incomplete optimisation). They look
/// at the last ten steps of a hundred; here it is the last tenth of the steps, so that attacks with fewer steps and
/// falling step sizes are measured alike.
#[derive(Debug, Clone)]
pub(crate) struct Climb {
    /// Lowest and highest loss so far; the lowest is above the highest while there is none.
    lowest: Tensor<1>,
    highest: Tensor<1>,
    /// Highest loss before the last steps.
    before: Tensor<1>,
}

impl Climb {
    /// Creates the progress of as many rows, without a loss yet.
    pub(crate) fn new(rows: &Batch) -> Self {
        let all = |value: f32| Tensor::<1>::zeros([rows.rows()], &rows.device()).full_like(value);
        Self {
            lowest: all(f32::MAX),
            highest: all(f32::MIN),
            before: all(f32::MAX),
        }
    }

    /// Takes in the loss of each row, `[rows]`.
    pub(crate) fn add(&mut self, loss: &Tensor<1>) {
        self.lowest = self.lowest.clone().min_pair(loss.clone());
        self.highest = self.highest.clone().max_pair(loss.clone());
    }

    /// Takes in the loss of the rows where `which` is set.
    pub(crate) fn add_where(&mut self, which: &Tensor<1, Bool>, loss: Tensor<1>) {
        let low = loss.clone().mask_fill(which.clone().bool_not(), f32::MAX);
        let high = loss.mask_fill(which.clone().bool_not(), f32::MIN);
        self.lowest = self.lowest.clone().min_pair(low);
        self.highest = self.highest.clone().max_pair(high);
    }

    /// Notes the rows that begin the last of `steps` steps; `at` is the number that each has made.
    pub(crate) fn note(&mut self, at: &[u64], steps: u32) {
        if steps < FEW {
            return;
        }
        let begin = u64::from(steps - steps / LAST);
        let begins: Vec<bool> = at.iter().map(|step| *step == begin).collect();
        if begins.contains(&true) {
            let mask = mask(&begins, &self.before.device());
            self.before = self.before.clone().mask_where(mask, self.highest.clone());
        }
    }

    /// Returns, per row, 1 where the loss was still rising at the end, `[rows]`.
    pub(crate) fn is_rising(&self) -> Tensor<1> {
        let range = self.highest.clone() - self.lowest.clone();
        let last = self.highest.clone() - self.before.clone();
        // Rows without a loss, or that ended early, have a negative `last` or `range`.
        let rose = last.greater(range.clone() * RISING);
        rose.bool_and(range.greater_scalar(0.0)).float()
    }
}

impl Columns for Climb {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        vec![
            ("lowest".into(), Column::Vector(&mut self.lowest)),
            ("highest".into(), Column::Vector(&mut self.highest)),
            ("before".into(), Column::Vector(&mut self.before)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;
    use proofmark_domain::{Bounds, Kind, Modality};
    use proofmark_threat::host;

    use super::*;

    /// Whether rows with these losses, one per step, were still rising after their last step.
    fn rising(losses: [&[f32]; 3]) -> Vec<bool> {
        let device = Device::flex();
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![1],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let modalities: Arc<[Modality]> = [modality].into();
        let rows = Batch::from_host(modalities, vec![vec![0.0; 3]], &device).unwrap();
        let mut climb = Climb::new(&rows);
        let steps = losses[0].len();
        for step in 0..steps {
            let at = losses.map(|l| l[step]);
            climb.add(&Tensor::from_floats(at, &device));
            climb.note(&[step as u64 + 1; 3], steps as u32);
        }
        host(&climb.is_rising()).iter().map(|v| *v > 0.5).collect()
    }

    #[test]
    fn more_than_a_twentieth_of_the_range_in_the_last_tenth_is_rising() {
        // Twenty steps: the last two count. The range of each row is 100.
        let row = |last: f32| -> Vec<f32> {
            let mut losses: Vec<f32> = (0..18).map(|k| (k * 7 % 18) as f32 * 5.0).collect();
            losses[0] = last - 100.0;
            losses.extend([20.0, last]);
            losses
        };
        let [level, little, much] = [85.0, 89.9, 90.1].map(row);
        assert_eq!(rising([&level, &little, &much]), [false, false, true]);
    }

    #[test]
    fn a_constant_loss_and_few_steps_are_not_rising() {
        assert_eq!(rising([&[3.0; 12]; 3]), [false; 3]);
        let line: Vec<f32> = (0..9).map(|k| k as f32).collect();
        assert_eq!(rising([&line; 3]), [false; 3]);
        let line: Vec<f32> = (0..10).map(|k| k as f32).collect();
        assert_eq!(rising([&line; 3]), [true; 3]);
    }
}
