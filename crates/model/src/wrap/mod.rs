mod binarised;
mod eot;
mod normalise;

pub use binarised::{Binarised, Head};
pub use eot::{Eot, GaussianNoise, Transform};
pub use normalise::Normalise;
