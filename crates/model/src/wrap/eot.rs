use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Modality, Needs, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::{Batch, index};

use crate::access::{Features, Head, Signature};
use crate::digest::derived;
use crate::{ModelError, Network, Query};

/// A random transformation of the input; [`Eot`] averages a model over its draws.
pub trait Transform: Send + Sync {
    /// Transforms each row of `x` by its own stream. Differentiable in `x`.
    fn apply(&self, x: Tensor<2>, modality: &Modality, streams: &mut [Stream]) -> Tensor<2>;

    /// Returns name and parameters, for the digest and the report.
    fn describe(&self) -> String;
}

/// Adds Gaussian noise (randomised smoothing's transform).
#[derive(Debug, Clone, Copy)]
pub struct GaussianNoise {
    /// Standard deviation, data units.
    pub sigma: f32,
}

impl Transform for GaussianNoise {
    fn apply(&self, x: Tensor<2>, modality: &Modality, streams: &mut [Stream]) -> Tensor<2> {
        let features = modality.features();
        let noise: Vec<f32> = streams
            .iter_mut()
            .flat_map(|s| {
                (0..features)
                    .map(|_| self.sigma * s.normal())
                    .collect::<Vec<_>>()
            })
            .collect();
        let noise = TensorData::new(noise, [streams.len(), features]);
        let device = x.device();
        x + Tensor::from_data(noise, &device)
    }

    fn describe(&self) -> String {
        format!("gaussian-noise(sigma={})", self.sigma)
    }
}

/// Expectation over transformations: the mean logits over `draws` transformed copies of each point.
///
/// The draws of a sample follow from (seed, sample, draw) alone, so the averaged model is a fixed function: attack and
/// judge see the same one, and results repeat. Source: Athalye et al., "Synthesizing Robust Adversarial Examples", ICML
/// 2018, eq. 2.
#[derive(Debug)]
pub struct Eot<N, T> {
    inner: N,
    transform: T,
    draws: u32,
    seed: Seed,
    signature: Signature,
}

impl<N: Network, T: Transform> Eot<N, T> {
    /// Wraps `inner`; `draws` of 0 is an error.
    pub fn new(inner: N, transform: T, draws: u32, seed: Seed) -> Result<Self, ModelError> {
        let mut signature = inner.signature().clone();
        if draws == 0 {
            return Err(ModelError::Signature {
                model: signature.name,
                problem: "0 draws of an expectation over transformations; expected at least 1"
                    .into(),
            });
        }
        let change = format!("eot({},{draws},{seed})", transform.describe());
        signature.sha256 = derived(&signature.sha256, &change);
        Ok(Self {
            inner,
            transform,
            draws,
            seed,
            signature,
        })
    }
}

impl<N: Network, T: Transform> Network for Eot<N, T> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.inner
            .forward(&self.drawn(query)?)
            .map(|t| self.mean(t))
    }

    /// The last layer is linear: the mean of the scores is its answer to the mean of the activations.
    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        let read = self.inner.penultimate(&self.drawn(query)?)?;
        Ok(read.map(|t| self.mean(t)))
    }

    fn gives(&self) -> Needs {
        Network::gives(&self.inner)
    }

    fn cost(&self) -> u64 {
        self.inner.cost() * u64::from(self.draws)
    }
}

/// Layer activations are means over the draws, like the logits.
impl<N: Network + Features, T: Transform> Features for Eot<N, T> {
    fn taps(&self) -> Vec<String> {
        self.inner.taps()
    }

    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Tensor<2>>, ModelError> {
        let read = self.inner.features(&self.drawn(query)?, taps)?;
        Ok(read.into_iter().map(|t| self.mean(t)).collect())
    }

    fn cuts(&self) -> Vec<String> {
        self.inner.cuts()
    }

    fn head(&self, tap: &str) -> Result<Box<dyn Head + '_>, ModelError> {
        self.inner.head(tap)
    }
}

impl<N, T: Transform> Eot<N, T> {
    /// Returns the transformed copies of each point, one after the other.
    fn drawn(&self, query: &Query) -> Result<Query, ModelError> {
        let (n, k) = (query.len(), self.draws as usize);
        // Copies of one point are adjacent: [p0 d0, p0 d1, …, p1 d0, …].
        let owners: Vec<usize> = (0..n * k).map(|i| i / k).collect();
        let mut streams: Vec<Stream> = (0..n * k)
            .map(|i| {
                let mut key = StreamKey::new(self.seed, query.key[i / k], Purpose::Transform);
                key.step = query.draw[i / k];
                key.draw = (i % k) as u32;
                Stream::new(&key)
            })
            .collect();
        let copies = query.x.select(&index(&owners, &query.x.device().inner()));
        let blocks = copies
            .blocks()
            .iter()
            .zip(copies.modalities().iter())
            .map(|(b, m)| self.transform.apply(b.clone(), m, &mut streams))
            .collect();
        Ok(Query {
            x: Batch::new(copies.modalities().clone(), blocks)?,
            owner: owners.iter().map(|o| query.owner[*o]).collect(),
            key: owners.iter().map(|o| query.key[*o]).collect(),
            draw: (0..n * k).map(|i| (i % k) as u32).collect(),
        })
    }

    /// Averages each point's copies.
    fn mean(&self, copies: Tensor<2>) -> Tensor<2> {
        let (k, [rows, width]) = (self.draws as usize, copies.dims());
        copies
            .reshape([rows / k, k, width])
            .mean_dim(1)
            .squeeze_dim::<2>(1)
    }
}
