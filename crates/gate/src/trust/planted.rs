use proofmark_domain::{Role, RunStatus, TrustCode, TrustFlag};

use super::evidence::{TrustInput, share};
use crate::proportion::upper;

/// Share of the planted adversarials that an attack must find (that of Zimmermann et al.).
const EXPECTED: f64 = 0.95;

/// Raised if an attack found fewer of the adversarials that were planted within its budget than it must: the upper end
/// of the share's 95 % interval is below 95 %.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let planted = (0..evidence.runs.len()).filter(|&r| evidence.runs[r].role == Role::Planted);
    let counted = planted.map(|r| {
        let with = |of: &[RunStatus]| {
            let n = evidence.samples.len();
            (0..n)
                .filter(|&s| of.contains(&evidence.status(s, r)))
                .count()
        };
        let missed = [RunStatus::Robust, RunStatus::Invalid, RunStatus::Stopped];
        let found = with(&[RunStatus::Broken]);
        (r, found, found + with(&missed))
    });
    let (run, found, n) = counted
        .filter(|(_, found, n)| upper(*found as u64, *n as u64, 0.95) < EXPECTED)
        .min_by_key(|(_, found, _)| *found)?;
    Some(TrustFlag {
        code: TrustCode::PlantedAdversarialMissed,
        message: format!(
            "{} found the planted adversarial on {} only; expected at least {:.0} %",
            evidence.runs[run].key,
            share(found, n),
            100.0 * EXPECTED
        ),
        cured: false,
    })
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust, Skipped};

    use super::*;
    use crate::trust::fixture::{attack, planted, probe, report, sample};

    /// The flags of 40 samples, of which 32 had an adversarial planted and `found` of these were broken.
    fn flags(found: u64) -> Vec<TrustFlag> {
        let status = |i| match i {
            _ if i < found => Broken,
            _ if i < 32 => Robust,
            _ => Skipped,
        };
        let rows = (0..40).map(|i| sample(i, &[Broken, Broken, status(i)]));
        let runs = vec![attack("pgd", 0.1), probe("pgd"), planted("pgd")];
        report(runs, rows.collect()).trust
    }

    #[test]
    fn clearly_fewer_than_expected_raise_it() {
        // The intervals of 28 and 27 of 32 end at 0.965 and 0.947.
        assert_eq!(flags(32), []);
        assert_eq!(flags(28), []);
        let raised = flags(27);
        assert_eq!(raised[0].code, TrustCode::PlantedAdversarialMissed);
        assert!(
            raised[0]
                .message
                .starts_with("pgd@planted found the planted adversarial on 27 of 32"),
            "{}",
            raised[0].message
        );
    }

    #[test]
    fn without_a_planted_run_it_is_not_applicable() {
        let code = TrustCode::PlantedAdversarialMissed;
        let rows = || vec![sample(0, &[Robust, Broken])];
        let without = report(vec![attack("pgd", 0.1), probe("pgd")], rows());
        assert_eq!(
            (without.trust.len(), &without.trust_not_applicable[..]),
            (0, &[code][..])
        );
        let with = report(vec![attack("pgd", 0.1), planted("pgd")], rows());
        assert_eq!(with.trust_not_applicable, []);
        assert_eq!(with.worst_case.correct, 1, "it counts nowhere");
    }
}
