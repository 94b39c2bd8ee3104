use proofmark_domain::{Role, TrustCode, TrustFlag};

use super::evidence::{TrustInput, same_threat, share};
use crate::proportion::lower;

/// The rule fires if a baseline alone broke at least one sample and more than one in 200 (0.5 %). `AutoAttack` warns
/// from 0.2 points of *net* accuracy, but this rule counts single samples, and a random baseline occasionally breaks
/// one that a short gradient attack missed.
const ONE_IN: usize = 200;

/// An attack on scores or decisions is no baseline and may find a sample near the boundary that gradients missed. The
/// share that it alone broke must be above `AutoAttack`'s 0.2 points with confidence (95 % interval).
const NET: f64 = 0.002;

/// Minimum number of steps of a gradient attack that another attack should not beat.
const FEW: u64 = 10;

/// Raised if, at some threat, a baseline or attack without gradients broke samples that no gradient attack broke.
///
/// An attack is compared only if one of the gradient attacks has at least ten steps: a single step misses much on any
/// model.
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
        .filter(|(_, r)| r.role == Role::Baseline || r.role == Role::Attack && !r.gradient)
    {
        // A suite that has the attack as a member did not break by gradients what that member broke.
        if evidence.is_suite(b) {
            continue;
        }
        let is_mapped = baseline.threat.map.is_some();
        let mut rivals: Vec<usize> = evidence
            .gradient_attacks()
            .filter(|&r| !evidence.is_suite(r) && !evidence.is_universal(r))
            .filter(|&r| same_threat(&evidence.runs[r].threat, &baseline.threat))
            .collect();
        // Scores are no smooth function of an angle, so gradients miss there what a grid finds, and no model is to blame:
        // a baseline must beat both.
        if is_mapped && baseline.role == Role::Attack {
            continue;
        }
        if is_mapped && !rivals.is_empty() {
            let others = evidence.runs.iter().enumerate().filter(|(_, r)| {
                r.role == Role::Attack && !r.gradient && same_threat(&r.threat, &baseline.threat)
            });
            rivals.extend(others.map(|(r, _)| r));
        }
        let steps = |r: &usize| {
            let steps = evidence.runs[*r].parameters.get("steps");
            steps.and_then(serde_json::Value::as_u64).unwrap_or(1)
        };
        let is_baseline = baseline.role == Role::Baseline;
        if rivals.is_empty() || !(is_baseline || rivals.iter().any(|r| steps(r) >= FEW)) {
            continue;
        }
        let missed = counted
            .iter()
            .filter(|&&s| evidence.broken_by_any(s, &[b]) && !evidence.broken_by_any(s, &rivals))
            .count();
        let many = if is_baseline {
            missed > 0 && missed * ONE_IN > n
        } else {
            lower(missed as u64, n as u64, 0.95) > NET
        };
        if many && worst.as_ref().is_none_or(|(m, _)| missed > *m) {
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
    use proofmark_domain::{RunMeta, SampleRecord};

    use super::*;
    use crate::trust::fixture::{attack, noise, report, sample, scoring, with};

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
    fn a_universal_change_may_miss_what_noise_finds_and_behind_a_map_a_grid_counts_beside_gradients()
     {
        let runs = || vec![attack("pgd", 0.1), noise(0.1)];
        assert_eq!(report(runs(), samples(20, 9)).trust.len(), 1);
        let mut fitted = samples(20, 9);
        fitted[0].runs[0].observed = vec![proofmark_domain::Observation::Fitted];
        assert_eq!(report(runs(), fitted).trust, []);

        let map = || {
            let mut runs = vec![attack("pgd", 0.1), noise(0.1), scoring("grid", 0.1)];
            for run in &mut runs {
                run.threat.map = Some("spatial".parse().unwrap());
            }
            runs
        };
        let by = |grid| (0..20).map(move |i| sample(i, &[Robust, Broken, grid]));
        assert_eq!(report(map(), by(Broken).collect()).trust, []);
        assert_eq!(report(map(), by(Robust).collect()).trust.len(), 1);
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
    fn an_attack_on_scores_must_find_clearly_more_than_one_of_enough_steps() {
        let flags = |steps: u64, missed: u64| {
            let runs = vec![
                with(attack("pgd", 0.1), "steps", steps),
                scoring("square", 0.1),
            ];
            report(runs, samples(100, missed)).trust.len()
        };
        assert_eq!(flags(40, 1), 0, "the interval of 1 of 100 begins at 0.0003");
        assert_eq!(flags(40, 2), 1, "that of 2 at 0.0024");
        assert_eq!(flags(10, 50), 1);
        assert_eq!(flags(9, 50), 0);
    }

    /// In a suite only the survivors reach the attack on scores; what it breaks among them still counts.
    #[test]
    fn samples_that_an_earlier_attack_broke_are_not_the_later_ones() {
        let runs = || {
            vec![
                with(attack("apgd", 0.1), "steps", 100),
                scoring("square", 0.1),
            ]
        };
        let rows = (0..100).map(|i| {
            sample(
                i,
                if i < 3 {
                    &[Robust, Broken]
                } else {
                    &[Broken, BrokenBefore]
                },
            )
        });
        assert_eq!(report(runs(), rows.collect()).trust.len(), 1);
        let rows = (0..100).map(|i| sample(i, &[Broken, BrokenBefore]));
        assert_eq!(report(runs(), rows.collect()).trust, []);
        let member = |run: RunMeta| RunMeta {
            key: format!("autoattack/{}", run.key),
            ..run
        };
        let mut suite: Vec<RunMeta> = runs().into_iter().map(member).collect();
        suite.insert(0, attack("autoattack", 0.1));
        let rows = (0..100).map(|i| {
            sample(
                i,
                if i < 3 {
                    &[Broken, Robust, Broken]
                } else {
                    &[Broken, Broken, BrokenBefore]
                },
            )
        });
        assert_eq!(report(suite, rows.collect()).trust.len(), 1);
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
