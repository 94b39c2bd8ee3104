use proofmark_domain::{Observation, TrustCode, TrustFlag};

use super::evidence::{Evidence, share};

/// A sample that a pass rests on met no gradient at all: the attack never knew where to go.
pub(crate) fn rule(evidence: &Evidence<'_>) -> Option<TrustFlag> {
    let unbroken = evidence.unbroken().count();
    let blind = evidence
        .unbroken()
        .filter(|&s| evidence.saw(s, Observation::ZeroGradient))
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
        held.observed = vec![Observation::ZeroGradient];
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
        broken.observed = vec![Observation::ZeroGradient];
        assert_eq!(
            report(vec![attack("fgsm", 0.1), attack("pgd", 0.1)], vec![broken]).trust,
            []
        );
    }
}
