//! Attacks and certificates must agree: what is certified cannot be broken.

use proofmark_domain::{CertificateStatus, Certifies, Norm, RunStatus, SampleRecord};
use proofmark_threat::{Budget, Threat};

use super::Certified;
use crate::RunError;

/// Returns the error of a sample that a certificate proves and an attack breaks within the same budget. `runs` are the
/// runs of the samples' outcomes with their budgets, in order (no budget: a run on other scores than the model's).
///
/// Certificates of another classifier are not compared: attacks on the model say nothing about it.
pub(crate) fn contradiction(
    certified: &[Certified],
    threats: &[Threat],
    runs: &[(String, Option<Threat>)],
    samples: &[SampleRecord],
) -> Result<(), RunError> {
    let proofs = certified
        .iter()
        .filter(|c| c.meta.certifies == Certifies::Model);
    for proof in proofs {
        for (r, (key, attacked)) in runs.iter().enumerate() {
            let Some(attacked) = attacked else { continue };
            for (row, sample) in samples.iter().enumerate() {
                let is_proven = proof.outcomes[row].status == CertificateStatus::Certified;
                let is_broken = sample.runs[r].status == RunStatus::Broken;
                if is_proven
                    && is_broken
                    && is_within(
                        &attacked.budgets()[0],
                        &threats[proof.threat].budgets()[0],
                        row,
                    )
                {
                    return Err(RunError::Certificate(format!(
                        "sample {} is certified by `{}` and broken by `{key}`: one of them is wrong, and nothing of this run can be trusted. This is a bug of proofmark, or of the operations that the model states; please report it with the model and the sample",
                        sample.id, proof.meta.key
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Whether every change that the budget `attacked` allows a sample is inside the Linf budget `proven`.
fn is_within(attacked: &Budget, proven: &Budget, row: usize) -> bool {
    // Neither of these norms is below the largest change of a feature.
    matches!(attacked.norm, Norm::Linf | Norm::L2 | Norm::L1)
        && attacked.mask == proven.mask
        && attacked.radius.of(row) <= proven.radius.of(row)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proofmark_domain::{Cost, Epsilon, RunOutcome, SampleId};
    use proofmark_threat::Radius;

    use CertificateStatus::{Certified as Proven, Open};

    use super::*;
    use crate::Certificate;
    use crate::certify::outcome;

    fn threat(norm: Norm, eps: f64, mask: Option<Arc<[bool]>>) -> Threat {
        let modality = crate::shipped::modality();
        let budget = Budget {
            modality: modality.name.clone(),
            norm,
            radius: Radius::Uniform(Epsilon::new(eps).unwrap()),
            mask,
        };
        Threat::new(&[modality], vec![budget], Default::default(), 1).unwrap()
    }

    fn broken() -> SampleRecord {
        SampleRecord {
            id: SampleId::Row(7),
            label: 1,
            target: None,
            clean_pred: Some(1),
            adv_pred: Some(2),
            clean_correct: true,
            clean_outputs: vec![],
            adv_outputs: vec![],
            broken_by: None,
            gauge: None,
            distance: None,
            norm: None,
            observed: vec![],
            runs: vec![RunOutcome {
                run: "pgd@linf:0.1".into(),
                status: RunStatus::Broken,
                adv_pred: Some(2),
                gauge: Some(1.0),
                distance: Some(0.1),
                forward: 1,
                backward: 1,
                surrogate_forward: 0,
                surrogate_backward: 0,
                observed: vec![],
            }],
            certificates: vec![],
            groups: Default::default(),
        }
    }

    #[test]
    fn a_broken_sample_that_is_certified_is_an_error() {
        let half: Arc<[bool]> = (0..64).map(|f| f < 32).collect();
        let proof = |certificate: &Certificate, status| {
            let proven = threat(Norm::Linf, 0.1, None);
            let certified = Certified {
                meta: certificate.meta(proven.record(), Cost::default()),
                threat: 0,
                outcomes: vec![outcome("interval@linf:0.1", status)],
            };
            (vec![certified], vec![proven])
        };
        let check = |certificate: &Certificate, status, attacked: Threat| {
            let (certified, threats) = proof(certificate, status);
            let runs = [("pgd@linf:0.1".to_owned(), Some(attacked))];
            contradiction(&certified, &threats, &runs, &[broken()])
        };
        for inside in [
            threat(Norm::Linf, 0.1, None),
            threat(Norm::Linf, 0.05, None),
            threat(Norm::L2, 0.1, None),
            threat(Norm::L1, 0.1, None),
        ] {
            let error = check(&Certificate::Interval, Proven, inside)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(
                    "sample 7 is certified by `interval@linf:0.1` and broken by `pgd@linf:0.1`"
                ),
                "{error}"
            );
        }
        let smoothing = Certificate::Smoothing(crate::Smoothing::new(0.1));
        for (certificate, status, attacked) in [
            (
                &Certificate::Interval,
                Proven,
                threat(Norm::Linf, 0.11, None),
            ),
            (&Certificate::Interval, Proven, threat(Norm::L2, 0.2, None)),
            (
                &Certificate::Interval,
                Proven,
                threat(Norm::Linf, 0.1, Some(half)),
            ),
            (&Certificate::Interval, Open, threat(Norm::Linf, 0.1, None)),
            // It is about another classifier.
            (&smoothing, Proven, threat(Norm::Linf, 0.1, None)),
        ] {
            assert!(check(certificate, status, attacked).is_ok());
        }
    }
}
