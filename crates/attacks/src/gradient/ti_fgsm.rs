//! Translation-invariant momentum iterative FGSM with diverse inputs.
//!
//! # Idea
//! Smooth the gradient over neighbouring pixels: nearly the mean gradient over shifted copies of the image, so that the
//! change does not fit where one model looks. With momentum and diverse inputs, as by default, it is the usual combination
//! MI + DI + TI.
//!
//! # Maths
//! `m_{k+1} = μ m_k + W * g_k / |W * g_k|_1` with `g_k` as in DI-FGSM and `W` a Gaussian of `2k + 1` pixels a side and
//! deviation `k / √3`; `x_{k+1} = P(x_k + α_k u(m_{k+1}))`, `α_k` and `u` as in MI-FGSM.
//!
//! # Reference
//! Dong et al., "Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks", CVPR 2019,
//! equation 9 and section 4.1 (TI-DIM).
//!
//! # Divergences
//! The paper's kernel has 15 pixels on images of 299. A fixed 15, as in torchattacks, would average all of a small image, so
//! the default grows with the image: 3 pixels up to 79, 15 of 299. Beyond the edges the gradient is 0, as in reference code.
//! `diversity = 0` gives TI-MI-FGSM, `decay = 0` as well TI-FGSM. Otherwise as `di-fgsm`.
//!
//! # Cost
//! That of `di-fgsm`: `steps` forwards and backwards at the copies, as many forwards at the points themselves (except in a
//! transfer attack), and one forward to judge. With `diversity = 0`, `steps` forwards and backwards, and one to judge.
//!
//! # When it fails
//! On images of few pixels, where neighbouring pixels have gradients of their own, smoothing loses strength; on the
//! attacked model itself always.
//!
//! # Example
//! ```
//! let table: toml::Table = "kernel = 5\ndiversity = 0.0".parse().unwrap();
//! assert!(proofmark_attacks::build("ti-fgsm", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::Ascent;
use super::transfer::Parts;
use crate::config::read;
use crate::loss::LossKind;

/// Parameters of TI-FGSM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps, at least 1; default 10.
    pub steps: u32,
    /// Decay of the momentum (MI), at least 0; default 1.
    pub decay: f32,
    /// Probability that an image is shrunk and moved before its gradient is taken (DI), in [0, 1]; default 0.5.
    pub diversity: f32,
    /// Smallest size of a shrunk image, as a share of its side, above 0 and below 1; default 0.9.
    pub resize: f32,
    /// Side in pixels of the Gaussian that smooths the gradient (TI), odd; 1 for none, 0 for the odd number nearest to a
    /// twentieth of the image's shorter side, at least 3; default 0.
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
            decay: 1.0,
            diversity: 0.5,
            resize: 0.9,
            kernel: 0,
            step_size: None,
            loss: LossKind::Ce,
        }
    }
}

const META: Meta = Meta {
    id: "ti-fgsm",
    version: 1,
    summary: "momentum, diverse inputs and smoothed gradients together (MI + DI + TI), for transfer",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Dong et al. 2019, arXiv:1904.02884",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ascent, BuildError> {
        let parts = Parts {
            steps: self.steps,
            step_size: self.step_size,
            loss: self.loss,
            decay: self.decay,
            diversity: self.diversity,
            resize: self.resize,
            kernel: self.kernel,
        };
        parts.attack(&META, &self, None)
    }
}

/// Registry entry of TI-FGSM.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
