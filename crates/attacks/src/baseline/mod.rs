//! Attacks that know nothing about the model: a baseline that a strong attack must beat.

pub mod gaussian_noise;
mod noise;
pub mod salt_and_pepper;
pub mod uniform_noise;

pub use noise::{Draws, Noise, NoiseKind};
