mod eot;
mod normalise;

pub use eot::{Eot, GaussianNoise, Transform};
pub use normalise::Normalise;
