//! Salt-and-pepper noise.
//!
//! # Idea
//! Dead and stuck pixels: a random share of the features goes to an end of its range.
//!
//! # Maths
//! With a random share `p` per draw, each feature goes with probability `p` to its lowest or highest allowed value; the result is projected on the ball.
//!
//! # Reference
//! Foolbox, `SaltAndPepperNoiseAttack`.
//!
//! # Divergences
//! Within a budget (Foolbox minimises the change); for Linf it visits random corners of the cube, the strongest noise there.
//!
//! # Cost
//! `draws` forwards per surviving sample, and one to judge what was found; no gradients.
//!
//! # When it fails
//! Nearly always, in high dimension: that is its use. A gradient attack that finds less is broken.
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

/// This baseline in the list of attacks.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| {
        Ok(Box::new(
            read::<Draws>(META.id, table)?.build(&META, NoiseKind::SaltAndPepper)?,
        ))
    },
};
