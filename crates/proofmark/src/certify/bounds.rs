//! Certificates from bounds on the operations of the model: interval bounds and linear ones.

use proofmark_domain::{CertificateOutcome, CertificateStatus, Cost, Modality};
use proofmark_engine::Clean;
use proofmark_kernels::{BoundError, Method, Program};
use proofmark_threat::Budget;
use rayon::prelude::*;

use super::{Certificate, Certified, Measured, outcome};
use crate::{RunError, RunPlan, device};

/// Widening of a budget's radius: what a gauge of at most 1 in 64 bits may exceed it by.
const ROUNDING: f64 = 1e-12;

impl RunPlan<'_> {
    /// The operations of the model, or why they have no bounds.
    pub(super) fn program(&self, certificate: &Certificate) -> Result<Program, RunError> {
        let signature = self.model.signature();
        let refuse = |why: String| {
            RunError::Parameter(format!(
                "certificate `{certificate}`: model `{}` has no bounds: {why}",
                signature.name
            ))
        };
        if !device::is_exact(&signature.device) {
            return Err(refuse(format!(
                "they hold for 32-bit arithmetic, and {} may round more coarsely; run it with --device cpu",
                device::describe(&signature.device)
            )));
        }
        let program = self.model.decisions().program().map_err(refuse)?;
        program.check().map_err(|e| refuse(e.to_string()))?;
        let features = signature.modalities[0].features();
        if (program.features(), program.outputs()) != (features, signature.classes) {
            return Err(refuse(format!(
                "its operations take {} features and give {} scores; expected {features} and {}",
                program.features(),
                program.outputs(),
                signature.classes
            )));
        }
        Ok(program)
    }

    /// Bounds every sample at every budget.
    pub(super) fn bounded(
        &self,
        certificate: &Certificate,
        measured: &Measured<'_>,
    ) -> Result<Vec<Certified>, RunError> {
        let method = certificate.method().expect("a method of bounds");
        let program = self.program(certificate)?;
        self.same_scores(&program, measured)?;
        let mut all = Vec::new();
        for (t, threat) in measured.threats.iter().enumerate() {
            let started = (self.clock)();
            let mut meta = certificate.meta(measured.whole[t].clone(), Cost::default());
            self.progress.begin(&meta.key, measured.samples.len());
            let (budget, stop) = (&threat.budgets()[0], self.stop);
            let one = |row: usize| {
                if stop() {
                    return Ok(outcome(&meta.key, CertificateStatus::Stopped));
                }
                bounded(&program, method, measured, budget, row, &meta.key)
            };
            // Samples are independent, and their order is kept.
            let rows: Vec<usize> = (0..measured.samples.len()).collect();
            let outcomes = rows.into_par_iter().map(one);
            let outcomes = outcomes.collect::<Result<Vec<_>, BoundError>>();
            let outcomes = outcomes
                .map_err(|e| RunError::Parameter(format!("certificate `{certificate}`: {e}")))?;
            meta.cost.seconds = (self.clock)() - started;
            all.push(Certified {
                meta,
                threat: t,
                outcomes,
            });
        }
        Ok(all)
    }

    /// Checks that the model's own scores lie within the bounds of a box that is the sample alone: that the operations are
    /// those of the model.
    fn same_scores(&self, program: &Program, measured: &Measured<'_>) -> Result<(), RunError> {
        let check = |c: &Clean| -> Result<(), String> {
            let Some(scores) = &c.scores else {
                return Ok(());
            };
            let x: Vec<f64> = measured.samples.sample(c.row)[0]
                .iter()
                .copied()
                .map(f64::from)
                .collect();
            let [low, high] = match program.outputs_over(&x, &x, Method::Interval) {
                Ok(ends) => ends,
                // Nothing is certified where scores may overflow.
                Err(BoundError::Overflow { .. }) => return Ok(()),
                Err(e) => return Err(e.to_string()),
            };
            for (i, score) in scores.iter().enumerate() {
                let v = f64::from(*score);
                if !(low[i] <= v && v <= high[i]) {
                    return Err(format!(
                        "score {i} of sample {} is {v}, and the operations that the model states give {} to {}: they are not those that it computes",
                        c.row, low[i], high[i]
                    ));
                }
            }
            Ok(())
        };
        let wrong = measured.clean.par_iter().find_map_first(|c| check(c).err());
        let name = &self.model.signature().name;
        wrong.map_or(Ok(()), |why| {
            Err(RunError::Certificate(format!("model `{name}`: {why}")))
        })
    }
}

/// The outcome of one sample.
fn bounded(
    program: &Program,
    method: Method,
    measured: &Measured<'_>,
    budget: &Budget,
    row: usize,
    key: &str,
) -> Result<CertificateOutcome, BoundError> {
    let label = measured.samples.labels[row];
    let Some(clean) = measured.clean.iter().find(|c| c.row == row) else {
        return Ok(outcome(key, CertificateStatus::Stopped));
    };
    match clean.pred {
        Some(pred) if pred == label => {}
        Some(_) => return Ok(outcome(key, CertificateStatus::Misclassified)),
        // No decision at all.
        None => return Ok(outcome(key, CertificateStatus::Open)),
    }
    let modality = &measured.samples.modalities[0];
    let (low, high) = box_of(modality, budget, row, measured.samples.sample(row)[0]);
    let margin = match program.margins(&low, &high, label, method) {
        Ok(margins) => margins.into_iter().fold(f64::INFINITY, f64::min),
        Err(BoundError::Overflow { .. }) => f64::NEG_INFINITY,
        Err(e) => return Err(e),
    };
    Ok(CertificateOutcome {
        margin: margin.is_finite().then_some(margin),
        ..outcome(
            key,
            if margin > 0.0 {
                CertificateStatus::Certified
            } else {
                CertificateStatus::Open
            },
        )
    })
}

/// The box of a sample: its budget, inside the bounds of the input; features that may not change are single points.
fn box_of(modality: &Modality, budget: &Budget, row: usize, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let radius = budget.radius.of(row);
    let ends = |f: usize| {
        let v = f64::from(x[f]);
        let is_free = budget.mask.as_ref().is_none_or(|mask| mask[f]);
        if radius == 0.0 || !is_free {
            return (v, v);
        }
        // A sample outside the bounds may stay where it is.
        let low = f64::from(modality.bounds.low(f)).min(v);
        let high = f64::from(modality.bounds.high(f)).max(v);
        let radius = radius * (1.0 + ROUNDING);
        (
            (v - radius).next_down().max(low),
            (v + radius).next_up().min(high),
        )
    };
    (0..x.len()).map(ends).unzip()
}

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Epsilon, Kind, Norm};
    use proofmark_threat::Radius;

    use super::*;

    #[test]
    fn a_box_is_the_budget_inside_the_bounds_without_frozen_features() {
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![4],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let mut budget = Budget {
            modality: "x".into(),
            norm: Norm::Linf,
            radius: Radius::Uniform(Epsilon::new(0.25).unwrap()),
            mask: Some([true, true, false, true].into()),
        };
        let (low, high) = box_of(&modality, &budget, 0, &[0.5, 0.125, 0.5, 1.0]);
        let near = |a: &[f64], b: [f64; 4]| {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?}");
        };
        near(&low, [0.25, 0.0, 0.5, 0.75]);
        near(&high, [0.75, 0.375, 0.5, 1.0]);
        // Outward: nothing that a gauge of 1 allows lies outside.
        assert!(low[0] < 0.25 && high[0] > 0.75);
        assert_eq!((low[1], high[3]), (0.0, 1.0));
        budget.radius = Radius::PerSample([0.0, 0.1].into());
        let (low, high) = box_of(&modality, &budget, 0, &[0.5; 4]);
        assert_eq!((low, high), (vec![0.5; 4], vec![0.5; 4]));
    }
}
