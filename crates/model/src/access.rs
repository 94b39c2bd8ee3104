use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};
use proofmark_domain::{Modality, TrustFlag};
use proofmark_threat::Batch;

use crate::{ModelError, Query};

/// Which numbers an input takes, and whether an attack may change them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Numbers {
    /// Any number within the bounds.
    #[default]
    Real,
    /// Whole numbers from `low` to `high`. Points between them are rounded by the model.
    Whole {
        /// The lowest.
        low: f32,
        /// The highest.
        high: f32,
    },
    /// Whole numbers from `low` to `high` that stand for something else (a mask, a place in a table): no attack may
    /// change them.
    Fixed {
        /// The lowest.
        low: f32,
        /// The highest.
        high: f32,
    },
}

/// What is known of a model before asking it anything.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Its name in messages and reports.
    pub name: String,
    /// Its inputs, in the order of a [`Batch`]'s blocks.
    pub modalities: Arc<[Modality]>,
    /// Which numbers each input takes.
    pub numbers: Vec<Numbers>,
    /// Number of classes it tells apart, at least 2.
    pub classes: usize,
    /// Hex sha256 over weights (modules, files) or behaviour (closures).
    pub sha256: String,
    /// Number of parameters, where they can be seen.
    pub parameters: Option<usize>,
    /// The device it runs on; points are put there before it is asked.
    pub device: Device,
    /// Trust codes that follow from what it is, before anything is measured.
    pub stated: Vec<TrustFlag>,
}

/// A model's answer.
///
/// Exhaustive on purpose: a new kind of answer does not compile until every place that judges answers decides on it.
#[derive(Debug, Clone)]
pub enum Output {
    /// The class of each point, `[q]`.
    Labels(Tensor<1, Int>),
    /// A score (logit) per point and class, `[q, classes]`; larger wins.
    Scores(Tensor<2>),
}

/// A model that decides.
pub trait DecisionModel: Send + Sync {
    /// What is known of it before asking.
    fn signature(&self) -> &Signature;

    /// Its decision for each point; models with scores may return those.
    fn decide(&self, query: &Query) -> Result<Output, ModelError>;

    /// Sample-forwards one point costs (wrappers that average over draws cost more than one).
    fn cost(&self) -> u64 {
        1
    }
}

/// A model that gives scores.
pub trait ScoreModel: DecisionModel {
    /// Scores `[q, classes]`.
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError>;
}

/// What an attack climbs: from tracked scores `[q, classes]` and tracked points to one value per point, `[q]`.
pub type Objective<'a> = dyn Fn(&Tensor<2>, &Batch) -> Tensor<1> + 'a;

/// Scores, objective and its gradient at the points of a query; nothing tracked.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// Scores `[q, classes]`.
    pub scores: Tensor<2>,
    /// Objective `[q]`.
    pub loss: Tensor<1>,
    /// Its gradient with respect to each point.
    pub gradient: Batch,
}

/// A model that gives gradients of any objective with respect to its input (never its weights).
pub trait GradientModel: ScoreModel {
    /// The objective's gradient at each point. Points are independent: the sum over points is
    /// differentiated, which equals each point's own gradient when no point leaks into another.
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError>;
}

/// A model whose inner layers can be read, for backdoor probes.
pub trait Features: DecisionModel {
    /// Names of the layers that can be read.
    fn taps(&self) -> Vec<String>;

    /// Activations `[q, width]` at the named layers, in the order asked.
    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Tensor<2>>, ModelError>;
}
