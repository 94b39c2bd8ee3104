use proofmark_domain::{Observation, TrustCode, TrustFlag};

use super::evidence::{TrustInput, share};

/// Raises a code for which a single observation on a single sample is enough.
pub(crate) fn rule(code: TrustCode, evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let (what, told) = match code {
        TrustCode::NonFiniteGradients => (
            Observation::NonFiniteGradient,
            "gradients held NaN or infinity on",
        ),
        TrustCode::NonFiniteScores => (
            Observation::NonFiniteScores,
            "scores held NaN or infinity on",
        ),
        TrustCode::RandomisedOutputs => (
            Observation::OutputChanged,
            "the same input gave another answer the second time on",
        ),
        TrustCode::TrackedLogitsDiffer => (
            Observation::TrackedMismatch,
            "scores on the gradient path differed from those on the plain path on",
        ),
        TrustCode::SilentSuccess => (
            Observation::WitnessRejected,
            "an adversarial seen on the path was not confirmed when asked again on",
        ),
        _ => return None,
    };
    let counts = |s: &usize| {
        // A rejected point of the gradient path has a code of its own.
        let other = code == TrustCode::SilentSuccess && evidence.failed_to_transfer(*s);
        evidence.saw(*s, what) && !other
    };
    let seen = (0..evidence.samples.len()).filter(counts).count();
    (seen > 0).then(|| TrustFlag {
        code,
        message: format!("{told} {}", share(seen, evidence.samples.len())),
        cured: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::fixture::{report, sample};

    const PAIRS: [(TrustCode, Observation); 5] = [
        (
            TrustCode::NonFiniteGradients,
            Observation::NonFiniteGradient,
        ),
        (TrustCode::NonFiniteScores, Observation::NonFiniteScores),
        (TrustCode::RandomisedOutputs, Observation::OutputChanged),
        (TrustCode::TrackedLogitsDiffer, Observation::TrackedMismatch),
        (TrustCode::SilentSuccess, Observation::WitnessRejected),
    ];

    #[test]
    fn one_sighting_raises_its_code_and_no_other() {
        for (code, what) in PAIRS {
            let mut samples: Vec<_> = (0..4).map(|i| sample(i, &[])).collect();
            samples[2].observed = vec![what];
            let flags = report(vec![], samples).trust;
            assert_eq!(flags.len(), 1, "{code}");
            assert_eq!((flags[0].code, flags[0].cured), (code, false));
            assert!(
                flags[0].message.contains("1 of 4 samples (25.0 %)"),
                "{}",
                flags[0].message
            );
        }
    }

    #[test]
    fn silent_where_nothing_was_seen() {
        assert_eq!(report(vec![], vec![sample(0, &[])]).trust, []);
    }
}
