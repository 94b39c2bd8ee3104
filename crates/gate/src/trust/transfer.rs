use proofmark_domain::{TrustCode, TrustFlag};

use super::evidence::{TrustInput, share};

/// Raised if a point that was adversarial on the gradient path of a model was none on its plain path, although the model
/// repeats its answers: the gradients are those of another function.
///
/// On a model that does not repeat them, and for attacks without gradients, the same observation is a silent success.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let n = evidence.samples.len();
    let failed = (0..n).filter(|&s| evidence.failed_to_transfer(s)).count();
    (failed > 0).then(|| TrustFlag {
        code: TrustCode::TransferFailure,
        message: format!(
            "an adversarial of the gradient path was none on the plain path on {}",
            share(failed, n)
        ),
        cured: false,
    })
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Observation::{OutputChanged, WitnessRejected};
    use proofmark_domain::RunStatus::Robust;

    use super::*;
    use crate::trust::fixture::{attack, noise, report, sample};

    /// The codes of four samples, of which one had a point rejected in `run`; the model is random if `random`.
    fn codes(run: usize, random: bool) -> Vec<TrustCode> {
        let mut rows: Vec<_> = (0..4).map(|i| sample(i, &[Robust, Robust])).collect();
        rows[2].runs[run].observed = vec![WitnessRejected];
        if random {
            rows[0].observed = vec![OutputChanged];
        }
        let flags = report(vec![attack("pgd", 0.1), noise(0.1)], rows).trust;
        flags.iter().map(|f| f.code).collect()
    }

    #[test]
    fn a_rejected_point_of_a_gradient_attack_is_one_on_a_model_that_repeats_itself() {
        assert_eq!(codes(0, false), [TrustCode::TransferFailure]);
    }

    #[test]
    fn elsewhere_it_is_a_silent_success() {
        assert_eq!(codes(1, false), [TrustCode::SilentSuccess]);
        let random = [TrustCode::RandomisedOutputs, TrustCode::SilentSuccess];
        assert_eq!(codes(0, true), random);
    }
}
