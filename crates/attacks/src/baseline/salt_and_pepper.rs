//! Salt-and-pepper noise.
//!
//! # Idea
//! Imitate dead and stuck pixels: set a random share of the features to an end of their range.
//!
//! # Maths
//! With a random share `p` per draw, each feature is set with probability `p` to its lowest or highest allowed value;
//! the result is projected on the ball.
//!
//! # Reference
//! Foolbox, `SaltAndPepperNoiseAttack`.
//!
//! # Divergences
//! Stays within a budget (Foolbox minimises the change). For Linf it visits random corners of the cube, the strongest
//! noise there.
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
//! assert!(proofmark_attacks::build("salt-and-pepper", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, Meta, Needs};

use super::{Draws, NoiseKind};
use crate::config::read;

const META: Meta = Meta {
    id: "salt-and-pepper",
    version: 1,
    summary: "baseline: features pushed to an end of their range",
    role: Role::Baseline,
    needs: Needs::Decisions,
    norms: &Norm::ALL,
    reference: "Foolbox salt-and-pepper attack",
};

/// Registry entry of this baseline.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| {
        Ok(Box::new(
            read::<Draws>(META.id, table)?.build(&META, NoiseKind::SaltAndPepper)?,
        ))
    },
};
