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
    /// Rounds the input to 8 bits and passes the gradient straight through.
    StraightThrough,
    /// Rounds the logits to whole numbers and passes the gradient straight through.
    RoundedLogits,
    /// Ranks the class that wins third (`AutoAttack` issue 108): the difference of logits ratio is constant there.
    WinnerThird,
    /// Gives the classes that do not win equal logits: the difference of logits ratio is constant.
    EqualRivals,
    /// Turns the gradient round: attacks go the wrong way.
    ReversedGradient,
}

impl Mask {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::GradientKiller,
        Self::Quantiser,
        Self::Softmax,
        Self::ScaledLogits,
        Self::DropoutOn,
        Self::StraightThrough,
        Self::RoundedLogits,
        Self::WinnerThird,
        Self::EqualRivals,
        Self::ReversedGradient,
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
        let scores = self.inner.forward(&self.masked(query))?;
        Ok(match self.mask {
            Mask::Softmax => activation::softmax(scores, 1),
            Mask::ScaledLogits => scores * 1000.0,
            Mask::RoundedLogits => straight_through(&scores, Tensor::round),
            Mask::WinnerThird => {
                let wins = scores.clone().greater_equal(ranked(&scores, 0));
                let between = (ranked(&scores, 2) + ranked(&scores, 3)) * 0.5;
                let between = between.expand(scores.dims());
                scores.mask_where(wins, between)
            }
            Mask::EqualRivals => {
                let wins = scores.clone().greater_equal(ranked(&scores, 0));
                let second = ranked(&scores, 1);
                let rivals = second.expand(scores.dims());
                rivals.mask_where(wins, scores)
            }
            _ => scores,
        })
    }

    /// The masks of the input are in front of every layer; those of the scores are behind all of them.
    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        self.inner.penultimate(&self.masked(query))
    }
}

/// Returns `round(x)` with the gradient of `x`.
fn straight_through(x: &Tensor<2>, round: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
    x.clone() + (round(x.clone()) - x.clone()).detach()
}

/// Returns the score at a rank of each row, 0 for the highest, `[rows, 1]`.
fn ranked(scores: &Tensor<2>, rank: usize) -> Tensor<2> {
    let order = scores.clone().inner().argsort_descending(1);
    let at = order.slice([0..scores.dims()[0], rank..rank + 1]);
    scores.clone().gather(1, at)
}

impl<N: Network> Masked<N> {
    /// Returns the query behind a mask of the input.
    fn masked(&self, query: &Query) -> Query {
        let through = |f: &dyn Fn(Tensor<2>) -> Tensor<2>| query.with_x(query.x.map(f));
        let eight_bits = |x: Tensor<2>| (x * 255.0).round() / 255.0;
        match self.mask {
            Mask::GradientKiller => through(&|x| x.detach()),
            Mask::Quantiser => through(&eight_bits),
            Mask::StraightThrough => through(&|x| straight_through(&x, eight_bits)),
            // The same value, with minus its gradient.
            Mask::ReversedGradient => through(&|x| (x.clone() * 2.0).detach() - x),
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
            _ => query.clone(),
        }
    }
}
