use burn::tensor::Tensor;
use proofmark_domain::{ModelPart, Needs, QueryCount, SurrogateFacts, TrustCode, TrustFlag};

use crate::access::{
    Access, DecisionModel, Gradient, GradientModel, Objective, Output, ScoreModel, Signature,
};
use crate::{ModelError, Query};

/// Kind of a query, for its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Decisions.
    Decisions,
    /// Scores.
    Scores,
    /// Scores and a gradient.
    Gradient,
}

/// A model whose gradients are those of another one, the surrogate.
///
/// Decisions and scores stay those of the model under attack, the victim, and every figure is about it. Attacks that need
/// gradients run even if the victim gives only decisions; all others query the victim as if there were no surrogate. Two
/// ways to attack:
///
/// * by default the victim is asked about every point of the path, so the first that succeeds ends the search;
/// * with [`transfer`](Self::transfer) an attack sees the surrogate alone and runs all its steps. The victim is asked about
///   the last point of each restart, which costs one query.
///
/// Queries of the two are [counted separately](QueryCount). A robustness figure that rests on a surrogate says little if
/// the surrogate is unlike the victim, so the model [states](Signature::stated)
/// [`TrustCode::ApproximateGradients`]. Source: Papernot et al., "Practical Black-Box Attacks against Machine Learning",
/// 2017; of the default, Cheng et al., "Improving Black-box Adversarial Attacks with a Transfer-based Prior", 2019.
///
/// ```
/// # use proofmark_domain::{Bounds, Kind, Modality};
/// # use proofmark_model::{Access, BurnModel, FromDecisions, Signature, wrap::Surrogate};
/// # let device = burn::tensor::Device::default();
/// # let input = Modality { name: "x".into(), kind: Kind::Table, shape: vec![2], bounds: Bounds::uniform(0.0, 1.0)? };
/// # let net = BurnModel::closure(vec![input.clone()], 2, &device, |x| x[0].clone())?;
/// let endpoint = |x: &[Vec<f32>], rows: usize| -> Result<Vec<usize>, String> {
///     Ok((0..rows).map(|r| usize::from(x[0][2 * r + 1] > x[0][2 * r])).collect())
/// };
/// let victim = FromDecisions::new(Signature::new("endpoint", vec![input], 2, &device)?, endpoint)?;
/// let model = Surrogate::new(&victim, &net)?;
/// assert!(matches!(Access::from(&model), Access::Gradients(_)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Surrogate<'a> {
    victim: Access<'a>,
    source: Source<'a>,
    facts: SurrogateFacts,
    signature: Signature,
}

/// The model whose gradients are followed.
struct Source<'a>(&'a dyn GradientModel);

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.signature().name)
    }
}

impl<'a> Surrogate<'a> {
    /// Replaces the gradients of `victim` by those of `source`. Inputs, bounds, classes and device must agree; names of
    /// inputs may differ.
    pub fn new(
        victim: impl Into<Access<'a>>,
        source: &'a dyn GradientModel,
    ) -> Result<Self, ModelError> {
        let victim = victim.into();
        let (own, theirs) = (victim.signature(), source.signature());
        let refused = |problem: String| ModelError::Signature {
            model: theirs.name.clone(),
            problem,
        };
        if victim.surrogate().is_some() || source.surrogate().is_some() {
            return Err(refused("a surrogate cannot have one itself".into()));
        }
        if let Some(difference) = own.difference(theirs) {
            return Err(refused(format!(
                "cannot stand for the gradients of `{}`: they {difference}",
                own.name
            )));
        }
        let itself = ModelPart {
            name: theirs.name.clone(),
            sha256: theirs.sha256.clone(),
        };
        let facts = SurrogateFacts {
            name: theirs.name.clone(),
            sha256: theirs.sha256.clone(),
            models: if theirs.members.is_empty() {
                vec![itself]
            } else {
                theirs.members.clone()
            },
            transfer: false,
        };
        let mut signature = own.clone();
        signature.row_independent &= theirs.row_independent;
        signature.activations = own.activations.max(theirs.activations);
        // Neither model alone has an activation from which both scores and gradients come.
        signature.penultimate = None;
        // What the victim states about its own gradients does not matter: nothing follows them.
        signature
            .stated
            .retain(|f| f.code.needs() < Needs::Gradients);
        let made = Self {
            victim,
            source: Source(source),
            facts,
            signature,
        };
        Ok(made.stated())
    }

    /// Asks the victim about the final point of each restart alone.
    #[must_use]
    pub fn transfer(mut self) -> Self {
        self.facts.transfer = true;
        self.stated()
    }

    fn stated(mut self) -> Self {
        let theirs = self.source.0.signature();
        let code = TrustCode::ApproximateGradients;
        let rough = theirs.stated.iter().find(|f| f.code == code);
        let rough = rough.map_or_else(String::new, |f| format!(", whose {}", f.message));
        let message = format!(
            "gradients are those of surrogate `{}`{rough}",
            self.facts.name
        );
        self.signature.stated.retain(|f| f.code != code);
        self.signature.stated.push(TrustFlag {
            code,
            message,
            cured: false,
        });
        self
    }

    /// Returns the model that is attacked.
    pub const fn victim(&self) -> Access<'a> {
        self.victim
    }

    /// Returns the model whose gradients are followed.
    pub const fn source(&self) -> &'a dyn GradientModel {
        self.source.0
    }

    /// Whether the victim is asked about final points alone.
    pub const fn is_transfer(&self) -> bool {
        self.facts.transfer
    }

    /// Returns what reports say about the surrogate.
    pub const fn facts(&self) -> &SurrogateFacts {
        &self.facts
    }

    /// Returns the victim's scores, if it gives them and is asked on the way.
    fn scoring(&self) -> Option<&'a dyn ScoreModel> {
        if self.is_transfer() {
            return None;
        }
        match self.victim {
            Access::Decisions(_) => None,
            Access::Scores(m) => Some(m),
            Access::Gradients(m) => Some(m),
        }
    }

    /// Returns what one point of a query costs. Points that cannot be kept (`watched` is false) are asked of the surrogate
    /// alone, unless the query is about decisions.
    pub fn price(&self, call: Call, watched: bool) -> QueryCount {
        let (own, theirs) = (self.victim.decisions().cost(), self.source.0.cost());
        let asks_victim = !self.is_transfer() && (watched || call == Call::Decisions);
        let asks_source = match call {
            Call::Decisions => self.is_transfer(),
            Call::Scores => !asks_victim || self.scoring().is_none(),
            Call::Gradient => true,
        };
        let of = |asked: bool, cost: u64| if asked { cost } else { 0 };
        QueryCount {
            forward: of(asks_victim, own),
            backward: 0,
            surrogate_forward: of(asks_source, theirs),
            surrogate_backward: of(call == Call::Gradient, theirs),
        }
    }

    /// Returns scores, and the answer by which points are watched: the victim's, or with
    /// [`transfer`](Self::transfer) the surrogate's. Points that cannot be kept are asked of the surrogate alone.
    pub fn scores_and_answer(
        &self,
        query: &Query,
        watched: bool,
    ) -> Result<(Tensor<2>, Output), ModelError> {
        if let Some(victim) = self.scoring().filter(|_| watched) {
            let scores = victim.scores(query)?;
            return Ok((scores.clone(), Output::Scores(scores)));
        }
        let scores = self.source.0.scores(query)?;
        let answer = self.answer(query, watched, &scores)?;
        Ok((scores, answer))
    }

    /// Returns the surrogate's gradient, and the answer by which points are watched, as
    /// [`scores_and_answer`](Self::scores_and_answer). Scores and objective are the victim's if it gives scores.
    pub fn gradient_and_answer(
        &self,
        query: &Query,
        objective: &Objective<'_>,
        watched: bool,
    ) -> Result<(Gradient, Output), ModelError> {
        let found = self.source.0.gradient(query, objective)?;
        if let Some(victim) = self.scoring().filter(|_| watched) {
            let scores = victim.scores(query)?;
            let gradient = Gradient {
                loss: objective(&scores, &query.x),
                scores: scores.clone(),
                gradient: found.gradient,
            };
            return Ok((gradient, Output::Scores(scores)));
        }
        let answer = self.answer(query, watched, &found.scores)?;
        Ok((found, answer))
    }

    fn answer(
        &self,
        query: &Query,
        watched: bool,
        scores: &Tensor<2>,
    ) -> Result<Output, ModelError> {
        if watched && !self.is_transfer() {
            return self.victim.decisions().decide(query);
        }
        Ok(Output::Scores(scores.clone()))
    }
}

impl DecisionModel for Surrogate<'_> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn access(&self) -> Access<'_> {
        Access::Gradients(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        if self.is_transfer() {
            return self.source.0.decide(query);
        }
        self.victim.decisions().decide(query)
    }

    /// The victim's.
    fn cost(&self) -> u64 {
        self.victim.decisions().cost()
    }

    fn surrogate(&self) -> Option<&Surrogate<'_>> {
        Some(self)
    }
}

impl ScoreModel for Surrogate<'_> {
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        match self.scoring() {
            Some(victim) => victim.scores(query),
            None => self.source.0.scores(query),
        }
    }
}

impl GradientModel for Surrogate<'_> {
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError> {
        Ok(self.gradient_and_answer(query, objective, true)?.0)
    }
}
