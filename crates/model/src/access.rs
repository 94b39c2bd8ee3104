use std::fmt;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};
use proofmark_domain::{Modality, Needs, TrustFlag};
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
    /// Number of values that one sample has and makes on its way to the scores, where they can be seen.
    pub activations: Option<usize>,
    /// The device it runs on; points are put there before it is asked.
    pub device: Device,
    /// Trust codes that follow from what it is, before anything is measured.
    pub stated: Vec<TrustFlag>,
}

impl Signature {
    /// The signature of a model that takes any numbers within bounds, without a digest.
    pub fn new(
        name: impl Into<String>,
        modalities: impl Into<Arc<[Modality]>>,
        classes: usize,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let (name, modalities) = (name.into(), modalities.into());
        let problem = if classes < 2 {
            Some(format!("{classes} classes; expected at least 2"))
        } else if modalities.is_empty() {
            Some("no inputs; expected at least one".to_owned())
        } else {
            modalities.iter().find_map(|m| {
                if m.features() == 0 {
                    return Some(format!(
                        "input `{}` of shape {:?} has no features",
                        m.name, m.shape
                    ));
                }
                m.bounds.features().filter(|f| *f != m.features()).map(|f| {
                    format!(
                        "input `{}` has {} features but bounds for {f}",
                        m.name,
                        m.features()
                    )
                })
            })
        };
        if let Some(problem) = problem {
            return Err(ModelError::Signature {
                model: name,
                problem,
            });
        }
        Ok(Self {
            name,
            numbers: vec![Numbers::Real; modalities.len()],
            modalities,
            classes,
            sha256: String::new(),
            parameters: None,
            activations: None,
            device: device.clone().without_autodiff(),
            stated: Vec::new(),
        })
    }
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

    /// Itself, as the most it can be asked for: a model that implements [`GradientModel`] says `Access::Gradients(self)`,
    /// one that stops at [`ScoreModel`] says `Access::Scores(self)`, any other `Access::Decisions(self)`.
    fn access(&self) -> Access<'_>;

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

/// What a run may ask of a model: the most it gives, or less on purpose.
///
/// A reference to any model becomes its [`DecisionModel::access`].
#[derive(Clone, Copy)]
pub enum Access<'a> {
    /// Decisions only.
    Decisions(&'a dyn DecisionModel),
    /// Scores too.
    Scores(&'a dyn ScoreModel),
    /// Gradients too.
    Gradients(&'a dyn GradientModel),
}

impl<'a, M: DecisionModel + ?Sized> From<&'a M> for Access<'a> {
    fn from(model: &'a M) -> Self {
        model.access()
    }
}

impl fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.decisions().signature().name;
        write!(f, "{} of `{name}`", self.gives())
    }
}

impl<'a> Access<'a> {
    /// How much may be asked.
    pub const fn gives(self) -> Needs {
        match self {
            Self::Decisions(_) => Needs::Decisions,
            Self::Scores(_) => Needs::Scores,
            Self::Gradients(_) => Needs::Gradients,
        }
    }

    /// What is known of the model before asking.
    pub fn signature(self) -> &'a Signature {
        self.decisions().signature()
    }

    /// The model as one that decides.
    pub fn decisions(self) -> &'a dyn DecisionModel {
        match self {
            Self::Decisions(m) => m,
            Self::Scores(m) => m,
            Self::Gradients(m) => m,
        }
    }

    /// The model as one that scores, or an error naming the attack.
    pub fn scores(self, attack: &str) -> Result<&'a dyn ScoreModel, ModelError> {
        match self {
            Self::Decisions(_) => Err(self.missing(attack, Needs::Scores)),
            Self::Scores(m) => Ok(m),
            Self::Gradients(m) => Ok(m),
        }
    }

    /// The model as one that gives gradients, or an error naming the attack.
    pub fn gradients(self, attack: &str) -> Result<&'a dyn GradientModel, ModelError> {
        match self {
            Self::Gradients(m) => Ok(m),
            _ => Err(self.missing(attack, Needs::Gradients)),
        }
    }

    /// An error naming the attack if it needs more than the model gives.
    pub fn require(self, attack: &str, needs: Needs) -> Result<(), ModelError> {
        if needs > self.gives() {
            return Err(self.missing(attack, needs));
        }
        Ok(())
    }

    fn missing(self, attack: &str, needs: Needs) -> ModelError {
        ModelError::Access {
            attack: attack.to_owned(),
            needs,
            model: self.signature().name.clone(),
            gives: self.gives(),
        }
    }
}

/// A model whose inner layers can be read, for backdoor probes.
pub trait Features: DecisionModel {
    /// Names of the layers that can be read.
    fn taps(&self) -> Vec<String>;

    /// Activations `[q, width]` at the named layers, in the order asked.
    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Tensor<2>>, ModelError>;
}

/// A white box: gradients and inner layers. What a Burn module or an ONNX file gives.
pub trait WhiteBox: GradientModel + Features {}

impl<M: GradientModel + Features + ?Sized> WhiteBox for M {}
