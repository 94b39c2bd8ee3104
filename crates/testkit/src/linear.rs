//! Linear classifiers over one or several modalities, with weights and samples from a seed.

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Bounds, Kind, Modality, Norm, Seed};
use proofmark_model::{BurnModel, ModelError};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

use crate::{JointCoupling, JointPart, joint_distance, linear_distance};

/// A linear classifier `z = sum_m x_m W_m`, with weights from a seed.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Inputs, values in `[0, 1]`.
    pub modalities: Vec<Modality>,
    /// Per modality: weights `[features][classes]`.
    pub weights: Vec<Vec<Vec<f32>>>,
    /// Number of classes.
    pub classes: usize,
}

impl Linear {
    /// Makes a classifier with normal weights for tables of the given widths.
    pub fn new(widths: &[usize], classes: usize, seed: u64) -> Self {
        let modalities = widths
            .iter()
            .enumerate()
            .map(|(i, w)| Modality {
                name: if widths.len() == 1 {
                    "x".into()
                } else {
                    format!("m{i}")
                },
                kind: Kind::Table,
                shape: vec![*w],
                bounds: Bounds::uniform(0.0, 1.0).expect("0 is below 1"),
            })
            .collect();
        let weights = widths
            .iter()
            .enumerate()
            .map(|(m, width)| {
                let mut stream = stream(seed, m as u64);
                (0..*width)
                    .map(|_| (0..classes).map(|_| stream.normal()).collect())
                    .collect()
            })
            .collect();
        Self {
            modalities,
            weights,
            classes,
        }
    }

    /// Returns the classifier as a model on `device`.
    pub fn model(&self, device: &Device) -> Result<BurnModel, ModelError> {
        let weights: Vec<Tensor<2>> = self
            .weights
            .iter()
            .map(|w| {
                let flat: Vec<f32> = w.iter().flatten().copied().collect();
                Tensor::from_data(TensorData::new(flat, [w.len(), self.classes]), device)
            })
            .collect();
        BurnModel::closure(self.modalities.clone(), self.classes, device, move |x| {
            x.iter()
                .zip(&weights)
                .map(|(x, w)| x.clone().matmul(w.clone()))
                .reduce(|a, b| a + b)
                .expect("at least one modality")
        })
        .map(|m| m.named("linear"))
    }

    /// Returns `n` uniform samples per modality (`n * features`), and the class that the model gives each.
    pub fn samples(&self, n: usize, seed: u64) -> (Vec<Vec<f32>>, Vec<usize>) {
        let values: Vec<Vec<f32>> = self
            .modalities
            .iter()
            .enumerate()
            .map(|(m, modality)| {
                let mut stream = stream(seed ^ 0x5eed, m as u64);
                (0..n * modality.features())
                    .map(|_| stream.uniform())
                    .collect()
            })
            .collect();
        let labels = (0..n).map(|i| self.decide(&self.row(&values, i))).collect();
        (values, labels)
    }

    /// Returns sample `i` of `values`, one slice per modality.
    pub fn row<'a>(&self, values: &'a [Vec<f32>], i: usize) -> Vec<&'a [f32]> {
        values
            .iter()
            .zip(&self.modalities)
            .map(|(v, m)| &v[i * m.features()..(i + 1) * m.features()])
            .collect()
    }

    /// Returns the scores of one sample, in `f64`.
    pub fn scores(&self, row: &[&[f32]]) -> Vec<f64> {
        (0..self.classes)
            .map(|c| {
                row.iter()
                    .zip(&self.weights)
                    .flat_map(|(x, w)| x.iter().zip(w))
                    .map(|(x, w)| f64::from(*x) * f64::from(w[c]))
                    .sum()
            })
            .collect()
    }

    fn decide(&self, row: &[&[f32]]) -> usize {
        let scores = self.scores(row);
        (0..self.classes).fold(0, |best, c| if scores[c] > scores[best] { c } else { best })
    }

    /// Returns the exact distance of a one-modality sample to the nearest other class, in `norm`, inside `[0, 1]`, and
    /// that class. `None` if no other class can be reached.
    pub fn distance(&self, norm: Norm, row: &[f32], label: usize) -> Option<(f64, usize)> {
        let scores = self.scores(&[row]);
        let (low, high) = (vec![0.0; row.len()], vec![1.0; row.len()]);
        self.rivals(label)
            .filter_map(|c| {
                let w = self.towards(0, label, c);
                linear_distance(norm, &w, scores[label] - scores[c], row, &low, &high)
                    .map(|d| (d, c))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Returns the exact gauge at which some other class is reached, with one norm and epsilon per modality. `None` if
    /// none can be reached.
    pub fn joint_gauge(
        &self,
        budgets: &[(Norm, f64)],
        coupling: JointCoupling,
        row: &[&[f32]],
        label: usize,
    ) -> Option<f64> {
        let scores = self.scores(row);
        let low: Vec<Vec<f32>> = row.iter().map(|x| vec![0.0; x.len()]).collect();
        let high: Vec<Vec<f32>> = row.iter().map(|x| vec![1.0; x.len()]).collect();
        self.rivals(label)
            .filter_map(|c| {
                let w: Vec<Vec<f64>> = (0..row.len()).map(|m| self.towards(m, label, c)).collect();
                let parts: Vec<JointPart<'_>> = (0..row.len())
                    .map(|m| JointPart {
                        norm: budgets[m].0,
                        w: &w[m],
                        x0: row[m],
                        low: &low[m],
                        high: &high[m],
                        eps: budgets[m].1,
                    })
                    .collect();
                joint_distance(&parts, scores[label] - scores[c], coupling)
            })
            .min_by(f64::total_cmp)
    }

    fn rivals(&self, label: usize) -> impl Iterator<Item = usize> {
        (0..self.classes).filter(move |c| *c != label)
    }

    /// Returns `w_c - w_label` of one modality.
    fn towards(&self, modality: usize, label: usize, c: usize) -> Vec<f64> {
        self.weights[modality]
            .iter()
            .map(|w| f64::from(w[c]) - f64::from(w[label]))
            .collect()
    }
}

fn stream(seed: u64, part: u64) -> Stream {
    Stream::new(&StreamKey::new(Seed(seed), part, Purpose::Data))
}
