//! Threat models before they are fitted to a model and data.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_data::Dataset;
use proofmark_domain::{Coupling, Epsilon, Modality, Norm, hex};
use proofmark_threat::{Budget, Radius, Threat};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::RunError;

/// A threat model by input name, to be fitted to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreatPlan {
    /// Norm of the inputs not named in `inputs`.
    pub norm: Norm,
    /// Epsilon of the inputs not named in `inputs`, in data units; 0 freezes them.
    pub eps: Epsilon,
    /// Norm and epsilon by input, where they differ from `norm` and `eps`.
    pub inputs: BTreeMap<String, (Norm, Epsilon)>,
    /// Features that may change, by input; all if absent.
    pub masks: BTreeMap<String, Arc<[bool]>>,
    /// How the budgets of several inputs combine.
    pub coupling: Coupling,
    /// Whether the data's own per-sample epsilons (an npz's `eps`) replace `eps`.
    pub per_sample: bool,
}

impl ThreatPlan {
    /// Creates a plan with one norm and epsilon for every input.
    pub fn new(norm: Norm, eps: Epsilon) -> Self {
        Self {
            norm,
            eps,
            inputs: BTreeMap::new(),
            masks: BTreeMap::new(),
            coupling: Coupling::Independent,
            per_sample: false,
        }
    }

    /// Returns what the record of a fitted threat leaves out: digests of the masks, and of the budgets of the samples.
    pub(crate) fn details(&self, data: &Dataset) -> Value {
        let digest =
            |bytes: &mut dyn Iterator<Item = u8>| hex(&Sha256::digest(bytes.collect::<Vec<u8>>()));
        let masks: Map<String, Value> = self
            .masks
            .iter()
            .map(|(input, mask)| {
                let digest = digest(&mut mask.iter().map(|m| u8::from(*m)));
                (input.clone(), Value::from(digest))
            })
            .collect();
        let own = data.eps.as_ref().filter(|_| self.per_sample).map(|eps| {
            let mut order: Vec<usize> = (0..data.len()).collect();
            order.sort_by(|a, b| data.ids[*a].cmp(&data.ids[*b]));
            digest(&mut order.iter().flat_map(|i| eps[*i].to_le_bytes()))
        });
        json!({ "masks_sha256": masks, "per_sample_eps_sha256": own })
    }

    /// Fits the threat model to these inputs and samples.
    pub(crate) fn fit(&self, modalities: &[Modality], data: &Dataset) -> Result<Threat, RunError> {
        let mut named: BTreeMap<&str, (Norm, Epsilon)> = modalities
            .iter()
            .map(|m| (m.name.as_str(), (self.norm, self.eps.clone())))
            .collect();
        for (name, budget) in &self.inputs {
            // An unknown name stays in the list, so that `Threat::new` can refuse it.
            named.insert(name, budget.clone());
        }
        let budgets = named
            .into_iter()
            .map(|(name, (norm, eps))| {
                let own = self.per_sample && !self.inputs.contains_key(name);
                let radius = match (&data.eps, own) {
                    (Some(eps), true) => {
                        Radius::PerSample(eps.iter().map(|e| f64::from(*e)).collect())
                    }
                    _ => Radius::Uniform(eps),
                };
                Budget {
                    modality: name.to_owned(),
                    norm,
                    radius,
                    mask: self.masks.get(name).cloned(),
                }
            })
            .collect();
        let threat = Threat::new(modalities, budgets, self.coupling, data.len())?;
        Ok(threat)
    }

    /// Refuses a threat model that changes nothing on any sample of the whole set: accuracy under it would measure
    /// nothing.
    pub(crate) fn require_change(
        &self,
        modalities: &[Modality],
        whole: &Dataset,
    ) -> Result<(), RunError> {
        let threat = self.fit(modalities, whole)?;
        let zero = |b: &Budget| match &b.radius {
            Radius::Uniform(e) => e.get() == 0.0,
            Radius::PerSample(each) => each.iter().all(|e| *e == 0.0),
        };
        if !threat.budgets().iter().all(zero) {
            return Ok(());
        }
        let whose = if self.per_sample {
            "of every sample is 0, which freezes every input"
        } else {
            "0 freezes every input"
        };
        Err(RunError::Parameter(format!(
            "epsilon {whose}, so no attack can change anything; expected an epsilon above 0 (a report always states the accuracy without attack)"
        )))
    }
}
