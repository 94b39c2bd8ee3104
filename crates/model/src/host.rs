//! Models that are closures over arrays on the host, for any runtime.

use std::fmt;

use burn::tensor::{Tensor, TensorData};
use proofmark_threat::host;

use crate::access::{Access, DecisionModel, Output, ScoreModel, Signature};
use crate::{ModelError, Query, boundary, digest};

type Ask<T> = dyn Fn(&[Vec<f32>], usize) -> Result<Vec<T>, String> + Send + Sync;

/// A closure and its signature.
struct Closure<T> {
    signature: Signature,
    ask: Box<Ask<T>>,
}

impl<T> Closure<T> {
    fn new<E: fmt::Display>(
        signature: Signature,
        ask: impl Fn(&[Vec<f32>], usize) -> Result<Vec<T>, E> + Send + Sync + 'static,
    ) -> Self {
        Self {
            signature,
            ask: Box::new(move |x, n| ask(x, n).map_err(|e| e.to_string())),
        }
    }

    fn failed(&self, problem: String) -> ModelError {
        ModelError::Failed {
            model: self.signature.name.clone(),
            problem,
        }
    }

    /// Queries the closure at the points of `query` and checks that it returns `each` numbers per point; `what` names
    /// them in messages.
    fn answers(&self, query: &Query, each: usize, what: &str) -> Result<Vec<T>, ModelError> {
        boundary::guarded(&self.signature.name, || {
            let rows = query.len();
            let x: Vec<Vec<f32>> = query.x.blocks().iter().map(host).collect();
            let answers = (self.ask)(&x, rows).map_err(|problem| self.failed(problem))?;
            if answers.len() == rows * each {
                return Ok(answers);
            }
            Err(self.failed(format!(
                "{} {what} for {rows} rows; expected {}",
                answers.len(),
                rows * each
            )))
        })
    }
}

/// A model that returns scores, as a closure over arrays on the host.
///
/// The closure receives one flat array per input, row after row in data units, and the number of rows. It returns
/// `rows * classes` scores (logits or probabilities, larger wins), row after row. Rows must not depend on each other.
/// The closure is called from several threads at once; put a session that needs `&mut` behind a `Mutex`. The model
/// gives no gradients: attacks that need them are refused.
///
/// ```
/// # use proofmark_domain::{Bounds, Kind, Modality};
/// # use proofmark_model::{FromScores, Signature};
/// # let device = burn::tensor::Device::default();
/// # let input = Modality { name: "x".into(), kind: Kind::Table, shape: vec![2], bounds: Bounds::uniform(0.0, 1.0)? };
/// // Stands for a call into any runtime.
/// let runtime = |x: &[Vec<f32>], rows: usize| -> Result<Vec<f32>, String> {
///     Ok((0..rows).flat_map(|r| [x[0][2 * r], x[0][2 * r + 1]]).collect())
/// };
/// let model = FromScores::new(Signature::new("larger", vec![input], 2, &device)?, runtime)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FromScores(Closure<f32>);

impl FromScores {
    /// Makes a model that answers as `ask` does. If `signature` has no digest, it is taken from the answers to a few
    /// random points ([`crate::digest_behaviour`]); if the weights are in a file, set their digest instead.
    pub fn new<E: fmt::Display>(
        signature: Signature,
        ask: impl Fn(&[Vec<f32>], usize) -> Result<Vec<f32>, E> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let mut model = Self(Closure::new(signature, ask));
        if model.0.signature.sha256.is_empty() {
            model.0.signature.sha256 = digest::digest_behaviour(&model)?;
        }
        Ok(model)
    }
}

impl fmt::Debug for FromScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromScores")
            .field(&self.0.signature)
            .finish()
    }
}

impl DecisionModel for FromScores {
    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn access(&self) -> Access<'_> {
        Access::Scores(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        self.scores(query).map(Output::Scores)
    }
}

impl ScoreModel for FromScores {
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let Signature {
            classes, device, ..
        } = &self.0.signature;
        let scores = self.0.answers(query, *classes, "scores")?;
        let scores = TensorData::new(scores, [query.len(), *classes]);
        boundary::guarded_device(|| Ok(Tensor::from_data(scores, device)))
    }
}

/// A model that returns only decisions, as a closure over arrays on the host.
///
/// The closure receives the same arguments as that of [`FromScores`] and returns the class of each row, counted from 0.
/// Attacks that need scores or gradients are refused.
pub struct FromDecisions(Closure<usize>);

impl FromDecisions {
    /// Makes a model that decides as `ask` does. If `signature` has no digest, it is taken from the decisions at random
    /// points. Many models decide alike there, so set the digest of the weights if you have it.
    pub fn new<E: fmt::Display>(
        signature: Signature,
        ask: impl Fn(&[Vec<f32>], usize) -> Result<Vec<usize>, E> + Send + Sync + 'static,
    ) -> Result<Self, ModelError> {
        let mut model = Self(Closure::new(signature, ask));
        if model.0.signature.sha256.is_empty() {
            model.0.signature.sha256 = digest::digest_behaviour(&model)?;
        }
        Ok(model)
    }
}

impl fmt::Debug for FromDecisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromDecisions")
            .field(&self.0.signature)
            .finish()
    }
}

impl DecisionModel for FromDecisions {
    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn access(&self) -> Access<'_> {
        Access::Decisions(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        let Signature {
            classes, device, ..
        } = &self.0.signature;
        let decisions = self.0.answers(query, 1, "decisions")?;
        if let Some((row, class)) = decisions.iter().enumerate().find(|(_, c)| *c >= classes) {
            return Err(self.0.failed(format!(
                "class {class} for row {row}; expected 0 to {}",
                classes - 1
            )));
        }
        let decisions: Vec<i64> = decisions.into_iter().map(|c| c as i64).collect();
        let decisions = TensorData::new(decisions, [query.len()]);
        boundary::guarded_device(|| Ok(Output::Labels(Tensor::from_data(decisions, device))))
    }
}
