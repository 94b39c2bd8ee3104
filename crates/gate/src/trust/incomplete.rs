use proofmark_domain::{Observation, RunMeta, RunStatus, TrustCode, TrustFlag};

use super::evidence::{TrustInput, is_common, share};

/// Minimum number of steps of an attack whose progress the engine follows.
const FEW: u64 = 10;

/// Raised if more than a tenth of the samples that a pass rests on (95 % interval) were given up while every gradient
/// attack that ran to its end on them was still getting nearer.
///
/// Attacks of fewer than ten steps, and those that look for the nearest adversarial, are not followed and say nothing.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let attacks: Vec<usize> = evidence
        .gradient_attacks()
        .filter(|&r| is_followed(evidence.runs[r]))
        .collect();
    let ended = |s: usize| {
        let ended = |r: &&usize| evidence.status(s, **r) == RunStatus::Robust;
        attacks.iter().filter(ended).collect::<Vec<_>>()
    };
    let judged: Vec<usize> = evidence
        .unbroken()
        .filter(|&s| !ended(s).is_empty())
        .collect();
    let rising = |s: &&usize| {
        let rising = |r: &&usize| evidence.run_saw(**s, **r, Observation::StillRising);
        ended(**s).iter().all(rising)
    };
    let unfinished = judged.iter().filter(rising).count();
    is_common(unfinished, judged.len()).then(|| TrustFlag {
        code: TrustCode::IncompleteOptimisation,
        message: format!(
            "the loss was still rising by more than 5 % of its range over the last tenth of the steps on {} that no attack broke",
            share(unfinished, judged.len())
        ),
        cured: false,
    })
}

/// Whether the engine follows the progress of a run: an ascent of enough steps.
fn is_followed(run: &RunMeta) -> bool {
    let steps = run
        .parameters
        .get("steps")
        .and_then(serde_json::Value::as_u64);
    steps.is_some_and(|n| n >= FEW) && !run.step_size.is_empty()
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust};
    use proofmark_domain::{SampleRecord, StepRecord};

    use super::*;
    use crate::trust::fixture::{attack, report, sample, with};

    fn ascent(id: &str, steps: u64) -> RunMeta {
        let mut run = with(attack(id, 0.1), "steps", steps);
        run.step_size = vec![StepRecord {
            modality: "image".into(),
            first: 0.1,
            last: 0.01,
            every_third_try: None,
        }];
        run
    }

    /// 40 samples; on the first `rising` of them the run in this column was still rising.
    fn samples(statuses: &[RunStatus], rising: u64, columns: &[usize]) -> Vec<SampleRecord> {
        (0..40)
            .map(|i| {
                let mut s = sample(i, statuses);
                for c in columns.iter().filter(|_| i < rising) {
                    s.runs[*c].observed = vec![Observation::StillRising];
                }
                s
            })
            .collect()
    }

    #[test]
    fn more_than_a_tenth_of_the_unbroken_samples_raise_it() {
        let flags = |n| report(vec![ascent("pgd", 20)], samples(&[Robust], n, &[0])).trust;
        assert_eq!(flags(8), []);
        let raised = flags(9);
        assert_eq!(raised[0].code, TrustCode::IncompleteOptimisation);
        assert!(
            raised[0].message.contains("on 9 of 40 samples"),
            "{}",
            raised[0].message
        );
    }

    #[test]
    fn silent_where_another_attack_came_to_its_end_or_broke_the_sample() {
        let runs = || vec![ascent("pgd", 20), ascent("apgd", 100)];
        assert_eq!(
            report(runs(), samples(&[Robust, Robust], 40, &[0])).trust,
            []
        );
        assert_eq!(
            report(runs(), samples(&[Robust, Broken], 40, &[0])).trust,
            []
        );
        let both = report(runs(), samples(&[Robust, Robust], 40, &[0, 1])).trust;
        assert_eq!(both[0].code, TrustCode::IncompleteOptimisation);
    }

    #[test]
    fn attacks_that_are_not_followed_say_nothing() {
        let flags = |other| {
            let runs = vec![ascent("pgd", 20), other];
            report(runs, samples(&[Robust, Robust], 40, &[0]))
                .trust
                .len()
        };
        assert_eq!(flags(ascent("bim", 9)), 1);
        assert_eq!(flags(with(attack("fab", 0.1), "steps", 100)), 1);
        assert_eq!(flags(ascent("bim", 10)), 0);
    }
}
