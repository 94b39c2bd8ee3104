//! The layer that probes of features read.

use burn::tensor::{Tensor, TensorData};
use proofmark_engine::random::{Purpose, Stream, StreamKey, attack_code};
use proofmark_model::{Head, Query};
use proofmark_threat::{Batch, host};

use super::{ProbeError, Subject};

/// Points that show the range of activations, where there are no samples.
const POINTS: usize = 64;

/// A layer, what lies behind it, and the range of its activations.
pub(super) struct Layer<'a> {
    pub(super) name: String,
    pub(super) head: Box<dyn Head + 'a>,
    /// Lowest activation of each feature, on points without data.
    pub(super) low: Vec<f32>,
    /// Highest.
    pub(super) high: Vec<f32>,
}

impl<'a> Layer<'a> {
    /// Opens the layer that the subject names, or the last one with a head that is not linear (the last one, if all are).
    pub(super) fn open(subject: &Subject<'a>, probe: &str) -> Result<Self, ProbeError> {
        let model = subject.model;
        let points = without_data(subject, POINTS, probe);
        if let Some(name) = subject.layer {
            let head = model
                .head(name)
                .map_err(|e| ProbeError::Setting(format!("--layer {name}: {e}")))?;
            return Self::ranged(subject, name.to_owned(), head, &points);
        }
        let cuts = model.cuts();
        let mut last = None;
        for name in cuts.iter().rev() {
            let Ok(head) = model.head(name) else { continue };
            let layer = Self::ranged(subject, name.clone(), head, &points)?;
            if layer.varies() && !layer.is_linear(subject)? {
                return Ok(layer);
            }
            if last.is_none() && layer.varies() {
                last = Some(layer);
            }
        }
        last.ok_or_else(|| {
            ProbeError::Unfit(format!(
                "{probe} needs a layer through which alone the input reaches the scores; this model shows none"
            ))
        })
    }

    fn ranged(
        subject: &Subject<'a>,
        name: String,
        head: Box<dyn Head + 'a>,
        points: &[f32],
    ) -> Result<Self, ProbeError> {
        let seen = activations(subject, &name, points)?;
        let width = head.width();
        let (mut low, mut high) = (vec![f32::INFINITY; width], vec![f32::NEG_INFINITY; width]);
        for row in seen.chunks(width) {
            for (i, v) in row.iter().enumerate() {
                low[i] = low[i].min(*v);
                high[i] = high[i].max(*v);
            }
        }
        if low.iter().chain(&high).any(|v| !v.is_finite()) {
            return Err(ProbeError::Unfit(format!(
                "finite activations at layer `{name}`; the model gave others"
            )));
        }
        Ok(Self {
            name,
            head,
            low,
            high,
        })
    }

    fn varies(&self) -> bool {
        self.low.iter().zip(&self.high).any(|(l, h)| l < h)
    }

    pub(super) fn width(&self) -> usize {
        self.low.len()
    }

    /// Returns scores of activations on the host, and the gradients of `objective` summed over rows.
    pub(super) fn gradient(
        &self,
        subject: &Subject<'_>,
        activations: Vec<f32>,
        objective: impl Fn(Tensor<2>) -> Tensor<1>,
    ) -> Result<(Vec<f32>, Vec<f32>), ProbeError> {
        let tracked = self.tensor(subject, activations).autodiff().require_grad();
        let scores = self.head.scores(&tracked)?;
        let values = host(&scores.clone().inner());
        let sum = objective(scores).sum();
        let gradient = if sum.is_tracked() {
            tracked.grad(&sum.backward())
        } else {
            None
        };
        let gradient =
            gradient.map_or_else(|| vec![0.0; tracked.dims().iter().product()], |g| host(&g));
        Ok((values, gradient))
    }

    /// Returns scores of activations.
    pub(super) fn scores(
        &self,
        subject: &Subject<'_>,
        activations: Vec<f32>,
    ) -> Result<Vec<f32>, ProbeError> {
        Ok(host(&self.head.scores(&self.tensor(subject, activations))?))
    }

    fn tensor(&self, subject: &Subject<'_>, values: Vec<f32>) -> Tensor<2> {
        let shape = [values.len() / self.width(), self.width()];
        Tensor::from_data(
            TensorData::new(values, shape),
            &subject.model.signature().device,
        )
    }

    /// Whether the head of a mean is the mean of heads, on corners of the range, but for what all classes share.
    fn is_linear(&self, subject: &Subject<'_>) -> Result<bool, ProbeError> {
        let w = self.width();
        let mid = |i: usize, odd: usize| {
            if i % 2 == odd {
                self.high[i]
            } else {
                self.low[i]
            }
        };
        let a: Vec<f32> = (0..w).map(|i| mid(i, 0)).collect();
        let b: Vec<f32> = (0..w).map(|i| mid(i, 1)).collect();
        let half: Vec<f32> = a
            .iter()
            .zip(&b)
            .map(|(a, b)| f32::midpoint(*a, *b))
            .collect();
        let mut scores = self.scores(subject, [a, b, half].concat())?;
        let n = scores.len() / 3;
        // Without its mean a row of log-probabilities is a row of logits.
        for row in scores.chunks_mut(n) {
            let mean = row.iter().sum::<f32>() / n as f32;
            for score in row {
                *score -= mean;
            }
        }
        let size = scores.iter().fold(0_f32, |m, s| m.max(s.abs()));
        let linear = |i: usize| {
            (f32::midpoint(scores[i], scores[n + i]) - scores[2 * n + i]).abs() <= 1e-3 * size
        };
        Ok((0..n).all(linear))
    }
}

/// Returns the activations of points at a layer, `[points * width]`.
pub(super) fn activations(
    subject: &Subject<'_>,
    layer: &str,
    points: &[f32],
) -> Result<Vec<f32>, ProbeError> {
    let signature = subject.model.signature();
    let features = subject.input().features();
    let mut all = Vec::new();
    // A constant number of points, so that the answer does not depend on the batch.
    for points in points.chunks(features * 32) {
        let n = points.len() / features;
        let x = Batch::from_host(
            signature.modalities.clone(),
            vec![points.to_vec()],
            &signature.device,
        )?;
        let keys: Vec<u64> = (0..n as u64).collect();
        let query = Query::one_per_row(x, &keys);
        let read = subject.model.features(&query, &[layer])?.remove(0);
        all.extend(host(&read));
    }
    Ok(all)
}

/// Returns points inside the bounds that are no samples: smooth random fields and uniform noise, in turn.
///
/// A field is a sum of waves along rows and columns of positions with random phases, a colour each.
pub(super) fn without_data(subject: &Subject<'_>, n: usize, probe: &str) -> Vec<f32> {
    let grid = subject.grid();
    let features = grid.of.len();
    let mut points = Vec::with_capacity(n * features);
    for i in 0..n {
        let mut stream = Stream::new(&StreamKey {
            attack: attack_code(probe),
            ..StreamKey::new(subject.seed, i as u64, Purpose::Data)
        });
        if i % 2 == 1 || grid.rows == 1 {
            points.extend((0..features).map(|f| subject.at(f, stream.uniform())));
            continue;
        }
        let waves: Vec<[f32; 5]> = (0..4)
            .map(|_| {
                let turn = std::f32::consts::TAU;
                let count = |s: &mut Stream| turn * (1 + s.below(4)) as f32;
                let (rows, columns) = (count(&mut stream), count(&mut stream));
                let phase = turn * stream.uniform();
                [rows, columns, phase, stream.normal(), stream.normal()]
            })
            .collect();
        for (f, p) in grid.of.iter().enumerate() {
            let (r, c) = (p / grid.columns, p % grid.columns);
            let (r, c) = (r as f32 / grid.rows as f32, c as f32 / grid.columns as f32);
            // Channels of a pixel differ by the second weight.
            let tint = (f * 7 % 3) as f32 - 1.0;
            let sum: f32 = waves
                .iter()
                .map(|w| (w[0] * r + w[1] * c + w[2]).sin() * (w[3] + tint * w[4]))
                .sum();
            points.push(subject.at(f, 0.5 + 0.5 * (sum / 2.0).tanh()));
        }
    }
    points
}
