//! Momentum iterative FGSM at mixtures with samples of other classes.
//!
//! # Idea
//! Take the gradient at copies of the sample with a share of another class's sample mixed in, each at several brightnesses,
//! so that the change does not rest on features that one model happens to read. The label stays that of the sample.
//!
//! # Maths
//! `g_k = 1/(m_1 m_2) Σ_{x'} Σ_{i<m_1} ∇_x ℓ(2^-i (x + η x'))` at `x = x_k`, over `m_2` samples `x'` of other classes,
//! drawn anew at every step; then momentum and a step as in MI-FGSM.
//!
//! # Reference
//! Wang et al., "Admix: Enhancing the Transferability of Adversarial Attacks", ICCV 2021, algorithm 1.
//!
//! # Divergences
//! The samples mixed in are drawn from the first 128 of the run's seeded order, so that batches and shards change nothing;
//! reference code takes those of the batch, of the same class too. If classes are the model's own predictions, any other
//! sample is taken. Mixed copies may leave the bounds, as in the paper. `share = 0` with `mixed = 1` is SI-MI-FGSM (Lin et
//! al. 2020, without its Nesterov step). Step lengths are those of `mi-fgsm`. Every point on the path counts, not only the
//! last, unless it is a transfer attack (`docs/surrogates.md`).
//!
//! # Cost
//! `mixed × scales × steps` forwards and backwards at the copies, `steps` forwards at the points themselves (except in a
//! transfer attack), and one forward to judge.
//!
//! # When it fails
//! On the attacked model itself `pgd` is stronger for a fifteenth of the cost. Where brightness decides the class, as in
//! tables, darker copies mislead (`scales = 1`).
//!
//! # Example
//! ```
//! let table: toml::Table = "mixed = 2\nscales = 3\ndiversity = 0.5\nkernel = 3".parse().unwrap();
//! assert!(proofmark_attacks::build("admix", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::Ascent;
use super::transfer::Parts;
use crate::config::{not_negative, read, require};
use crate::loss::LossKind;
use crate::view::Mixed;

/// Parameters of Admix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps, at least 1; default 10.
    pub steps: u32,
    /// Samples of other classes mixed in at each step, one per copy, 1 to 100; default 3.
    pub mixed: u32,
    /// Share of the other sample, at least 0; default 0.2.
    pub share: f32,
    /// Brightnesses of each mixture, each half the one before, 1 to 16; default 5.
    pub scales: u32,
    /// Decay of the momentum (MI), at least 0; default 1.
    pub decay: f32,
    /// Probability that an image is shrunk and moved before its gradient is taken (DI), in [0, 1]; default 0.
    pub diversity: f32,
    /// Smallest size of a shrunk image, as a share of its side, above 0 and below 1; default 0.9.
    pub resize: f32,
    /// Side in pixels of the Gaussian that smooths the gradient (TI), odd; 1 for none, 0 for the odd number nearest to a
    /// twentieth of the image's shorter side, at least 3; default 1.
    pub kernel: u32,
    /// Constant step length in data units (of the first modality that may change), above 0. Without it, steps fall
    /// quadratically from 4·eps to 4·eps/steps².
    pub step_size: Option<f64>,
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 10,
            mixed: 3,
            share: 0.2,
            scales: 5,
            decay: 1.0,
            diversity: 0.0,
            resize: 0.9,
            kernel: 1,
            step_size: None,
            loss: LossKind::Ce,
        }
    }
}

const META: Meta = Meta {
    id: "admix",
    version: 1,
    summary: "momentum iterative FGSM at mixtures with other samples, for transfer",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Wang et al. 2021, arXiv:2102.00436",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ascent, BuildError> {
        let within = |field, given: u32, most: u32| {
            let expected = format!("1 to {most}");
            require(
                (1..=most).contains(&given),
                META.id,
                field,
                given,
                &expected,
            )
        };
        within("mixed", self.mixed, 100)?;
        within("scales", self.scales, 16)?;
        not_negative(META.id, "share", self.share)?;
        let mixed = Mixed {
            samples: self.mixed,
            share: self.share,
            scales: self.scales,
        };
        let parts = Parts {
            steps: self.steps,
            step_size: self.step_size,
            loss: self.loss,
            decay: self.decay,
            diversity: self.diversity,
            resize: self.resize,
            kernel: self.kernel,
        };
        parts.attack(&META, &self, Some(Box::new(mixed)))
    }
}

/// Registry entry of Admix.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
