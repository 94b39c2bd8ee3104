use proofmark_domain::{TrustCode, TrustFlag};

use super::evidence::TrustInput;

/// Returns a flag that the model states about itself, such as a softmax that was bypassed.
///
/// Such facts are about gradients; silent if no run used them.
pub(crate) fn rule(
    code: TrustCode,
    stated: &[TrustFlag],
    evidence: &TrustInput<'_>,
) -> Option<TrustFlag> {
    let flag = stated.iter().find(|f| f.code == code)?;
    evidence.follows_gradients().then(|| flag.clone())
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::Robust;

    use super::*;
    use crate::summarise;
    use crate::trust::fixture::{attack, head, noise, sample};

    fn flag(cured: bool) -> TrustFlag {
        TrustFlag {
            code: TrustCode::ProbabilitiesAsLogits,
            message: "the scores are those before the Softmax".into(),
            cured,
        }
    }

    #[test]
    fn raised_only_if_a_run_used_gradients() {
        let report = |run| {
            let mut head = head(1);
            head.model.stated = vec![flag(false)];
            summarise(head, vec![run], vec![sample(0, &[Robust])])
        };
        assert_eq!(report(attack("pgd", 0.1)).trust, [flag(false)]);
        assert_eq!(report(noise(0.1)).trust, []);
    }
}
