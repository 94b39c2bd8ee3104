use proofmark_domain::{Observation, RunMeta, RunStatus, TrustCode, TrustFlag};

use super::evidence::{TrustInput, same_threat, share};

/// Raised if a sample that a pass rests on has logits so far apart that cross-entropy gives no gradient in `f32`.
///
/// Cured if, for the threat of every gradient attack, an attack with a scale-free loss also finished on the sample.
/// Silent if no run used gradients.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let attacks: Vec<usize> = evidence.gradient_attacks().collect();
    let saturated: Vec<usize> = evidence
        .unbroken()
        .filter(|&s| evidence.saw(s, Observation::SaturatedLogits))
        .collect();
    if saturated.is_empty() || !evidence.follows_gradients() {
        return None;
    }
    let reached = |sample: usize, threat: usize| {
        attacks.iter().any(|&run| {
            scale_free(evidence.runs[run])
                && same_threat(&evidence.runs[run].threat, &evidence.runs[threat].threat)
                && matches!(
                    evidence.status(sample, run),
                    RunStatus::Robust | RunStatus::Broken
                )
        })
    };
    let blind = saturated
        .iter()
        .filter(|&&s| attacks.is_empty() || !attacks.iter().all(|&t| reached(s, t)))
        .count();
    let unbroken = evidence.unbroken().count();
    let message = if blind == 0 {
        format!(
            "logits were saturated on {} that no attack broke; attacks with a scale-free loss confirmed each",
            share(saturated.len(), unbroken)
        )
    } else {
        format!(
            "logits were saturated on {} that no attack broke, {blind} of them not confirmed by an attack with a scale-free loss",
            share(saturated.len(), unbroken)
        )
    };
    Some(TrustFlag {
        code: TrustCode::SaturatedLogits,
        message,
        cured: blind == 0,
    })
}

fn scale_free(run: &RunMeta) -> bool {
    run.parameters
        .get("loss")
        .and_then(|l| l.as_str())
        .is_some_and(|l| matches!(l, "dlr" | "margin"))
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust, Stopped};
    use proofmark_domain::{SampleRecord, TrustFlag};

    use super::*;
    use crate::trust::fixture::{attack, report, sample, with};

    fn saturated(statuses: &[RunStatus]) -> SampleRecord {
        SampleRecord {
            observed: vec![Observation::SaturatedLogits],
            ..sample(0, statuses)
        }
    }

    fn flags(losses: &[(&str, f64)], statuses: &[RunStatus]) -> Vec<TrustFlag> {
        let runs = losses.iter().enumerate().map(|(i, (loss, eps))| {
            let mut run = with(attack("pgd", *eps), "loss", *loss);
            run.key = format!("pgd-{i}");
            run
        });
        let runs: Vec<_> = runs.collect();
        let mut s = saturated(statuses);
        for (o, r) in s.runs.iter_mut().zip(&runs) {
            o.run.clone_from(&r.key);
        }
        report(runs, vec![s]).trust
    }

    #[test]
    fn cross_entropy_alone_raises_it() {
        let f = flags(&[("ce", 0.1)], &[Robust]);
        assert_eq!((f[0].code, f[0].cured), (TrustCode::SaturatedLogits, false));
    }

    #[test]
    fn a_scale_free_loss_at_the_same_threat_cures_it() {
        for loss in ["dlr", "margin"] {
            assert!(flags(&[("ce", 0.1), (loss, 0.1)], &[Robust, Robust])[0].cured);
        }
        assert!(
            !flags(&[("ce", 0.1), ("dlr", 0.2)], &[Robust, Robust])[0].cured,
            "another threat"
        );
        assert!(
            !flags(&[("ce", 0.1), ("dlr", 0.1)], &[Robust, Stopped])[0].cured,
            "it did not finish"
        );
    }

    #[test]
    fn a_broken_sample_stays_silent() {
        assert_eq!(flags(&[("ce", 0.1)], &[Broken]), []);
    }
}
