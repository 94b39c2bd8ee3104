use proofmark_domain::{Observation, TrustCode, TrustFlag};

use super::evidence::TrustInput;

/// Raised if every judged row lies in `[0, 1]` and sums to one: the model ends in a softmax, which flattens the
/// gradients.
///
/// One row may do so by chance; all of them do not. Silent if no run used gradients.
pub(crate) fn rule(evidence: &TrustInput<'_>) -> Option<TrustFlag> {
    let valid: Vec<usize> = (0..evidence.samples.len())
        .filter(|&s| evidence.samples[s].clean_pred.is_some())
        .collect();
    let all = !valid.is_empty()
        && valid
            .iter()
            .all(|&s| evidence.saw(s, Observation::ProbabilityRow));
    (all && evidence.follows_gradients()).then(|| TrustFlag {
        code: TrustCode::ProbabilitiesAsLogits,
        message: format!(
            "the scores of all {} judged samples lie in [0, 1] and sum to 1",
            valid.len()
        ),
        cured: false,
    })
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Invalid, Robust};

    use super::*;
    use crate::trust::fixture::{attack, noise, report, sample};

    fn rows(probable: &[bool]) -> Vec<proofmark_domain::SampleRecord> {
        let row = |(i, p): (usize, &bool)| {
            let mut s = sample(i as u64, &[Robust]);
            s.observed = if *p {
                vec![Observation::ProbabilityRow]
            } else {
                vec![]
            };
            s
        };
        probable.iter().enumerate().map(row).collect()
    }

    #[test]
    fn raised_when_all_valid_rows_look_like_probabilities() {
        let mut samples = rows(&[true, true, false]);
        samples[2].clean_pred = None;
        samples[2].clean_correct = false;
        samples[2].runs[0].status = Invalid;
        let flags = report(vec![attack("pgd", 0.1)], samples).trust;
        assert_eq!(flags[0].code, TrustCode::ProbabilitiesAsLogits);
        assert!(flags[0].message.contains("all 2"), "{}", flags[0].message);
    }

    #[test]
    fn silent_when_one_row_does_not_or_no_gradient_was_followed() {
        assert_eq!(
            report(vec![attack("pgd", 0.1)], rows(&[true, false])).trust,
            []
        );
        assert_eq!(report(vec![noise(0.1)], rows(&[true, true])).trust, []);
    }
}
