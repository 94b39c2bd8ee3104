use proofmark_domain::{Observation, TrustCode, TrustFlag};

use super::evidence::{TrustInput, is_common, share};

/// Raised if, on more than a tenth of the probed samples (95 % interval), random changes of a twentieth of the budget
/// change the margin by more than a tenth of itself on average. Silent if no run used gradients.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let (unstable, probed) = evidence.probed_with(Observation::UnstableMargin);
    let raised = is_common(unstable, probed) && evidence.follows_gradients();
    raised.then(|| TrustFlag {
        code: TrustCode::UnstablePredictions,
        message: format!(
            "random changes of a twentieth of the budget changed the margin by more than a tenth of itself on {}",
            share(unstable, probed)
        ),
        cured: false,
    })
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Skipped};

    use super::*;
    use crate::trust::fixture::{attack, probe, report, sample};

    /// The flags of 60 samples, of which the first 40 were probed and the first `unstable` seen to be so.
    fn flags(unstable: u64) -> Vec<TrustFlag> {
        let rows = (0..60).map(|i| {
            let mut s = sample(i, &[Broken, if i < 40 { Broken } else { Skipped }]);
            if i < unstable {
                s.observed.push(Observation::UnstableMargin);
            }
            s
        });
        report(vec![attack("pgd", 0.1), probe("pgd")], rows.collect()).trust
    }

    #[test]
    fn more_than_a_tenth_of_the_probed_samples_raise_it() {
        // The intervals of 9 and 10 of 40 begin at 0.108 and 0.127, that of 8 at 0.091.
        assert_eq!(flags(8), []);
        let flags = flags(9);
        assert_eq!(flags[0].code, TrustCode::UnstablePredictions);
        assert!(
            flags[0].message.ends_with("on 9 of 40 samples (22.5 %)"),
            "{}",
            flags[0].message
        );
    }

    #[test]
    fn silent_where_nothing_was_probed() {
        let mut s = sample(0, &[Broken]);
        s.observed.push(Observation::UnstableMargin);
        assert_eq!(report(vec![attack("pgd", 0.1)], vec![s]).trust, []);
    }
}
