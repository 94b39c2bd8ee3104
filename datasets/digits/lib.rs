//! The files of this folder that proofmark carries inside its binary; `README.md` says what they are and where they are
//! from. A crate of its own, because a published crate can only embed what lies in its folder.

/// 1,797 images as bundled in scikit-learn: gzipped text, one line per image, 64 pixels and the class.
pub const TABLE: &[u8] = include_bytes!("digits.csv.gz");

/// Weights (safetensors) of the net trained as usual.
pub const STANDARD: &[u8] = include_bytes!("digits-standard.safetensors");

/// Weights (safetensors) of the net trained adversarially.
pub const ROBUST: &[u8] = include_bytes!("digits-robust.safetensors");
