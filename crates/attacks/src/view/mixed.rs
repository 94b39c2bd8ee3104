use burn::tensor::{Tensor, TensorData};
use proofmark_engine::Rows;
use proofmark_threat::Batch;

use super::{Back, Points, View};

/// Adds shares of other samples to a point, and shows each sum at several brightnesses: `γ_i (x + η x')`,
/// `γ_i = 2^-i`.
///
/// The other samples are of other classes ([`Rows::others`]), drawn anew at every step. Source: Wang et al., "Admix:
/// Enhancing the Transferability of Adversarial Attacks", ICCV 2021, equation 4; without mixing, Lin et al., "Nesterov
/// Accelerated Gradient and Scale Invariance for Adversarial Attacks", ICLR 2020.
#[derive(Debug, Clone, Copy)]
pub struct Mixed {
    /// Other samples per point and step, at least 1.
    pub samples: u32,
    /// Share η of the other sample, at least 0.
    pub share: f32,
    /// Number of brightnesses, at least 1.
    pub scales: u32,
}

impl View for Mixed {
    fn copies(&self) -> usize {
        (self.samples * self.scales) as usize
    }

    fn look(&self, points: &Points, rows: &Rows) -> (Batch, Back) {
        let (n, k, scales) = (points.owner.len(), self.copies(), self.scales as usize);
        let mut streams = points.streams(rows, 1);
        let others = rows.others();
        let focus = rows.focus();
        // The other samples of each point, by place.
        let chosen: Vec<Vec<Option<usize>>> = (points.owner.iter().zip(&mut streams))
            .map(|(owner, stream)| {
                let places = others.map_or_else(Vec::new, |o| {
                    o.besides(rows.keys()[*owner], focus.label()[*owner])
                });
                let one = |_| {
                    let at = stream.below(places.len().max(1) as u32) as usize;
                    places.get(at).copied()
                };
                (0..self.samples).map(one).collect()
            })
            .collect();
        let device = points.x.device();
        let modalities = points.x.modalities().clone();
        let moves = points.moves(rows);
        // Per input: the factor of each copy, and what is added to it.
        let mut factors: Vec<Tensor<2>> = Vec::new();
        let mut added: Vec<Tensor<2>> = Vec::new();
        for (m, modality) in modalities.iter().enumerate() {
            let features = modality.features();
            let (mut factor, mut sums) = (Vec::with_capacity(n * k), vec![0.0; n * k * features]);
            for copy in 0..n * k {
                let (point, sample, scale) = (copy / k, copy % k / scales, copy % scales);
                if !moves[m][point] {
                    factor.push(1.0);
                    continue;
                }
                let gamma = 0.5_f32.powi(scale as i32);
                factor.push(gamma);
                if let Some((others, place)) = others.zip(chosen[point][sample]) {
                    let other = &others.values[m][place * features..(place + 1) * features];
                    let sum = &mut sums[copy * features..(copy + 1) * features];
                    for (sum, other) in sum.iter_mut().zip(other) {
                        *sum = gamma * self.share * other;
                    }
                }
            }
            factors.push(Tensor::from_data(
                TensorData::new(factor, [n * k, 1]),
                &device,
            ));
            added.push(Tensor::from_data(
                TensorData::new(sums, [n * k, features]),
                &device,
            ));
        }
        let mut parts = factors.clone().into_iter().zip(added);
        let seen = points.repeated(k).map(|x| {
            let (factor, added) = parts.next().expect("one per input");
            x * factor + added
        });
        let back = move |gradient: Batch| {
            let mut factors = factors.iter();
            gradient.map(|g| {
                let features = g.dims()[1];
                let g = g * factors.next().expect("one per input").clone();
                let by_point = g.reshape([n, k, features]);
                by_point.mean_dim(1).squeeze_dim::<2>(1)
            })
        };
        (seen, Box::new(back))
    }

    fn mixes(&self) -> bool {
        self.share > 0.0
    }
}
