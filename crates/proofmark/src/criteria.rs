//! The criterion of a run: what it needs of model, data and attacks, and which samples it holds on without attack.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_data::{DataError, Dataset};
use proofmark_domain::{Criteria, Needs, Outputs};
use proofmark_engine::criterion::{MultiLabel, References, build};
use proofmark_engine::{Clean, Criterion, Samples, Truth};
use proofmark_model::Signature;
use serde_json::{Map, Value, json};

use crate::run::Labels;
use crate::{RunError, RunPlan, samples};

/// Refuses a loss stated among the parameters of an attack if the criterion is not about classes: it has a loss of its
/// own.
pub fn refuse_loss(
    criteria: &Criteria,
    attack: &str,
    parameters: &toml::Table,
) -> Result<(), String> {
    if criteria.outputs().is_classes() {
        return Ok(());
    }
    let nested = |value: &toml::Value| -> bool {
        let mut tables = value.as_array().into_iter().flatten();
        tables.any(|member| member.get("loss").is_some())
    };
    if !parameters.contains_key("loss") && !parameters.values().any(nested) {
        return Ok(());
    }
    Err(format!(
        "attack `{attack}`: ce, margin and dlr are losses for the scores of classes, and criterion `{criteria}` is about {}: leave the loss out, attacks climb the criterion's own",
        criteria.outputs()
    ))
}

/// Refuses data that lack what the criterion compares outputs with; `or` completes the error with another way to get it.
pub(crate) fn require_references(
    criteria: &Criteria,
    data: &Dataset,
    signature: &Signature,
    or: &str,
) -> Result<(), RunError> {
    if criteria.outputs().is_classes() {
        return Ok(samples::require_labels(data, or)?);
    }
    if !criteria.has_reference() {
        return Ok(());
    }
    let what = match criteria.outputs() {
        Outputs::Labels => "labels: a 0 or 1 per sample and label",
        Outputs::Classes | Outputs::Values => "targets: a number per sample and output",
    };
    let Some(targets) = &data.targets else {
        let has = if data.labels.is_some() {
            "classes (it was opened for a model of classes)".to_owned()
        } else {
            format!(
                "inputs only; an .npz holds them as `y` or says `--arrays X,Y`, a CSV as `y` or says `--label-column COL,…`, a .npy has `--labels-file`{or}"
            )
        };
        return Err(DataError::Missing {
            file: data.name.clone(),
            what: what.to_owned(),
            has,
        }
        .into());
    };
    let (given, expected) = (targets.ncols(), signature.classes);
    if given != expected {
        return Err(RunError::Mismatch {
            data: data.name.clone(),
            model: signature.name.clone(),
            problem: format!(
                "criterion `{criteria}` compares the model's {expected} outputs with targets, and the data have {given} per sample; expected as many of each"
            ),
        });
    }
    Ok(())
}

/// Refuses a model whose number of outputs the criterion does not fit.
pub(crate) fn fits_model(criteria: &Criteria, signature: &Signature) -> Result<(), RunError> {
    if criteria.outputs().is_classes() && signature.classes < 2 {
        return Err(RunError::Parameter(format!(
            "model `{}` returns one number per sample, and criterion `{criteria}` is about classes; for a number that the model predicts, use a criterion such as `--criterion regression=BOUND`",
            signature.name
        )));
    }
    // The references do not matter here.
    let any = References {
        values: Some([].into()),
        labels: Some([].into()),
    };
    build(criteria, false, signature.classes, &any)?;
    Ok(())
}

impl RunPlan<'_> {
    /// Refuses a model, data or settings that the criterion cannot work with.
    pub(super) fn require_criterion(&self) -> Result<(), RunError> {
        let (criteria, signature) = (&self.criterion, self.model.signature());
        let outputs = criteria.outputs();
        let wrong = |problem: String| Err(RunError::Parameter(problem));
        if self.labels == Labels::Given {
            let or = ", or judge against the model's own with `--labels predicted`";
            require_references(criteria, self.data, signature, or)?;
        }
        fits_model(criteria, signature)?;
        if self.target.is_some() && !outputs.is_classes() {
            return wrong(format!(
                "a target class contradicts criterion `{criteria}`, which is about {outputs}; leave out --targeted"
            ));
        }
        if !criteria.is_default() && self.model.gives() < Needs::Scores {
            return wrong(format!(
                "criterion `{criteria}` needs scores; model `{}` gives {}",
                signature.name,
                self.model.gives()
            ));
        }
        Ok(())
    }

    /// Builds the criterion for these samples, `data`, of which `clean` are measured.
    pub(super) fn criterion_of(
        &self,
        data: &Dataset,
        clean: &[Clean],
        targeted: bool,
    ) -> Result<Arc<dyn Criterion>, RunError> {
        let width = self.model.signature().classes;
        let references = self.references(data, clean, width);
        Ok(build(&self.criterion, targeted, width, &references)?)
    }

    fn references(&self, data: &Dataset, clean: &[Clean], width: usize) -> References {
        let measured: BTreeMap<usize, &Clean> = clean.iter().map(|c| (c.row, c)).collect();
        let own = |row: usize| measured.get(&row).and_then(|c| c.scores.as_deref());
        let predicted = self.labels == Labels::Predicted;
        match self.criterion.outputs() {
            Outputs::Classes => References::default(),
            Outputs::Values => {
                let mut values = vec![0.0; data.len() * width];
                for (row, of_row) in values.chunks_mut(width.max(1)).enumerate() {
                    match (&data.targets, own(row)) {
                        (_, Some(own)) if predicted => {
                            of_row
                                .iter_mut()
                                .zip(own)
                                .for_each(|(v, o)| *v = f64::from(*o));
                        }
                        (Some(targets), _) if !predicted => {
                            of_row
                                .iter_mut()
                                .zip(targets.row(row))
                                .for_each(|(v, t)| *v = *t);
                        }
                        // A sample that was not measured is not attacked.
                        _ => {}
                    }
                }
                References {
                    values: Some(values.into()),
                    labels: None,
                }
            }
            Outputs::Labels => {
                let threshold = self.criterion.all().iter().find_map(|c| match c {
                    proofmark_domain::CriterionSpec::MultiLabel { threshold, .. } => {
                        Some(*threshold)
                    }
                    _ => None,
                });
                let threshold = threshold.unwrap_or(0.5);
                let mut labels = vec![false; data.len() * width];
                for (row, of_row) in labels.chunks_mut(width.max(1)).enumerate() {
                    let found: Vec<bool> = match (&data.targets, own(row)) {
                        (_, Some(own)) if predicted => MultiLabel::decide(threshold, own),
                        (Some(targets), _) if !predicted => {
                            targets.row(row).iter().map(|t| *t == 1.0).collect()
                        }
                        _ => continue,
                    };
                    of_row.copy_from_slice(&found);
                }
                References {
                    values: None,
                    labels: Some(labels.into()),
                }
            }
        }
    }

    /// Returns the clean samples as records show them, and whether each holds without attack: it is classified as
    /// labelled, or, with another criterion, the criterion is not met.
    pub(super) fn held(
        &self,
        criterion: &dyn Criterion,
        samples: &Samples,
        clean: &[Clean],
    ) -> (Vec<Clean>, Vec<bool>) {
        let judged = clean.iter().map(|c| {
            let label = samples.labels[c.row];
            let (Some(pred), Some(scores)) = (c.pred, &c.scores) else {
                return (c.clone(), c.pred == Some(label));
            };
            if self.criterion.is_default() {
                return (c.clone(), pred == label);
            }
            let truth = Truth {
                sample: c.row,
                label,
                target: samples.targets.as_ref().map(|t| t[c.row]),
            };
            let is_right = samples.targets.is_none() || pred == label;
            let holds = is_right && !criterion.met_by(scores, &truth);
            let pred = criterion.prediction(scores, &truth);
            (Clean { pred, ..c.clone() }, holds)
        });
        judged.unzip()
    }

    /// Says in the report what success was.
    pub(super) fn describe_criterion(&self) -> Value {
        let targeted = self.target.is_some();
        let mut described = Map::new();
        described.insert("text".into(), json!(self.criterion.to_string()));
        described.insert("success".into(), json!(self.criterion.success(targeted)));
        described.insert("all".into(), json!(self.criterion));
        if self.criterion.has_reference() && !self.criterion.outputs().is_classes() {
            let reference = match self.labels {
                Labels::Given => "data",
                Labels::Predicted => "clean-outputs",
            };
            described.insert("reference".into(), json!(reference));
        }
        Value::Object(described)
    }
}
