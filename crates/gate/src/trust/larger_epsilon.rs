use proofmark_domain::{Role, RunMeta, RunStatus, ThreatRecord, TrustCode, TrustFlag};

use super::evidence::{TrustInput, same_threat, share};

/// Raised if the same attack broke samples with a small budget that it did not break with a larger one.
///
/// A pair is two runs of one attack (baselines are random and not compared) with equal norms, equal parameters except
/// the step size, and budgets of which one contains the other; or a gradient attack and the unbounded probe of the same
/// id. A pair fires if the larger budget lost more than 1 % of the samples and at least two, or broke fewer in total.
/// It is cured if it does not fire when all runs with the larger budget are taken together (one-step attacks overshoot
/// by nature, and an iterated one beside them makes up for it).
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let mut fired: Vec<Pair> = Vec::new();
    for (small, a) in evidence
        .runs
        .iter()
        .enumerate()
        .filter(|(_, r)| r.role == Role::Attack)
    {
        for (large, b) in evidence.runs.iter().enumerate() {
            let comparable = match b.role {
                Role::Attack => same_attack(a, b) && contains(&b.threat, &a.threat),
                Role::Probe => {
                    a.gradient && b.gradient && a.id == b.id && a.threat.norm == b.threat.norm
                }
                Role::Baseline | Role::Planted => false,
            };
            if comparable {
                fired.extend(Pair::compare(evidence, small, large));
            }
        }
    }
    let cured = fired.iter().all(|p| p.cured);
    // The worst uncured pair if there is one, else the worst cured pair.
    let worst = fired
        .iter()
        .filter(|p| p.cured == cured)
        .max_by_key(|p| p.lost)?;
    let mut message = format!(
        "{} broke {} that {} did not ({} broken against {})",
        evidence.runs[worst.small].key,
        share(worst.lost, worst.n),
        evidence.runs[worst.large].key,
        worst.broken_small,
        worst.broken_large
    );
    if cured {
        message.push_str("; other attacks with the larger budget made up for it");
    }
    Some(TrustFlag {
        code: TrustCode::LargerEpsilonFindsLess,
        message,
        cured,
    })
}

struct Pair {
    small: usize,
    large: usize,
    lost: usize,
    broken_small: usize,
    broken_large: usize,
    n: usize,
    cured: bool,
}

impl Pair {
    /// Returns the pair if it fires.
    fn compare(evidence: &TrustInput<'_>, small: usize, large: usize) -> Option<Self> {
        let runs = &evidence.runs;
        let rows: Vec<usize> = (0..evidence.samples.len())
            .filter(|&s| {
                matches!(
                    evidence.status(s, large),
                    RunStatus::Robust | RunStatus::Broken
                )
            })
            .collect();
        let helpers: Vec<usize> = (0..runs.len())
            .filter(|&r| match runs[large].role {
                Role::Probe => runs[r].role == Role::Probe,
                _ => {
                    runs[r].role != Role::Probe && same_threat(&runs[r].threat, &runs[large].threat)
                }
            })
            .collect();
        let tally = |by: &[usize]| {
            let lost = rows
                .iter()
                .filter(|&&s| evidence.broken_by_any(s, &[small]) && !evidence.broken_by_any(s, by))
                .count();
            (
                lost,
                rows.iter()
                    .filter(|&&s| evidence.broken_by_any(s, by))
                    .count(),
            )
        };
        let broken_small = rows
            .iter()
            .filter(|&&s| evidence.broken_by_any(s, &[small]))
            .count();
        let fires = |(lost, broken): (usize, usize)| {
            lost >= 2 && lost * 100 > rows.len() || broken < broken_small
        };
        let (lost, broken_large) = tally(&[large]);
        fires((lost, broken_large)).then(|| Self {
            small,
            large,
            lost,
            broken_small,
            broken_large,
            n: rows.len(),
            cured: !fires(tally(&helpers)),
        })
    }
}

fn same_attack(a: &RunMeta, b: &RunMeta) -> bool {
    let fixed = |run: &RunMeta| {
        let mut parameters = run.parameters.clone();
        parameters.remove("step_size");
        parameters
    };
    a.id == b.id && fixed(a) == fixed(b)
}

/// Whether the larger threat allows everything the smaller one allows, and more.
fn contains(large: &ThreatRecord, small: &ThreatRecord) -> bool {
    large.norm == small.norm
        && large.coupling == small.coupling
        && large.budgets.len() == small.budgets.len()
        && large
            .budgets
            .iter()
            .zip(&small.budgets)
            .all(|(l, s)| l.modality == s.modality && l.norm == s.norm && l.eps >= s.eps)
        && large.eps >= small.eps
        && (large.eps > small.eps
            || large
                .budgets
                .iter()
                .zip(&small.budgets)
                .any(|(l, s)| l.eps > s.eps))
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust, Skipped};
    use proofmark_domain::SampleRecord;

    use super::*;
    use crate::trust::fixture::{attack, noise, probe, report, sample, with};

    /// `n` samples: the first `lost` broken only by the first run, the next `gained` only by the second, the rest by
    /// both.
    fn samples(n: u64, lost: u64, gained: u64) -> Vec<SampleRecord> {
        let statuses = |i| {
            if i < lost {
                [Broken, Robust]
            } else if i < lost + gained {
                [Robust, Broken]
            } else {
                [Broken, Broken]
            }
        };
        (0..n).map(|i| sample(i, &statuses(i))).collect()
    }

    fn pair() -> Vec<RunMeta> {
        vec![
            with(attack("pgd", 0.1), "step_size", 0.01),
            with(attack("pgd", 0.2), "step_size", 0.02),
        ]
    }

    #[test]
    fn more_than_one_percent_lost_raises_it() {
        assert_eq!(report(pair(), samples(300, 3, 10)).trust, [], "exactly 1 %");
        let flags = report(pair(), samples(300, 4, 10)).trust;
        assert_eq!(
            (flags[0].code, flags[0].cured),
            (TrustCode::LargerEpsilonFindsLess, false)
        );
        assert!(
            flags[0]
                .message
                .contains("pgd@linf:0.1 broke 4 of 300 samples (1.3 %) that pgd@linf:0.2"),
            "{}",
            flags[0].message
        );
    }

    #[test]
    fn a_fall_in_the_total_raises_it() {
        assert_eq!(report(pair(), samples(300, 1, 0)).trust.len(), 1);
        assert_eq!(report(pair(), samples(300, 1, 1)).trust, []);
    }

    #[test]
    fn silent_between_different_attacks_parameters_and_random_baselines() {
        let rows = || samples(100, 20, 0);
        assert_eq!(
            report(vec![attack("fgsm", 0.1), attack("pgd", 0.2)], rows()).trust,
            []
        );
        assert_eq!(
            report(
                vec![
                    with(attack("pgd", 0.1), "steps", 40),
                    with(attack("pgd", 0.2), "steps", 10)
                ],
                rows()
            )
            .trust,
            []
        );
        assert_eq!(report(vec![noise(0.1), noise(0.2)], rows()).trust, []);
        assert_eq!(
            report(vec![attack("pgd", 0.2), attack("pgd", 0.1)], rows()).trust,
            [],
            "the first is the larger one"
        );
    }

    #[test]
    fn another_attack_with_the_larger_budget_cures_it() {
        let rows = (0..100)
            .map(|i| sample(i, &[Broken, Robust, Broken]))
            .collect();
        assert!(
            report(
                vec![attack("fgsm", 0.1), attack("fgsm", 0.2), attack("pgd", 0.2)],
                rows
            )
            .trust[0]
                .cured
        );
    }

    #[test]
    fn a_probe_that_misses_what_the_bounded_attack_broke_raises_it() {
        let rows = (0..100)
            .map(|i| {
                sample(
                    i,
                    &[
                        Broken,
                        if i < 3 {
                            Robust
                        } else if i < 64 {
                            Broken
                        } else {
                            Skipped
                        },
                    ],
                )
            })
            .collect();
        let flags = report(vec![attack("pgd", 0.1), probe("pgd")], rows).trust;
        assert_eq!(flags[0].code, TrustCode::LargerEpsilonFindsLess);
        assert!(flags[0].message.contains("3 of 64"), "{}", flags[0].message);
    }
}
