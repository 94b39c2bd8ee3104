//! Momentum iterative FGSM with diverse inputs.
//!
//! # Idea
//! Take the gradient at a randomly shrunk and moved copy of the image, anew at every step, so that the change does not fit
//! the pixel grid of one model. The points transfer better to other models.
//!
//! # Maths
//! `m_{k+1} = μ m_k + T_kᵀ g_k / |T_kᵀ g_k|_1`, `g_k = ∇ℓ(T_k x_k)`, `x_{k+1} = P(x_k + α_k u(m_{k+1}))`. `T_k` is the
//! identity with probability `1 − p`, otherwise it shrinks the image by bilinear interpolation to a side drawn uniformly
//! from `⌊0.9 s⌋` to `s − 1` pixels and puts it at a random place of an empty image of `s` pixels. `α_k` and `u` as in
//! MI-FGSM. With `kernel` the gradient is convolved with a Gaussian first, as in TI-FGSM.
//!
//! # Reference
//! Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019, algorithm 1 (M-DI²-FGSM).
//!
//! # Divergences
//! The paper enlarges an image of 299 pixels to at most 330, which only models of any input size take; as in torchattacks
//! it is shrunk instead. The paper interpolates to the nearest pixel, torchattacks bilinearly. Empty pixels are 0, or the
//! number within the bounds that is nearest to it. The paper's DI²-FGSM has no momentum (`decay = 0`). Step lengths are
//! those of `mi-fgsm`. A multi-channel image keeps its proportions. Every point on the path counts, not only the last,
//! unless it is a transfer attack (`docs/surrogates.md`).
//!
//! # Cost
//! `steps` forwards and backwards at the copies, as many forwards at the points themselves, and one forward to judge. With
//! a surrogate the former are its own; a transfer attack saves the forwards at the points.
//!
//! # When it fails
//! On the attacked model itself `pgd` is as strong, and cheaper. On images of few pixels a shift by one pixel changes the
//! class, and copies mislead.
//!
//! # Example
//! ```
//! let table: toml::Table = "diversity = 0.7\nkernel = 3".parse().unwrap();
//! assert!(proofmark_attacks::build("di-fgsm", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::Ascent;
use super::transfer::Parts;
use crate::config::read;
use crate::loss::LossKind;

/// Parameters of DI-FGSM.
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
            decay: 1.0,
            diversity: 0.5,
            resize: 0.9,
            kernel: 1,
            step_size: None,
            loss: LossKind::Ce,
        }
    }
}

const META: Meta = Meta {
    id: "di-fgsm",
    version: 1,
    summary: "momentum iterative FGSM at shrunk and moved copies, for transfer",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Xie et al. 2019, arXiv:1803.06978",
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

/// Registry entry of DI-FGSM.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
