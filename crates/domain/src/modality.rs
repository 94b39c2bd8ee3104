use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

/// Kind of signal that a block of features holds.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = String, parse_err_fn = unknown_kind)]
pub enum Kind {
    /// Pixels, per-sample shape `[c, h, w]` or `[h, w, c]` ([`Grid`](crate::Grid)).
    Image,
    /// A waveform, per-sample shape `[samples]`.
    Audio,
    /// Columns of a table, per-sample shape `[features]`.
    Table,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the kind's name on the command line, in policies and in reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn unknown_kind(text: &str) -> String {
    format!("kind `{text}`; expected image, audio or table")
}

/// Allowed values of the features, in data units: one pair for all, or one pair per feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    low: Vec<f32>,
    high: Vec<f32>,
}

/// Error for invalid bounds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundsError {
    /// A bound is NaN or infinite, or low is not below high.
    #[error("bounds {low},{high}{at}; expected two finite numbers, the first below the second", at = feature.map_or_else(String::new, |i| format!(" of feature {i}")))]
    Pair {
        /// The lower bound given.
        low: f32,
        /// The upper bound given.
        high: f32,
        /// Index of the feature, if bounds are per feature.
        feature: Option<usize>,
    },
    /// The numbers of lower and upper bounds differ, or both are 0.
    #[error(
        "bounds with {low} lower and {high} upper values; expected as many of each, at least one"
    )]
    Lengths {
        /// Number of lower bounds given.
        low: usize,
        /// Number of upper bounds given.
        high: usize,
    },
}

impl Bounds {
    /// Creates the same bounds for every feature.
    pub fn uniform(low: f32, high: f32) -> Result<Self, BoundsError> {
        check(low, high, None)?;
        Ok(Self {
            low: vec![low],
            high: vec![high],
        })
    }

    /// Creates one pair of bounds per feature.
    pub fn per_feature(low: Vec<f32>, high: Vec<f32>) -> Result<Self, BoundsError> {
        if low.len() != high.len() || low.is_empty() {
            return Err(BoundsError::Lengths {
                low: low.len(),
                high: high.len(),
            });
        }
        for (i, (l, h)) in low.iter().zip(&high).enumerate() {
            check(*l, *h, Some(i))?;
        }
        Ok(Self { low, high })
    }

    /// Returns the lower bound of a feature.
    pub fn low(&self, feature: usize) -> f32 {
        self.low[if self.low.len() == 1 { 0 } else { feature }]
    }

    /// Returns the upper bound of a feature.
    pub fn high(&self, feature: usize) -> f32 {
        self.high[if self.high.len() == 1 { 0 } else { feature }]
    }

    /// Returns the number of features these bounds are for; `None` if they fit any number.
    pub fn features(&self) -> Option<usize> {
        (self.low.len() > 1).then_some(self.low.len())
    }

    /// Returns the index of the first value out of bounds; NaN is out of bounds. `values` holds rows one after the
    /// other; per-feature bounds must cover exactly one row.
    pub fn first_outside(&self, values: &[f32]) -> Option<usize> {
        let features = self.low.len();
        let inside =
            |i: usize, v: f32| (self.low(i % features)..=self.high(i % features)).contains(&v);
        (values.iter().enumerate()).find_map(|(i, v)| (!inside(i, *v)).then_some(i))
    }

    /// Returns the widest range of any feature: the Linf budget that allows every change within the bounds.
    pub fn widest(&self) -> f32 {
        self.low
            .iter()
            .zip(&self.high)
            .map(|(l, h)| h - l)
            .fold(0.0, f32::max)
    }
}

fn check(low: f32, high: f32, feature: Option<usize>) -> Result<(), BoundsError> {
    if low.is_finite() && high.is_finite() && low < high {
        Ok(())
    } else {
        Err(BoundsError::Pair { low, high, feature })
    }
}

/// One input of a model: its name, kind, per-sample shape and the values it may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Modality {
    /// Name on the command line (`--eps audio=0.01`).
    pub name: String,
    /// Kind of signal.
    pub kind: Kind,
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Allowed values of its features.
    pub bounds: Bounds,
}

impl Modality {
    /// Returns the number of features of one sample.
    pub fn features(&self) -> usize {
        self.shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked() {
        assert!(Bounds::uniform(0.0, 1.0).is_ok());
        for (l, h) in [
            (1.0, 0.0),
            (0.0, 0.0),
            (f32::NAN, 1.0),
            (0.0, f32::INFINITY),
        ] {
            assert!(Bounds::uniform(l, h).is_err());
        }
        let b = Bounds::per_feature(vec![0.0, -1.0], vec![1.0, 3.0]).unwrap();
        assert_eq!(
            (b.low(1), b.high(1), b.widest(), b.features()),
            (-1.0, 3.0, 4.0, Some(2))
        );
        assert!(Bounds::per_feature(vec![0.0], vec![]).is_err());
    }
}
