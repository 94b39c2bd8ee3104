//! Losses that gradient attacks maximise, one file each.

mod cross_entropy;
mod dlr;
mod log_odds;
mod margin;

pub use cross_entropy::CrossEntropy;
pub use dlr::Dlr;
pub use log_odds::LogOdds;
pub use margin::Margin;
use proofmark_engine::Loss;
use serde::{Deserialize, Serialize};

/// Losses by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LossKind {
    /// [`CrossEntropy`].
    #[default]
    Ce,
    /// [`Margin`].
    Margin,
    /// [`Dlr`].
    Dlr,
}

impl LossKind {
    /// Returns the loss of this name.
    pub fn loss(self) -> Box<dyn Loss> {
        match self {
            Self::Ce => Box::new(CrossEntropy),
            Self::Margin => Box::new(Margin),
            Self::Dlr => Box::new(Dlr),
        }
    }
}
