use proofmark_domain::{Role, RunStatus, TrustCode, TrustFlag};

use super::evidence::{TrustInput, share};
use crate::proportion::{Proportion, lower};

/// Below this many attacked samples the interval is too wide, and the point value decides.
const FEW: usize = 10;

/// Raised if a gradient attack without a budget limit still left more samples correct than guessing would.
///
/// Each probe is compared with chance over the correct samples it attacked: it fails if the lower end of its survivors'
/// 95 % interval is above one in `classes`, or the point value if it attacked fewer than ten. Cured if the samples that
/// no probe broke are not above chance by the same test: then some attack here can follow the gradients, and the
/// figures rest on that one.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let probes: Vec<usize> = (0..evidence.runs.len())
        .filter(|&r| evidence.runs[r].role == Role::Probe && evidence.runs[r].gradient)
        .collect();
    let chance = 1.0 / evidence.classes.max(1) as f64;
    let failed: Vec<(usize, Survivors)> = probes
        .iter()
        .map(|&p| (p, survivors(evidence, &[p])))
        .filter(|(_, s)| s.above(chance))
        .collect();
    let (run, worst) = failed
        .iter()
        .max_by(|a, b| a.1.share().total_cmp(&b.1.share()))?;
    let ci = Proportion::new(worst.left, 0, worst.attacked).ci95();
    let mut message = format!(
        "{} left {} right with no budget limit (95 % interval {:.1} % to {:.1} %); chance is {:.1} %",
        evidence.runs[*run].key,
        share(worst.left, worst.attacked),
        100.0 * ci.low,
        100.0 * ci.high,
        100.0 * chance
    );
    let together = survivors(evidence, &probes);
    let cured = !together.above(chance);
    if cured {
        message.push_str("; all unbounded attacks together left ");
        message.push_str(&share(together.left, together.attacked));
    }
    Some(TrustFlag {
        code: TrustCode::UnboundedAttackFails,
        message,
        cured,
    })
}

struct Survivors {
    left: usize,
    attacked: usize,
}

impl Survivors {
    fn share(&self) -> f64 {
        self.left as f64 / self.attacked.max(1) as f64
    }

    fn above(&self, chance: f64) -> bool {
        if self.attacked < FEW {
            self.share() > chance
        } else {
            lower(self.left as u64, self.attacked as u64, 0.95) > chance
        }
    }
}

/// Counts the survivors. A stopped probe did not break the sample; an invalid one says nothing about gradients (other
/// codes cover it).
fn survivors(evidence: &TrustInput<'_>, probes: &[usize]) -> Survivors {
    let attacked = |s: &usize| {
        let tried = |&p: &usize| {
            matches!(
                evidence.status(*s, p),
                RunStatus::Robust | RunStatus::Broken | RunStatus::Stopped
            )
        };
        evidence.samples[*s].clean_correct && probes.iter().any(tried)
    };
    let rows: Vec<usize> = (0..evidence.samples.len()).filter(attacked).collect();
    let left = rows
        .iter()
        .filter(|&&s| !evidence.broken_by_any(s, probes))
        .count();
    Survivors {
        left,
        attacked: rows.len(),
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust, Skipped};
    use proofmark_domain::SampleRecord;

    use super::*;
    use crate::trust::fixture::{probe, report, sample};

    fn samples(attacked: u64, left: u64) -> Vec<SampleRecord> {
        let status = |i| {
            if i < left {
                Robust
            } else if i < attacked {
                Broken
            } else {
                Skipped
            }
        };
        (0..attacked + 50)
            .map(|i| sample(i, &[status(i)]))
            .collect()
    }

    #[test]
    fn survivors_clearly_above_chance_raise_it() {
        let flags = report(vec![probe("pgd")], samples(64, 20)).trust;
        assert_eq!(
            (flags[0].code, flags[0].cured),
            (TrustCode::UnboundedAttackFails, false)
        );
        assert!(
            flags[0].message.contains("20 of 64 samples (31.2 %)"),
            "{}",
            flags[0].message
        );
        assert!(
            flags[0].message.contains("chance is 10.0 %"),
            "{}",
            flags[0].message
        );
    }

    #[test]
    fn silent_at_chance_and_where_nothing_was_probed() {
        assert_eq!(report(vec![probe("pgd")], samples(64, 8)).trust, []);
        assert_eq!(report(vec![probe("pgd")], samples(0, 0)).trust, []);
    }

    #[test]
    fn with_few_samples_the_point_value_decides() {
        assert_eq!(report(vec![probe("pgd")], samples(5, 1)).trust.len(), 1);
        assert_eq!(report(vec![probe("pgd")], samples(5, 0)).trust, []);
    }

    #[test]
    fn a_second_probe_that_reaches_chance_cures_it() {
        let rows = (0..64).map(|i| sample(i, &[Robust, Broken])).collect();
        assert!(report(vec![probe("fgsm"), probe("pgd")], rows).trust[0].cured);
    }
}
