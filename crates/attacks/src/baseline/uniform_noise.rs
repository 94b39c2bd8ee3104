//! Uniform noise.
//!
//! # Idea
//! Try random points of the ball, without any knowledge of the model.
//!
//! # Maths
//! Linf: `x + U[-ε, ε]` per feature, clipped to the bounds; L2 and L1: uniform in the ball, projected; L0: random
//! values on `⌊ε⌋` random features.
//!
//! # Reference
//! Foolbox, `LinfAdditiveUniformNoiseAttack` and its L2 sibling.
//!
//! # Divergences
//! For L2 and L1 it draws uniformly in the ball; Foolbox scales a uniform cube to the sphere.
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
//! assert!(proofmark_attacks::build("uniform-noise", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, Meta, Needs};

use super::{Draws, NoiseKind};
use crate::config::read;

const META: Meta = Meta {
    id: "uniform-noise",
    version: 1,
    summary: "baseline: uniform points of the ball",
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
            read::<Draws>(META.id, table)?.build(&META, NoiseKind::Uniform)?,
        ))
    },
};
