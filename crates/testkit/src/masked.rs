//! Models that look robust but are not: each wrapper misleads an evaluation in one known way.

use burn::tensor::{Distribution, Tensor, activation};
use proofmark_model::{ModelError, Network, Query, Signature};

/// Ways to mislead an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Cuts the graph: every gradient is zero (`AutoAttack` issue 43).
    GradientKiller,
    /// Rounds the input to 8 bits: zero gradient almost everywhere.
    Quantiser,
    /// Returns probabilities where logits are expected (Foolbox issue 108).
    Softmax,
    /// Multiplies the logits by 1000: cross-entropy saturates.
    ScaledLogits,
    /// Leaves dropout on: every call gives another answer.
    DropoutOn,
}

impl Mask {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::GradientKiller,
        Self::Quantiser,
        Self::Softmax,
        Self::ScaledLogits,
        Self::DropoutOn,
    ];
}

/// A model behind a [`Mask`].
#[derive(Debug)]
pub struct Masked<N> {
    inner: N,
    mask: Mask,
    signature: Signature,
}

impl<N: Network> Masked<N> {
    /// Wraps `inner`.
    pub fn new(inner: N, mask: Mask) -> Self {
        let mut signature = inner.signature().clone();
        signature.name = format!("{}+{mask:?}", signature.name);
        Self {
            inner,
            mask,
            signature,
        }
    }
}

/// Share of inputs that [`Mask::DropoutOn`] drops.
const DROPPED: f64 = 0.1;

impl<N: Network> Network for Masked<N> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let through =
            |f: &dyn Fn(Tensor<2>) -> Tensor<2>| self.inner.forward(&query.with_x(query.x.map(f)));
        match self.mask {
            Mask::GradientKiller => through(&|x| x.detach()),
            Mask::Quantiser => through(&|x| (x * 255.0).round() / 255.0),
            Mask::Softmax => Ok(activation::softmax(self.inner.forward(query)?, 1)),
            Mask::ScaledLogits => Ok(self.inner.forward(query)? * 1000.0),
            Mask::DropoutOn => through(&|x| {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "an uncontrolled random model is the point"
                )]
                let keep = Tensor::<2>::random(
                    x.dims(),
                    Distribution::Bernoulli(1.0 - DROPPED),
                    &x.device(),
                );
                x * keep / (1.0 - DROPPED)
            }),
        }
    }
}
