//! Runs behind a map: attacks choose the map's parameters, and the model sees each sample as the map changes it.

use std::sync::Arc;

use proofmark_domain::{MapSpec, Modality, PlacementRule, ThreatRecord};
use proofmark_engine::{Access, Judge, Rule, Samples};
use proofmark_model::Numbers;
use proofmark_model::wrap::Mapped;
use proofmark_threat::map::{Map, map};

use super::{Measurement, RunPlan};
use crate::RunError;

/// Number of the judge's first draw: what is saved is the first placement that it looked at.
const JUDGED: u32 = 1 << 31;

/// The model of the parameters, and the samples as attacks see them: all parameters 0.
pub(super) struct Behind<'a> {
    pub(super) model: Mapped<'a>,
    pub(super) samples: Samples,
}

impl Behind<'_> {
    pub(super) fn access(&self) -> Access<'_> {
        Access::from(&self.model)
    }
}

/// Parameters of the samples that were broken, for files.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MapParameters {
    /// Shape of the parameters of one sample.
    pub shape: Vec<usize>,
    /// Names of the parameters with their units, if they are not an image.
    pub names: &'static [&'static str],
    /// Those that broke each sample, in their own units, in the order of the report's samples.
    pub each: Vec<Option<Vec<f32>>>,
}

impl RunPlan<'_> {
    /// Returns the map of the plan, made for the model's input; an error if it does not fit.
    pub(crate) fn map_of_input(&self) -> Result<Option<Arc<dyn Map>>, RunError> {
        let Some(spec) = &self.map else {
            return Ok(None);
        };
        let signature = self.model.signature();
        let refuse = |why: String| Err(RunError::Parameter(format!("map {}: {why}", spec.name())));
        let [input] = &*signature.modalities else {
            let n = signature.modalities.len();
            return refuse(format!(
                "model `{}` has {n} inputs; expected one, an image",
                signature.name
            ));
        };
        if matches!(signature.numbers[0], Numbers::Fixed { .. }) {
            return refuse(format!(
                "input `{}` takes ids or masks; expected an image",
                input.name
            ));
        }
        if self.model.surrogate().is_some() {
            return refuse("with a surrogate; expected the model's own gradients".into());
        }
        if !self.certificates.is_empty() {
            return refuse("certificates are about norms; expected none beside a map".into());
        }
        if self.threats.iter().any(|t| t.per_sample) {
            return refuse("one epsilon per sample; expected the same share of its limits".into());
        }
        if let Some(threat) = self.threats.iter().find(|t| t.eps.get() > 1.0) {
            return refuse(format!(
                "epsilon {}; with a map it is the share of its limits, above 0 and at most 1",
                threat.eps
            ));
        }
        map(spec, input).map(Some).map_err(RunError::Parameter)
    }

    /// Returns the inputs that attacks change: the model's, or the parameters of the map.
    pub(crate) fn inputs(&self) -> Result<Arc<[Modality]>, RunError> {
        Ok(match self.map_of_input()? {
            Some(map) => vec![map.parameters().clone()].into(),
            None => self.model.signature().modalities.clone(),
        })
    }

    /// Returns how points are measured again: as the map states, if it is random.
    pub(crate) fn judge(&self) -> Judge {
        match self.map {
            Some(MapSpec::Patch {
                placements, rule, ..
            }) => Judge {
                draws: placements,
                rule: match rule {
                    PlacementRule::Majority => Rule::Majority,
                    PlacementRule::Any => Rule::Any,
                    PlacementRule::All => Rule::All,
                },
            },
            _ => self.settings.judge,
        }
    }

    /// Puts the map before the model, if there is one.
    pub(super) fn behind<'b>(
        &'b self,
        samples: &'b Samples,
    ) -> Result<Option<Behind<'b>>, RunError> {
        let Some(map) = self.map_of_input()? else {
            return Ok(None);
        };
        let n = samples.keys.len();
        let at_rest = Samples {
            modalities: vec![map.parameters().clone()].into(),
            values: vec![vec![0.0; n * map.parameters().features()]],
            ..samples.clone()
        };
        let seed = self.settings.seed;
        let model = Mapped::new(self.model, map, &samples.keys, &samples.values[0], seed)?;
        Ok(Some(Behind {
            model,
            samples: at_rest,
        }))
    }

    /// Names the map in the record of a threat, whose epsilon is a share of its limits.
    pub(super) fn name_map(&self, mut record: ThreatRecord) -> ThreatRecord {
        if let Some(spec) = &self.map {
            record.text = format!("{} × {spec}", record.text);
            record.map = Some(*spec);
        }
        record
    }

    /// Replaces parameters by what the model sees, and keeps them beside it.
    pub(super) fn unmapped(
        &self,
        behind: Option<&Behind<'_>>,
        mut measured: Measurement,
    ) -> Result<Measurement, RunError> {
        let (Some(map), Some(behind)) = (self.map_of_input()?, behind) else {
            return Ok(measured);
        };
        let keys = measured.report.samples.iter().map(|s| s.id.key());
        let keys: Vec<u64> = keys.collect();
        let mut each = Vec::with_capacity(keys.len());
        for (found, key) in measured.adversarials.iter_mut().zip(&keys) {
            let parameters = found
                .take()
                .map(|x| x.into_iter().next().unwrap_or_default());
            if let Some(p) = &parameters {
                *found = Some(vec![behind.model.image(*key, JUDGED, p)?]);
            }
            each.push(parameters.map(|p| map.shown(&p)));
        }
        for (_, change) in &mut measured.universal {
            for values in change {
                *values = map.shown(values);
            }
        }
        measured.map = Some(MapParameters {
            shape: map.parameters().shape.clone(),
            names: map.names(),
            each,
        });
        Ok(measured)
    }
}
