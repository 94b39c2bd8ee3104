use proofmark_domain::{Role, TrustCode, TrustFlag};

use super::evidence::{TrustInput, same_threat, share};

/// The rule fires if the baseline alone broke at least one sample and more than one in 200 (0.5 %). `AutoAttack` warns
/// from 0.2 points of *net* accuracy, but this rule counts single samples, and a random baseline occasionally breaks
/// one that a short gradient attack missed.
const ONE_IN: usize = 200;

/// Raised if, at some threat, a baseline without gradients broke samples that no gradient attack broke.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let counted: Vec<usize> = (0..evidence.samples.len())
        .filter(|&s| !evidence.samples[s].is_of_target())
        .collect();
    let n = counted.len();
    let mut worst: Option<(usize, String)> = None;
    for (b, baseline) in evidence
        .runs
        .iter()
        .enumerate()
        .filter(|(_, r)| r.role == Role::Baseline)
    {
        let rivals: Vec<usize> = evidence
            .gradient_attacks()
            .filter(|&r| same_threat(&evidence.runs[r].threat, &baseline.threat))
            .collect();
        if rivals.is_empty() {
            continue;
        }
        let missed = counted
            .iter()
            .filter(|&&s| evidence.broken_by_any(s, &[b]) && !evidence.broken_by_any(s, &rivals))
            .count();
        if missed > 0 && missed * ONE_IN > n && worst.as_ref().is_none_or(|(m, _)| missed > *m) {
            let names: Vec<_> = rivals
                .iter()
                .map(|&r| evidence.runs[r].key.as_str())
                .collect();
            worst = Some((
                missed,
                format!(
                    "{} broke {} that {} did not",
                    baseline.key,
                    share(missed, n),
                    names.join(", ")
                ),
            ));
        }
    }
    worst.map(|(_, message)| TrustFlag {
        code: TrustCode::BaselineBeatsGradient,
        message,
        cured: false,
    })
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, BrokenBefore, Robust};
    use proofmark_domain::SampleRecord;

    use super::*;
    use crate::trust::fixture::{attack, noise, report, sample};

    fn samples(n: u64, missed: u64) -> Vec<SampleRecord> {
        (0..n)
            .map(|i| {
                sample(
                    i,
                    if i < missed {
                        &[Robust, Broken]
                    } else {
                        &[Broken, Robust]
                    },
                )
            })
            .collect()
    }

    #[test]
    fn more_than_one_in_two_hundred_raises_it() {
        let runs = || vec![attack("pgd", 0.1), noise(0.1)];
        assert_eq!(report(runs(), samples(400, 2)).trust, [], "exactly 0.5 %");
        let flags = report(runs(), samples(400, 3)).trust;
        assert_eq!(flags[0].code, TrustCode::BaselineBeatsGradient);
        assert!(
            flags[0]
                .message
                .contains("noise@linf:0.1 broke 3 of 400 samples (0.8 %) that pgd@linf:0.1"),
            "{}",
            flags[0].message
        );
    }

    #[test]
    fn one_sample_of_a_few_raises_it() {
        assert_eq!(
            report(vec![attack("pgd", 0.1), noise(0.1)], samples(20, 1))
                .trust
                .len(),
            1
        );
    }

    #[test]
    fn silent_at_another_threat_or_without_a_rival() {
        assert_eq!(
            report(vec![attack("pgd", 0.1), noise(0.2)], samples(20, 5)).trust,
            []
        );
        let alone = (0..20).map(|i| sample(i, &[Broken])).collect();
        assert_eq!(report(vec![noise(0.1)], alone).trust, []);
    }

    #[test]
    fn silent_when_another_gradient_attack_broke_the_same_samples() {
        let rows = (0..20)
            .map(|i| sample(i, &[Robust, Broken, Broken]))
            .collect();
        assert_eq!(
            report(
                vec![attack("fgsm", 0.1), attack("pgd", 0.1), noise(0.1)],
                rows
            )
            .trust,
            []
        );
    }

    /// A later attack of a suite skips the samples that an earlier one broke; a baseline that breaks them is not
    /// better.
    #[test]
    fn samples_broken_by_an_earlier_attack_of_a_suite_do_not_raise_it() {
        let run = |status| (0..40).map(|i| sample(i, &[status, Broken])).collect();
        let flags = |status| report(vec![attack("pgd", 0.1), noise(0.1)], run(status)).trust;
        let raised = |status| {
            flags(status)
                .iter()
                .any(|f| f.code == TrustCode::BaselineBeatsGradient)
        };
        assert!(raised(Robust));
        assert!(!raised(BrokenBefore));
    }
}
