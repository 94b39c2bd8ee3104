//! Maps the input boxes of a property to the cube `[-1, 1]^n`, so that one step means the same for every input.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use proofmark_data::vnnlib::{Case, InputBox};
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{
    Access, DecisionModel, Gradient, GradientModel, ModelError, Numbers, Objective, Output, Query,
    ScoreModel, Signature,
};
use proofmark_threat::{Batch, index};

/// A box in 32-bit floats, bounded by the outermost floats inside it.
///
/// If no 32-bit float lies within the bounds of an input, the input is fixed to the nearest one: the point written down
/// is then a 64-bit number within the bounds that rounds to what the network was given.
#[derive(Debug)]
struct Narrow {
    low: Vec<f32>,
    high: Vec<f32>,
    mid: Vec<f32>,
    half: Vec<f32>,
}

impl Narrow {
    fn new(of: &InputBox) -> Self {
        let n = of.low.len();
        let mut narrow = Self {
            low: Vec::with_capacity(n),
            high: Vec::with_capacity(n),
            mid: Vec::with_capacity(n),
            half: Vec::with_capacity(n),
        };
        for (low, high) in of.low.iter().zip(&of.high) {
            let (inner_low, inner_high) = (at_least(*low), at_most(*high));
            let (l, h) = if inner_low <= inner_high {
                (inner_low, inner_high)
            } else {
                let near = between(*low, *high) as f32;
                (near, near)
            };
            let mid = (between(f64::from(l), f64::from(h)) as f32).clamp(l, h);
            // One float more than half: at 1 the sum is past the end, and the clamp returns the end itself.
            let half = (h - mid).max(mid - l);
            narrow.low.push(l);
            narrow.high.push(h);
            narrow.mid.push(mid);
            narrow.half.push(if l < h {
                half.next_up().min(f32::MAX)
            } else {
                0.0
            });
        }
        narrow
    }
}

/// Returns the smallest `f32` that is at least `v`.
fn at_least(v: f64) -> f32 {
    let near = v as f32;
    if f64::from(near) < v {
        near.next_up()
    } else {
        near
    }
}

/// Returns the largest `f32` that is at most `v`.
fn at_most(v: f64) -> f32 {
    let near = v as f32;
    if f64::from(near) > v {
        near.next_down()
    } else {
        near
    }
}

/// Returns the middle of two numbers, never outside them.
fn between(low: f64, high: f64) -> f64 {
    (low / 2.0 + high / 2.0).clamp(low, high)
}

/// Returns the key of a row: its case in the upper half, and in the lower half the serial that keeps its random streams
/// apart.
pub(super) fn key(case: usize, serial: u32) -> u64 {
    ((case as u64) << 32) | u64::from(serial)
}

fn case_of(key: u64) -> usize {
    (key >> 32) as usize
}

/// A model queried in cube coordinates; the case of each point, which selects its box, is read from the point's key.
#[derive(Debug)]
pub(super) struct Boxed<'a, M: ?Sized> {
    inner: &'a M,
    signature: Signature,
    /// Index of each case's box.
    box_of: Vec<usize>,
    boxes: Vec<Arc<InputBox>>,
    /// Shape `[boxes, inputs]` each.
    low: Tensor<2>,
    high: Tensor<2>,
    mid: Tensor<2>,
    half: Tensor<2>,
}

impl<'a, M: DecisionModel + ?Sized> Boxed<'a, M> {
    pub(super) fn new(inner: &'a M, cases: &[Case]) -> Result<Self, ModelError> {
        let mut boxes: Vec<Arc<InputBox>> = Vec::new();
        let mut box_of = Vec::with_capacity(cases.len());
        for case in cases {
            // Cases that share a box are adjacent.
            if !boxes.last().is_some_and(|b| Arc::ptr_eq(b, &case.inputs)) {
                boxes.push(case.inputs.clone());
            }
            box_of.push(boxes.len() - 1);
        }
        let narrow: Vec<Narrow> = boxes.iter().map(|b| Narrow::new(b)).collect();
        let inputs = boxes.first().map_or(0, |b| b.low.len());
        let mut signature = inner.signature().clone();
        let matrix = |side: fn(&Narrow) -> &Vec<f32>| {
            let values: Vec<f32> = narrow
                .iter()
                .flat_map(|n| side(n).iter().copied())
                .collect();
            Tensor::<2>::from_data(
                TensorData::new(values, [narrow.len(), inputs]),
                &inner.signature().device,
            )
        };
        let bounds = Bounds::uniform(-1.0, 1.0).map_err(|e| ModelError::Signature {
            model: signature.name.clone(),
            problem: e.to_string(),
        })?;
        signature.modalities = Arc::new([Modality {
            name: "cube".into(),
            kind: Kind::Table,
            shape: vec![inputs],
            bounds,
        }]);
        signature.numbers = vec![Numbers::Real];
        Ok(Self {
            inner,
            low: matrix(|n| &n.low),
            high: matrix(|n| &n.high),
            mid: matrix(|n| &n.mid),
            half: matrix(|n| &n.half),
            signature,
            box_of,
            boxes,
        })
    }

    /// Returns one side of each point's box, `[points, inputs]`.
    fn side(&self, side: &Tensor<2>, keys: &[u64]) -> Tensor<2> {
        let [boxes, inputs] = side.dims();
        if boxes == 1 {
            return side.clone().expand([keys.len(), inputs]);
        }
        let at: Vec<usize> = keys.iter().map(|k| self.box_of[case_of(*k)]).collect();
        side.clone().select(0, index(&at, &side.device()))
    }

    /// Converts a query to the model's own coordinates.
    pub(super) fn outside(&self, query: &Query) -> Result<Query, ModelError> {
        let keys = &query.key;
        let u = query.x.blocks()[0].clone();
        let x = (u * self.side(&self.half, keys) + self.side(&self.mid, keys))
            .max_pair(self.side(&self.low, keys))
            .min_pair(self.side(&self.high, keys));
        let modalities = self.inner.signature().modalities.clone();
        let mut from = 0;
        let blocks = modalities
            .iter()
            .map(|m| {
                let to = from + m.features();
                let block = x.clone().slice([0..keys.len(), from..to]);
                from = to;
                block
            })
            .collect();
        Ok(query.with_x(Batch::new(modalities.clone(), blocks)?))
    }

    /// Returns a point as it is written down: within the bounds of its case in 64 bits, and rounding to what the model
    /// was given.
    pub(super) fn exact(&self, case: usize, x: &[f32]) -> Vec<f64> {
        let inputs = &self.boxes[self.box_of[case]];
        let sides = inputs.low.iter().zip(&inputs.high);
        x.iter()
            .zip(sides)
            .map(|(x, (low, high))| {
                let x = f64::from(*x);
                if (*low..=*high).contains(&x) {
                    x
                } else {
                    between(*low, *high)
                }
            })
            .collect()
    }
}

impl<M: ScoreModel + ?Sized> DecisionModel for Boxed<'_, M> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Scores are enough here: the search knows what the inner model gives and calls it through its type.
    fn access(&self) -> Access<'_> {
        Access::Scores(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        self.scores(query).map(Output::Scores)
    }

    fn cost(&self) -> u64 {
        self.inner.cost()
    }
}

impl<M: ScoreModel + ?Sized> ScoreModel for Boxed<'_, M> {
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.inner.scores(&self.outside(query)?)
    }
}

impl<M: GradientModel + ?Sized> GradientModel for Boxed<'_, M> {
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError> {
        let answer = self.inner.gradient(&self.outside(query)?, objective)?;
        // The chain rule through x = mid + half u; the clamp only acts at the very end.
        let inner = Tensor::cat(answer.gradient.into_blocks(), 1);
        let gradient = inner * self.side(&self.half, &query.key);
        Ok(Gradient {
            scores: answer.scores,
            loss: answer.loss,
            gradient: Batch::new(self.signature.modalities.clone(), vec![gradient])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(low: f64, high: f64) -> (f32, f32, f32, f32) {
        let n = Narrow::new(&InputBox {
            low: vec![low],
            high: vec![high],
        });
        (n.low[0], n.high[0], n.mid[0], n.half[0])
    }

    #[test]
    fn bounds_are_rounded_inward_and_the_ends_are_reached() {
        for (low, high) in [
            (0.1, 0.3),
            (-0.3, -0.1),
            (-1e-8, 0.7),
            (1e6 + 0.01, 1e6 + 0.2),
            (-3e38, 3e38),
        ] {
            let (l, h, mid, half) = narrow(low, high);
            assert!(
                f64::from(l) >= low && f64::from(l.next_down()) < low,
                "{low}"
            );
            assert!(
                f64::from(h) <= high && f64::from(h.next_up()) > high,
                "{high}"
            );
            assert_eq!((mid + half).clamp(l, h), h);
            assert_eq!((mid - half).clamp(l, h), l);
        }
    }

    #[test]
    fn a_box_without_a_float_takes_the_nearest() {
        let (low, high) = (1.0 + 1e-9, 1.0 + 2e-9);
        assert_eq!(narrow(low, high), (1.0, 1.0, 1.0, 0.0));
        assert_eq!(narrow(0.5, 0.5), (0.5, 0.5, 0.5, 0.0));
        assert_eq!(narrow(0.1, 0.1).0, 0.1);
    }
}
