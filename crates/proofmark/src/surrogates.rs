//! Models whose gradients stand for those of the one under attack.

use std::sync::Arc;

use proofmark_domain::Averaging;
use proofmark_model::wrap::{Average, Ensemble, MeanLoss};
use proofmark_model::{GradientModel, Network};

use crate::{OpenModel, RunError};

/// Surrogates, opened: one model, or several that are averaged.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use proofmark::{ModelSource, Surrogates, evaluate, models::wrap::Surrogate};
///
/// let (device, data) = (proofmark::device("cpu")?, proofmark::open("digits")?.limit(20, Default::default()));
/// let victim = proofmark::model("digits-standard", &device)?;
/// let robust = ModelSource::new("digits-robust").open(&data, &device)?;
/// let surrogates = Surrogates::new(vec![robust.into()], Default::default())?;
/// let source = surrogates.source()?;
/// let model = Surrogate::new(&victim, source.as_ref())?.transfer();
/// let result = evaluate(&model, &data).linf(0.1).attacks(["ti-fgsm"]).run()?;
/// assert_eq!(result.report().attacks[0].backward, 0);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Surrogates {
    models: Vec<Arc<OpenModel>>,
    averaging: Averaging,
}

impl Surrogates {
    /// Makes one source of gradients of `models`; an error without any.
    pub fn new(models: Vec<Arc<OpenModel>>, averaging: Averaging) -> Result<Self, RunError> {
        if models.is_empty() {
            return Err(RunError::Parameter(
                "no surrogate; expected at least one model".into(),
            ));
        }
        Ok(Self { models, averaging })
    }

    /// Returns the model whose gradients are followed. A single one is taken as it is; several must agree in their
    /// inputs and classes.
    pub fn source(&self) -> Result<Box<dyn GradientModel + '_>, RunError> {
        let mut networks: Vec<&dyn Network> =
            self.models.iter().map(|m| m.model.network()).collect();
        let average = match self.averaging {
            _ if networks.len() == 1 => return Ok(Box::new(networks.remove(0))),
            Averaging::Logits => Average::Logits,
            Averaging::Probabilities => Average::Probabilities,
            Averaging::Losses => return Ok(Box::new(MeanLoss::new(networks)?)),
        };
        Ok(Box::new(Ensemble::new(networks, average)?))
    }

    /// Returns notes on how their files are computed, each with the name of its model.
    pub fn notes(&self) -> Vec<String> {
        let each = self.models.iter();
        each.flat_map(|m| {
            let name = &m.model.signature().name;
            m.notes.iter().map(move |note| format!("{name}: {note}"))
        })
        .collect()
    }
}
