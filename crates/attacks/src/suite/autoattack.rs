//! `AutoAttack`: the field's standard suite, faithful to the published algorithms.
//!
//! # Idea
//! Attacks that fail for different reasons, without parameters to tune, each on the samples that are left: two gradient
//! attacks of which one looks at classes in turn, a minimum-norm attack, and one that uses no gradients.
//!
//! # Maths
//! A sample is robust if no member breaks it. `version` selects the members:
//!
//! | version | members |
//! |---|---|
//! | `standard` (Linf, L2) | APGD on cross-entropy; APGD towards 9 classes; FAB towards 9 classes; Square with 5,000 queries |
//! | `l1` (L1) | the same in L1: APGD with 5 restarts and towards 5 classes, both in shrinking balls |
//! | `plus` (Linf, L2) | APGD on cross-entropy and on the difference of logits ratio, 5 restarts each; FAB with 5 restarts; Square; APGD and FAB towards 9 classes |
//! | `rand` (Linf, L2) | APGD on both losses, each gradient the mean over 20 draws of the model's randomness |
//!
//! # Reference
//! Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
//! ICML 2020; for L1 "Mind the box: L1-APGD for sparse adversarial attacks on image classifiers", ICML 2021. Members and
//! parameters are those of `AutoAttack` by the authors.
//!
//! # Divergences
//! In the authors' code random starts depend on the batch that a sample is in, as the seed is set per batch; here they
//! depend on the sample alone. Square draws one window and sign for a whole batch there, and never one that reaches the
//! last row or column; here every sample has its own, and all are reached. With `rand` their success and best loss are
//! those of the last draw; here those of all. The number of classes decides over losses and targets (there fewer than
//! four or ten of them are an error or a warning). Every returned point is measured again. Each member's file lists its
//! own divergences.
//!
//! # Cost
//! A sample that survives everything costs about 7,800 forwards and 1,900 backwards with ten classes, two thirds of the
//! forwards in Square.
//!
//! # When it fails
//! Against defences that adapt to it, and where a sample needs an attack that knows the defence: 24 models on
//! `RobustBench` have fallen further since. It has no say on randomised models unless `version` is `rand`.
//!
//! # Example
//! ```
//! let suite = proofmark_attacks::build("autoattack", &toml::Table::new()).unwrap();
//! let members: Vec<&str> = suite.members().iter().map(|m| m.meta().id).collect();
//! assert_eq!(members, ["apgd", "apgd-t", "fab-t", "square"]);
//! assert_eq!(suite.meta().id, "autoattack-1");
//! ```

use proofmark_domain::{Needs, Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta};
use serde::{Deserialize, Serialize};

use super::Suite;
use crate::config::{read, written};

/// Parameters of `AutoAttack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The members: `standard`, `l1`, `plus` or `rand`; default `standard`.
    pub version: Version,
}

/// Which members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Version {
    /// The four of leaderboards, Linf and L2.
    #[default]
    Standard,
    /// The four of leaderboards, L1.
    L1,
    /// Six, with restarts.
    Plus,
    /// For models that draw random numbers.
    Rand,
}

const META: Meta = Meta {
    id: "autoattack-1",
    version: 1,
    summary: "AutoAttack: APGD, targeted APGD, FAB and Square, each on what is left",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2],
    reference: "Croce and Hein 2020, arXiv:2003.01690",
};

const ON_L1: Meta = Meta {
    norms: &[Norm::L1],
    reference: "Croce and Hein 2021, arXiv:2103.01208",
    ..META
};

/// Ids of members, with parameters in TOML. All that leaderboards depend on is written out.
type Members = &'static [(&'static str, &'static str)];

const STANDARD: Members = &[
    ("apgd", "loss = \"ce\"\nsteps = 100\nrestarts = 1"),
    ("apgd-t", "targets = 9\nsteps = 100\nrestarts = 1"),
    ("fab-t", "targets = 9\nsteps = 100\nrestarts = 1"),
    ("square", "queries = 5000"),
];

const L1: Members = &[
    (
        "apgd",
        "loss = \"ce\"\nsteps = 100\nrestarts = 5\nlarge_radii = true",
    ),
    (
        "apgd-t",
        "targets = 5\nsteps = 100\nrestarts = 1\nlarge_radii = true",
    ),
    ("fab-t", "targets = 9\nsteps = 100\nrestarts = 1"),
    ("square", "queries = 5000"),
];

const PLUS: Members = &[
    ("apgd", "loss = \"ce\"\nsteps = 100\nrestarts = 5"),
    ("apgd", "loss = \"dlr\"\nsteps = 100\nrestarts = 5"),
    ("fab", "steps = 100\nrestarts = 5"),
    ("square", "queries = 5000"),
    ("apgd-t", "targets = 9\nsteps = 100\nrestarts = 1"),
    ("fab-t", "targets = 9\nsteps = 100\nrestarts = 1"),
];

const RAND: Members = &[
    ("apgd", "loss = \"ce\"\nsteps = 100\nrestarts = 1\neot = 20"),
    (
        "apgd",
        "loss = \"dlr\"\nsteps = 100\nrestarts = 1\neot = 20",
    ),
];

impl Config {
    /// Builds the suite.
    pub fn build(self) -> Result<Suite, BuildError> {
        let (meta, members) = match self.version {
            Version::Standard => (&META, STANDARD),
            Version::L1 => (&ON_L1, L1),
            Version::Plus => (&META, PLUS),
            Version::Rand => (&META, RAND),
        };
        let also = match self.version {
            Version::L1 => "; version = \"standard\" supports linf and l2",
            _ => "; version = \"l1\" supports l1",
        };
        Ok(Suite::fixed(meta, written(&self), members)?.also(also))
    }
}

/// Registry entry of `AutoAttack`.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
