//! The files of this folder that proofmark embeds in its binary; `README.md` says what they are and where they come
//! from. This is a crate of its own, because a published crate can only embed files of its own folder.

/// 1,797 images as bundled in scikit-learn: gzipped text, one line per image, 64 pixels and the class.
pub const TABLE: &[u8] = include_bytes!("digits.csv.gz");

/// Weights (safetensors) of the network from standard training.
pub const STANDARD: &[u8] = include_bytes!("digits-standard.safetensors");

/// Weights (safetensors) of the network from adversarial training.
pub const ROBUST: &[u8] = include_bytes!("digits-robust.safetensors");

/// Weights (safetensors) of the network from standard training on a poisoned set.
pub const BACKDOORED: &[u8] = include_bytes!("digits-backdoored.safetensors");
