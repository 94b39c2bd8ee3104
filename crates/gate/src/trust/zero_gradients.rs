use proofmark_domain::{Observation, RunStatus, TrustCode, TrustFlag};

use super::evidence::{TrustInput, share};

/// Raised if a sample that a pass rests on had zero gradients in every gradient attack that attacked it: none of them
/// had a direction to follow.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let unbroken = evidence.unbroken().count();
    let attacks: Vec<usize> = evidence.gradient_attacks().collect();
    let blind = evidence
        .unbroken()
        .filter(|&s| {
            let mut took = attacks
                .iter()
                .filter(|&&r| {
                    let unattacked = [RunStatus::Skipped, RunStatus::BrokenBefore];
                    !unattacked.contains(&evidence.status(s, r))
                })
                .peekable();
            took.peek().is_some()
                && took.all(|&r| evidence.run_saw(s, r, Observation::ZeroGradient))
        })
        .count();
    (blind > 0).then(|| TrustFlag {
        code: TrustCode::ZeroGradients,
        message: format!(
            "gradients were exactly zero on at least half of the steps on {} that no attack broke",
            share(blind, unbroken)
        ),
        cured: false,
    })
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust};

    use super::*;
    use crate::trust::fixture::{attack, report, sample};

    #[test]
    fn an_unbroken_sample_without_gradient_raises_it() {
        let mut held = sample(0, &[Robust]);
        held.runs[0].observed = vec![Observation::ZeroGradient];
        let flags = report(vec![attack("pgd", 0.1)], vec![held, sample(1, &[Broken])]).trust;
        assert_eq!(flags[0].code, TrustCode::ZeroGradients);
        assert!(
            flags[0].message.contains("1 of 1 samples"),
            "{}",
            flags[0].message
        );
    }

    #[test]
    fn a_sample_that_another_attack_broke_stays_silent() {
        let mut broken = sample(0, &[Robust, Broken]);
        broken.runs[0].observed = vec![Observation::ZeroGradient];
        let runs = || vec![attack("fgsm", 0.1), attack("pgd", 0.1)];
        assert_eq!(report(runs(), vec![broken]).trust, []);
        let mut held = sample(0, &[Robust, Robust]);
        held.runs[0].observed = vec![Observation::ZeroGradient];
        let r = report(runs(), vec![held]);
        assert_eq!(r.trust, [], "the other attack had gradients");
        assert_eq!(r.attacks[0].trust[0].code, TrustCode::ZeroGradients);
        assert_eq!(r.attacks[1].trust, []);
    }
}
