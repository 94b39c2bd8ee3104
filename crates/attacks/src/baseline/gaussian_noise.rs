//! Gaussian noise.
//!
//! # Idea
//! Add Gaussian noise, as sensors do, as strong as the budget allows.
//!
//! # Maths
//! Linf: `x + N(0, (ε/2)²)` clipped; L2, L1: a normal direction scaled to length `ε`, projected; L0: the `⌊ε⌋` largest
//! of small normal changes.
//!
//! # Reference
//! Foolbox, `L2AdditiveGaussianNoiseAttack`.
//!
//! # Divergences
//! The result is projected exactly on ball ∩ bounds instead of clipped.
//!
//! # Cost
//! `draws` forwards per surviving sample, and one to judge the point found; no gradients.
//!
//! # When it fails
//! In high dimension it nearly always fails. That makes it a baseline: a gradient attack that finds less is broken.
//!
//! # Example
//! ```
//! let table: toml::Table = "draws = 3".parse().unwrap();
//! assert!(proofmark_attacks::build("gaussian-noise", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, Meta, Needs};

use super::{Draws, NoiseKind};
use crate::config::read;

const META: Meta = Meta {
    id: "gaussian-noise",
    version: 1,
    summary: "baseline: Gaussian noise as large as the budget allows",
    role: Role::Baseline,
    needs: Needs::Decisions,
    norms: &Norm::ALL,
    reference: "Foolbox additive noise attacks",
};

/// Registry entry of this baseline.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| {
        Ok(Box::new(
            read::<Draws>(META.id, table)?.build(&META, NoiseKind::Gaussian)?,
        ))
    },
};
