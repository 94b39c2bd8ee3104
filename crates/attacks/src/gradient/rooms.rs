//! Lengths of a row for attacks that move features freely inside the box: how far each feature may move, and the unit in
//! which steps are measured.

use burn::tensor::Tensor;
use proofmark_engine::Rows;
use proofmark_threat::{Batch, Region, host};

/// Beyond any bound; not the largest `f32`, so that adding a sample's value does not overflow.
const BEYOND: f32 = 1e37;

/// Estimated distances to the boundary below this share of the range shorten the steps.
const NEAR: f64 = 0.1;

/// The shortest unit of steps, as a share of the range.
const SHORTEST: f64 = 1e-3;

/// How far each feature may move up and down from the clean sample; 0 if it may not change.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    pub(super) up: Batch,
    pub(super) down: Batch,
}

impl Rooms {
    pub(super) fn of(region: &Region) -> Self {
        let x0 = region.x0();
        let high = region.clip(&x0.map(|b| b.full_like(BEYOND)));
        let low = region.clip(&x0.map(|b| b.full_like(-BEYOND)));
        Self {
            up: high.zip(&x0, |high, x0| high - x0),
            down: x0.zip(&low, |x0, low| x0 - low),
        }
    }

    /// Returns the root mean square range of the features that may change, per row, data units; 1 if none may.
    pub(super) fn range(&self) -> Vec<f64> {
        let range = self.up.zip(&self.down, |up, down| up + down);
        let squares = host(&range.sum_of(Tensor::<2>::square));
        let features = host(&range.sum_of(|r| r.greater_scalar(0.0).float()));
        (squares.iter().zip(features))
            .map(|(s, n)| {
                if n > 0.0 {
                    f64::from(s / n).sqrt()
                } else {
                    1.0
                }
            })
            .collect()
    }
}

/// A row at the start: what its gradient says about the boundary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// Root mean square range of the features, data units.
    pub(super) range: f64,
    /// Unit of steps, data units: the range, but shorter if the boundary is very near.
    pub(super) unit: f64,
    /// Margin still to gain, at least 0.
    pub(super) gap: f64,
    /// Euclidean length of the gradient, above 0.
    pub(super) slope: f64,
    /// Largest entry of the gradient, above 0.
    pub(super) steepest: f64,
}

/// Returns the outlook of each row from the margins and gradients at the clean samples.
///
/// A step that suits most samples jumps far over a boundary that is a millionth of the range away, so the unit of steps
/// is 10 times the estimated distance there, but never below a thousandth of the range. A margin of exactly 0 (tied
/// scores) estimates nothing and leaves the unit at the range.
pub(super) fn outlooks(rows: &Rows, margins: &[f32], gradient: &Batch) -> Vec<Outlook> {
    let ranges = Rooms::of(rows.region()).range();
    let squares = host(&gradient.sum_of(Tensor::<2>::square));
    let steepest = host(&gradient.per_row(|g| g.abs().max_dim(1), Tensor::max_pair));
    (0..rows.len())
        .map(|i| {
            let positive = |v: f32| f64::from(v).max(f64::from(f32::MIN_POSITIVE));
            let (range, gap) = (ranges[i], (-f64::from(margins[i])).max(0.0));
            let slope = positive(squares[i].sqrt());
            let share = gap / slope / range / NEAR;
            let unit = if gap > 0.0 {
                range * share.clamp(SHORTEST, 1.0)
            } else {
                range
            };
            Outlook {
                range,
                unit,
                gap,
                slope,
                steepest: positive(steepest[i]),
            }
        })
        .collect()
}

/// Returns values as a `[rows, 1]` column on the device.
pub(super) fn column(region: &Region, values: impl IntoIterator<Item = f64>) -> Tensor<2> {
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    region.column(&values).unsqueeze_dim::<2>(1)
}
