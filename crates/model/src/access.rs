use std::fmt;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};
use proofmark_domain::{Modality, ModelPart, Needs, TrustFlag};
use proofmark_kernels::Program;
use proofmark_threat::Batch;

use crate::wrap::Surrogate;
use crate::{ModelError, Network, Query};

/// The numbers that an input accepts, and whether an attack may change them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Numbers {
    /// Any number within the bounds.
    #[default]
    Real,
    /// Whole numbers from `low` to `high`. The model rounds points between them.
    Whole {
        /// Lowest number.
        low: f32,
        /// Highest number.
        high: f32,
    },
    /// Whole numbers from `low` to `high` that encode something else (a mask, an index into a table): no attack may
    /// change them.
    Fixed {
        /// Lowest number.
        low: f32,
        /// Highest number.
        high: f32,
    },
}

/// Why a model that is asked for its answers alone has no bounds.
pub(crate) const UNKNOWN: &str = "its operations are not known; an ONNX file, a shipped model or a Burn module with `with_program` states them";

/// Description of a model, known before any query.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Name in messages and reports.
    pub name: String,
    /// Inputs, in the order of a [`Batch`]'s blocks.
    pub modalities: Arc<[Modality]>,
    /// The numbers that each input accepts.
    pub numbers: Vec<Numbers>,
    /// Number of classes, at least 2; of outputs, at least 1, if they are not classes.
    pub classes: usize,
    /// Hex sha256 over weights (modules, files) or behaviour (closures).
    pub sha256: String,
    /// Number of parameters, if known.
    pub parameters: Option<usize>,
    /// Number of values in one sample and its activations up to the scores, if known.
    pub activations: Option<usize>,
    /// Whether the bits of a row's answer and gradient depend on that row alone, however many rows are asked about
    /// together. Where they do not, the engine asks in tiles of a constant number of rows.
    pub row_independent: bool,
    /// Device of the model; points are moved there before a query.
    pub device: Device,
    /// Trust codes that follow from the model's description, before anything is measured.
    pub stated: Vec<TrustFlag>,
    /// The models that it is made of, if it is an ensemble.
    pub members: Vec<ModelPart>,
    /// Name of the layer whose activations [`GradientModel::penultimate`] returns; `None` if it returns none.
    pub penultimate: Option<String>,
}

impl Signature {
    /// Returns the signature of a model that accepts any numbers within the bounds, without a digest.
    pub fn new(
        name: impl Into<String>,
        modalities: impl Into<Arc<[Modality]>>,
        classes: usize,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let (name, modalities) = (name.into(), modalities.into());
        let problem = if classes == 0 {
            Some("no outputs; expected a score per class, or a number at least".to_owned())
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
            row_independent: false,
            device: device.clone().without_autodiff(),
            stated: Vec::new(),
            members: Vec::new(),
            penultimate: None,
        })
    }

    /// Returns the difference between the inputs, classes or devices of two models that are to answer the same queries,
    /// worded to follow their names; `None` if there is none. Names of inputs may differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (&self.modalities, &other.modalities);
        if ours.len() != theirs.len() {
            return Some(format!("have {} and {} inputs", ours.len(), theirs.len()));
        }
        for (i, (a, b)) in ours.iter().zip(theirs.iter()).enumerate() {
            if a.shape != b.shape {
                return Some(format!(
                    "take samples of shape {:?} and {:?} in input `{}`",
                    a.shape, b.shape, a.name
                ));
            }
            let differ = |f: &usize| {
                a.bounds.low(*f) != b.bounds.low(*f) || a.bounds.high(*f) != b.bounds.high(*f)
            };
            if let Some(f) = (0..a.features()).find(differ) {
                let of = |m: &Modality| format!("{},{}", m.bounds.low(f), m.bounds.high(f));
                return Some(format!(
                    "have bounds {} and {} in input `{}` (feature {f})",
                    of(a),
                    of(b),
                    a.name
                ));
            }
            let fixed = |s: &Self| matches!(s.numbers[i], Numbers::Fixed { .. });
            if fixed(self) != fixed(other) {
                return Some(format!(
                    "read input `{}` as numbers and as ids or masks",
                    a.name
                ));
            }
        }
        if self.classes != other.classes {
            return Some(format!(
                "have {} and {} classes",
                self.classes, other.classes
            ));
        }
        (self.device != other.device).then(|| {
            format!(
                "are on different devices, {:?} and {:?}",
                self.device, other.device
            )
        })
    }
}

/// Answer of a model.
///
/// Exhaustive on purpose: adding a kind of answer is a compile error until every place that judges answers handles it.
#[derive(Debug, Clone)]
pub enum Output {
    /// Class of each point, `[q]`.
    Labels(Tensor<1, Int>),
    /// A score (logit) per point and class, `[q, classes]`; larger wins.
    Scores(Tensor<2>),
}

/// A model that returns decisions.
pub trait DecisionModel: Send + Sync {
    /// Returns the model's description, without a query.
    fn signature(&self) -> &Signature;

    /// Returns the model with the widest access it offers: a model that implements [`GradientModel`] returns
    /// `Access::Gradients(self)`, one that implements only [`ScoreModel`] returns `Access::Scores(self)`, any other
    /// `Access::Decisions(self)`.
    fn access(&self) -> Access<'_>;

    /// Returns the decision for each point; models with scores may return those.
    fn decide(&self, query: &Query) -> Result<Output, ModelError>;

    /// Returns the sample-forwards that one point costs (more than one for wrappers that average over draws).
    fn cost(&self) -> u64 {
        1
    }

    /// Returns this model as a [`Surrogate`] if its gradients are those of another model.
    fn surrogate(&self) -> Option<&Surrogate<'_>> {
        None
    }

    /// Returns the operations that compute the scores from a row in data units, for bounds on them, or why they are not
    /// known.
    fn program(&self) -> Result<Program, String> {
        Err(UNKNOWN.to_owned())
    }
}

/// A model that returns scores.
pub trait ScoreModel: DecisionModel {
    /// Returns scores `[q, classes]`.
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError>;
}

/// Objective that an attack maximises: maps tracked scores `[q, classes]` and tracked points to one value per point,
/// `[q]`.
pub type Objective<'a> = dyn Fn(&Tensor<2>, &Batch) -> Tensor<1> + 'a;

/// Scores, objective and its gradient at the points of a query; none of them tracked.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// Scores `[q, classes]`.
    pub scores: Tensor<2>,
    /// Objective `[q]`.
    pub loss: Tensor<1>,
    /// Gradient of the objective with respect to each point.
    pub gradient: Batch,
}

/// A model that returns gradients of any objective with respect to its input (never its weights).
pub trait GradientModel: ScoreModel {
    /// Returns the objective's gradient at each point. Points are independent: the sum over points is differentiated,
    /// which equals each point's own gradient when no point leaks into another.
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError>;

    /// Returns a model to search with in place of one whose scores move in steps
    /// ([`Network::surrogate`](crate::Network::smoothed)).
    fn smoothed(&self) -> Option<&dyn GradientModel> {
        None
    }

    /// Returns the activations `[q, width]` from which the last linear layer computes the scores, tracked if the points
    /// are; `None` if the model does not show them ([`Signature::penultimate`]).
    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        let _ = query;
        Ok(None)
    }
}

/// Access that a run has to a model: the widest the model offers, or less on purpose.
///
/// A reference to any model becomes its [`DecisionModel::access`].
#[derive(Clone, Copy)]
pub enum Access<'a> {
    /// Only decisions.
    Decisions(&'a dyn DecisionModel),
    /// Decisions and scores.
    Scores(&'a dyn ScoreModel),
    /// Decisions, scores and gradients.
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
    /// Returns the access level.
    pub const fn gives(self) -> Needs {
        match self {
            Self::Decisions(_) => Needs::Decisions,
            Self::Scores(_) => Needs::Scores,
            Self::Gradients(_) => Needs::Gradients,
        }
    }

    /// Returns the model's description, without a query.
    pub fn signature(self) -> &'a Signature {
        self.model().signature()
    }

    /// Returns the model with its gradients replaced by those of another, if it is one.
    pub fn surrogate(self) -> Option<&'a Surrogate<'a>> {
        self.model().surrogate()
    }

    /// Returns the model whose robustness is measured: the one behind a [`Surrogate`], otherwise the model itself.
    #[must_use]
    pub fn judged(self) -> Self {
        self.surrogate().map_or(self, Surrogate::victim)
    }

    /// Returns the model as one that decides; only gradients are those of a surrogate.
    pub fn decisions(self) -> &'a dyn DecisionModel {
        self.judged().model()
    }

    fn model(self) -> &'a dyn DecisionModel {
        match self {
            Self::Decisions(m) => m,
            Self::Scores(m) => m,
            Self::Gradients(m) => m,
        }
    }

    /// Returns the model as one that scores, or an error naming the attack; only gradients are those of a surrogate.
    pub fn scores(self, attack: &str) -> Result<&'a dyn ScoreModel, ModelError> {
        match self.judged() {
            Self::Decisions(_) => Err(self.missing(attack, Needs::Scores)),
            Self::Scores(m) => Ok(m),
            Self::Gradients(m) => Ok(m),
        }
    }

    /// Returns the model as one that gives gradients (its own, or a surrogate's), or an error naming the attack.
    pub fn gradients(self, attack: &str) -> Result<&'a dyn GradientModel, ModelError> {
        match self {
            Self::Gradients(m) => Ok(m),
            _ => Err(self.missing(attack, Needs::Gradients)),
        }
    }

    /// Returns an error naming the attack if it needs more than the model gives.
    pub fn require(self, attack: &str, needs: Needs) -> Result<(), ModelError> {
        let gives = if needs == Needs::Gradients {
            self.gives()
        } else {
            self.judged().gives()
        };
        if needs > gives {
            return Err(self.missing(attack, needs));
        }
        Ok(())
    }

    fn missing(self, attack: &str, needs: Needs) -> ModelError {
        ModelError::Access {
            attack: attack.to_owned(),
            needs,
            model: self.signature().name.clone(),
            gives: self.judged().gives(),
        }
    }
}

/// A model whose inner layers can be read, for backdoor probes.
pub trait Features: DecisionModel {
    /// Returns the names of the layers that can be read.
    fn taps(&self) -> Vec<String>;

    /// Returns activations `[q, width]` at the named layers, in the order of `taps`.
    fn features(&self, query: &Query, taps: &[&str]) -> Result<Vec<Tensor<2>>, ModelError>;

    /// Returns the names of the layers through which alone the input reaches the scores, first to last: those with a
    /// [`Features::head`]. Empty if none is known.
    fn cuts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the part of the model behind a layer.
    fn head(&self, tap: &str) -> Result<Box<dyn Head + '_>, ModelError> {
        Err(ModelError::Signature {
            model: self.signature().name.clone(),
            problem: format!("what lies behind layer `{tap}` cannot be computed by itself"),
        })
    }
}

/// The part of a model behind one of its layers.
pub trait Head: Send + Sync {
    /// Returns the number of activations of a sample.
    fn width(&self) -> usize;

    /// Returns scores `[n, classes]` for activations `[n, width]`, differentiable in the activations.
    fn scores(&self, activations: &Tensor<2>) -> Result<Tensor<2>, ModelError>;
}

/// A white-box model: gradients and inner layers, as a Burn module or an ONNX file gives them.
pub trait WhiteBox: GradientModel + Features {
    /// Returns the model as a forward pass on tensors, to be wrapped.
    fn network(&self) -> &dyn Network;
}

impl<M: Network + Features> WhiteBox for M {
    fn network(&self) -> &dyn Network {
        self
    }
}
