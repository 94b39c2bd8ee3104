mod binarised;
mod bpda;
mod ensemble;
mod eot;
mod mapped;
mod mean_loss;
mod normalise;
mod surrogate;

pub use binarised::{Binarised, Head};
pub use bpda::{Bpda, levels};
pub use ensemble::{Average, Ensemble};
pub use eot::{Eot, GaussianNoise, Transform};
pub use mapped::Mapped;
pub use mean_loss::MeanLoss;
pub use normalise::Normalise;
pub use surrogate::{Call, Surrogate};
