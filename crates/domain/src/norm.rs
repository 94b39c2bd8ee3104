use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use crate::nearest;

/// Norm of the perturbation `x - x0` that the budget bounds.
///
/// ```
/// use proofmark_domain::Norm;
/// assert_eq!("linf".parse::<Norm>().unwrap(), Norm::Linf);
/// assert_eq!(Norm::L2.to_string(), "l2");
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Norm {
    /// Largest absolute change of any feature.
    Linf,
    /// Euclidean length of the change.
    L2,
    /// Sum of absolute changes.
    L1,
    /// Number of features changed.
    L0,
}

impl Norm {
    /// Every norm, in the order they are listed to users.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the norm's name on the command line, in policies and in reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Computes the norm of a perturbation, in `f64`.
    pub fn of(self, delta: impl Iterator<Item = f64>) -> f64 {
        match self {
            // `f64::max` drops a NaN, which would make a NaN perturbation look small.
            Self::Linf => delta.fold(0.0, |m, d| {
                if d.is_nan() || m.is_nan() {
                    f64::NAN
                } else {
                    m.max(d.abs())
                }
            }),
            Self::L2 => delta.map(|d| d * d).sum::<f64>().sqrt(),
            Self::L1 => delta.map(f64::abs).sum(),
            Self::L0 => delta.filter(|d| *d != 0.0).count() as f64,
        }
    }
}

/// Error for an unknown norm name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown norm `{given}`{hint}; expected one of linf, l2, l1, l0", hint = nearest::hint(.given, Norm::ALL.map(Norm::as_str)))]
pub struct NormError {
    given: String,
}

impl FromStr for Norm {
    type Err = NormError;

    fn from_str(s: &str) -> Result<Self, NormError> {
        let name = s.trim().to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|n| n.as_str() == name)
            .ok_or_else(|| NormError {
                given: s.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_of_a_small_vector() {
        let d = [3.0, 0.0, -4.0];
        let of = |n: Norm| n.of(d.into_iter());
        assert_eq!(
            (of(Norm::Linf), of(Norm::L2), of(Norm::L1), of(Norm::L0)),
            (4.0, 5.0, 7.0, 2.0)
        );
        assert!(Norm::Linf.of([f64::NAN, 1.0].into_iter()).is_nan());
        assert!(Norm::Linf.of([1.0, f64::NAN, 1.0].into_iter()).is_nan());
    }

    #[test]
    fn an_unknown_norm_error_suggests_the_nearest_name() {
        let e = "linff".parse::<Norm>().unwrap_err().to_string();
        assert!(e.contains("did you mean `linf`"), "{e}");
    }
}
