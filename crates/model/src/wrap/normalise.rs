use burn::tensor::{Tensor, TensorData};
use proofmark_domain::Kind;
use proofmark_threat::Batch;

use crate::access::{Numbers, Signature};
use crate::{ModelError, Network, Query};

/// A model behind the preprocessing it was trained with: `(x * scale - mean) / std`.
///
/// Attack, bounds and epsilon stay in data units; the gradient passes through. The digest stays the inner
/// model's: reports write the preprocessing down beside it.
#[derive(Debug)]
pub struct Normalise<N> {
    inner: N,
    signature: Signature,
    /// Per modality: scale, then mean and std per feature, `[1, features]`; whole numbers stay what they are.
    maps: Vec<Option<(f32, Tensor<2>, Tensor<2>)>>,
}

impl<N: Network> Normalise<N> {
    /// Wraps `inner`. `mean` and `std` hold one value, one per channel of an image, or one per feature;
    /// they apply to every modality alike, but for inputs that take whole numbers.
    pub fn new(inner: N, scale: f32, mean: &[f32], std: &[f32]) -> Result<Self, ModelError> {
        let signature = inner.signature().clone();
        let error = |problem| ModelError::Signature {
            model: inner.signature().name.clone(),
            problem,
        };
        if !(scale.is_finite() && scale != 0.0) {
            return Err(error(format!(
                "scale {scale}; expected a finite number other than 0"
            )));
        }
        if let Some(m) = mean.iter().find(|m| !m.is_finite()) {
            return Err(error(format!("mean {m}; expected finite numbers")));
        }
        if let Some(s) = std.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(error(format!("std {s}; expected finite numbers above 0")));
        }
        let mut maps = Vec::new();
        for (m, numbers) in signature.modalities.iter().zip(&signature.numbers) {
            if *numbers != Numbers::Real {
                maps.push(None);
                continue;
            }
            let features = m.features();
            let channels = if m.kind == Kind::Image {
                m.shape[0]
            } else {
                features
            };
            // Images as files have them, `[h, w, c]`, told apart by the number of values.
            let last = m.shape.last().copied().filter(|_| m.shape.len() == 3);
            let spread = |v: &[f32], what: &str| {
                if v.len() == 1 {
                    Ok(vec![v[0]; features])
                } else if v.len() == channels {
                    Ok(v.iter()
                        .flat_map(|x| vec![*x; features / channels])
                        .collect())
                } else if Some(v.len()) == last {
                    Ok((0..features).map(|f| v[f % v.len()]).collect())
                } else {
                    Err(error(format!(
                        "{} values of {what} for input `{}`; expected 1 or {channels}",
                        v.len(),
                        m.name
                    )))
                }
            };
            let tensor = |v: Vec<f32>| {
                Tensor::<2>::from_data(TensorData::new(v, [1, features]), &signature.device)
            };
            maps.push(Some((
                scale,
                tensor(spread(mean, "mean")?),
                tensor(spread(std, "std")?),
            )));
        }
        Ok(Self {
            inner,
            signature,
            maps,
        })
    }
}

impl<N> Normalise<N> {
    /// What the inner model is given for points in data units.
    pub fn prepared(&self, x: &Batch) -> Batch {
        let mut maps = self.maps.iter();
        x.map(|b| match maps.next().expect("one map per modality") {
            Some((scale, mean, std)) => (b.mul_scalar(*scale) - mean.clone()) / std.clone(),
            None => b,
        })
    }
}

impl<N: Network> Network for Normalise<N> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.inner.forward(&query.with_x(self.prepared(&query.x)))
    }

    fn cost(&self) -> u64 {
        self.inner.cost()
    }
}
