use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Grid, Kind, Modality, Needs};
use proofmark_kernels::Program;
use proofmark_threat::{Batch, host};

use crate::access::{Features, Head, Numbers, Signature};
use crate::{ModelError, Network, Query};

/// A model with the preprocessing it was trained with: `(x * scale - mean) / std`.
///
/// Attack, bounds and epsilon stay in data units; the gradient passes through. The digest is the inner model's: reports
/// record the preprocessing separately.
#[derive(Debug)]
pub struct Normalise<N> {
    inner: N,
    signature: Signature,
    /// Per modality: scale, then mean and std per feature, `[1, features]`; `None` for whole-number inputs, which pass
    /// unchanged.
    maps: Vec<Option<(f32, Tensor<2>, Tensor<2>)>>,
}

impl<N: Network> Normalise<N> {
    /// Wraps `inner`. `mean` and `std` hold one value, one per channel of an image, or one per feature of anything
    /// else. They apply to every modality except those that take whole numbers.
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
            let channels = Channels::of(m);
            let spread = |v: &[f32], what: &str| {
                if v.len() == 1 {
                    Ok(vec![v[0]; features])
                } else if v.len() == channels.count() {
                    Ok((0..features).map(|f| v[channels.at(f)]).collect())
                } else {
                    let each = if m.kind == Kind::Image {
                        "channel"
                    } else {
                        "feature"
                    };
                    let expected = match channels.count() {
                        1 => "1".to_owned(),
                        n => format!("1, or {n}, one per {each}"),
                    };
                    Err(error(format!(
                        "{} values of {what} for input `{}`, whose samples are {:?}; expected {expected}",
                        v.len(),
                        m.name,
                        m.shape
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
    /// Returns the inner model's input for points in data units.
    pub fn prepared(&self, x: &Batch) -> Batch {
        let mut maps = self.maps.iter();
        x.map(|b| match maps.next().expect("one map per modality") {
            Some((scale, mean, std)) => (b.mul_scalar(*scale) - mean.clone()) / std.clone(),
            None => b,
        })
    }
}

/// Channels of an input, each with its own mean and deviation.
enum Channels {
    /// Those of an image of three axes.
    Image(Grid),
    /// In anything else every feature is its own channel.
    Features(usize),
}

impl Channels {
    fn of(input: &Modality) -> Self {
        match Grid::of(input) {
            Some(grid) if input.shape.len() == 3 => Self::Image(grid),
            _ => Self::Features(input.features()),
        }
    }

    const fn count(&self) -> usize {
        match self {
            Self::Image(grid) => grid.channels,
            Self::Features(features) => *features,
        }
    }

    /// Returns the channel of a feature.
    const fn at(&self, feature: usize) -> usize {
        match self {
            Self::Image(grid) => grid.channel_of(feature),
            Self::Features(_) => feature,
        }
    }
}

impl<N: Network> Network for Normalise<N> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.inner.forward(&query.with_x(self.prepared(&query.x)))
    }

    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        self.inner
            .penultimate(&query.with_x(self.prepared(&query.x)))
    }

    fn gives(&self) -> Needs {
        Network::gives(&self.inner)
    }

    fn cost(&self) -> u64 {
        self.inner.cost()
    }

    fn program(&self) -> Result<Program, String> {
        let program = self.inner.program()?;
        match self.maps.as_slice() {
            [Some((scale, mean, std))] => Ok(program.scaled(*scale, &host(mean), &host(std))),
            [None] => Ok(program),
            _ => Err("it has several inputs".into()),
        }
    }
}

impl<N: Network + Features> Features for Normalise<N> {
    fn taps(&self) -> Vec<String> {
        self.inner.taps()
    }

    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Tensor<2>>, ModelError> {
        self.inner
            .features(&query.with_x(self.prepared(&query.x)), taps)
    }

    fn cuts(&self) -> Vec<String> {
        self.inner.cuts()
    }

    fn head(&self, tap: &str) -> Result<Box<dyn Head + '_>, ModelError> {
        self.inner.head(tap)
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Bounds;

    use super::*;

    fn channels(kind: Kind, shape: &[usize]) -> Vec<usize> {
        let input = Modality {
            name: "x".into(),
            kind,
            shape: shape.to_vec(),
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let channels = Channels::of(&input);
        (0..input.features()).map(|f| channels.at(f)).collect()
    }

    #[test]
    fn channels_by_layout() {
        assert_eq!(
            channels(Kind::Image, &[3, 1, 2]),
            [0, 0, 1, 1, 2, 2],
            "the first axis"
        );
        assert_eq!(
            channels(Kind::Image, &[2, 1, 3]),
            [0, 1, 2, 0, 1, 2],
            "the last axis"
        );
        assert_eq!(channels(Kind::Image, &[8, 8, 3])[..4], [0, 1, 2, 0]);
        assert_eq!(channels(Kind::Image, &[1, 8, 8]), [0; 64]);
        assert_eq!(channels(Kind::Table, &[3]), [0, 1, 2]);
    }
}
