use proofmark_domain::{ModelFacts, Observation, Role, RunStatus, TrustCode, TrustFlag};

use super::baseline;
use super::evidence::{TrustInput, is_common, same_threat, share};

const CODE: TrustCode = TrustCode::ApproximateGradients;

/// Minimum number of queries of a sample with which an attack without gradients confirms what gradient attacks found.
const QUERIES: u64 = 1000;

/// Raised if the model states that its gradients are approximate, or if they did not describe how the scores changed on
/// more than a tenth of the probed samples (95 % interval).
///
/// Cured if, at the threat of every gradient attack, an attack without gradients ran to its end on each sample that no
/// attack broke, with at least 1,000 queries, and such attacks found no more than those with gradients
/// ([`baseline`]). Silent if no run used gradients.
pub(crate) fn rule(evidence: &TrustInput<'_>, model: &ModelFacts) -> Option<TrustFlag> {
    if !evidence.follows_gradients() {
        return None;
    }
    let stated = model.stated.iter().find(|f| f.code == CODE);
    let (off, probed) = evidence.probed_with(Observation::GradientMismatch);
    let measured = is_common(off, probed).then(|| {
        format!(
            "gradients did not describe how the scores change nearby on {}",
            share(off, probed)
        )
    });
    let agrees = model.surrogate.is_some().then(|| agreement(evidence));
    let clauses: Vec<&str> = (stated.map(|f| f.message.as_str()))
        .into_iter()
        .chain(agrees.as_deref())
        .chain(measured.as_deref())
        .collect();
    if clauses.is_empty() {
        return None;
    }
    let mut message = clauses.join("; ");
    let confirmed = confirmed_by(evidence);
    if let Some(names) = &confirmed {
        message.push_str("; ");
        message.push_str(&names.join(", "));
        message.push_str(" needed none and found no more");
    }
    Some(TrustFlag {
        code: CODE,
        message,
        cured: confirmed.is_some() || stated.is_some_and(|f| f.cured && measured.is_none()),
    })
}

/// Says on how many samples a surrogate decides as the model without attack.
fn agreement(evidence: &TrustInput<'_>) -> String {
    let asked = |s: &usize| evidence.samples[*s].is_measured();
    let asked: Vec<usize> = (0..evidence.samples.len()).filter(asked).collect();
    let agree = |s: &&usize| !evidence.saw(**s, Observation::SurrogateDisagrees);
    let agreed = asked.iter().filter(agree).count();
    format!(
        "without attack it decides as the model on {}",
        share(agreed, asked.len())
    )
}

/// Returns the attacks without gradients that confirm those with gradients, if they do.
fn confirmed_by(evidence: &TrustInput<'_>) -> Option<Vec<String>> {
    let attacks: Vec<usize> = evidence.gradient_attacks().collect();
    let mut names = Vec::new();
    for &attack in &attacks {
        let others: Vec<usize> = (0..evidence.runs.len())
            .filter(|&r| {
                let run = evidence.runs[r];
                run.role == Role::Attack
                    && !run.gradient
                    && same_threat(&run.threat, &evidence.runs[attack].threat)
            })
            .collect();
        // A minimum-norm attack runs once for all budgets of a norm, so its queries are in one of its runs.
        let norm = evidence.runs[attack].threat.norm;
        let spent = |s: usize| -> u64 {
            let own = (0..evidence.runs.len()).filter(|&r| {
                let run = evidence.runs[r];
                run.role == Role::Attack && !run.gradient && run.threat.norm == norm
            });
            own.map(|r| evidence.forwards(s, r)).sum()
        };
        let confirms =
            |s: usize, r: usize| evidence.status(s, r) == RunStatus::Robust && spent(s) >= QUERIES;
        let all = evidence
            .unbroken()
            .all(|s| others.iter().any(|&r| confirms(s, r)));
        if others.is_empty() || !all {
            return None;
        }
        names.extend(others.iter().map(|&r| evidence.runs[r].key.clone()));
    }
    names.sort_unstable();
    names.dedup();
    (!names.is_empty() && baseline::rule(evidence).is_none()).then_some(names)
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust, Stopped};
    use proofmark_domain::{Report, RunMeta};

    use super::*;
    use crate::summarise;
    use crate::trust::fixture::{attack, head, noise, probe, sample, scoring};

    /// A report on 40 samples whose model states rounding if `stated`; the first `off` have another gradient.
    fn report(stated: bool, off: u64, runs: Vec<RunMeta>, statuses: &[RunStatus]) -> Report {
        let mut head = head(40);
        if stated {
            head.model.stated = vec![TrustFlag {
                code: CODE,
                message: "node `q` (QuantizeLinear)".into(),
                cured: false,
            }];
        }
        let rows = (0..40).map(|i| {
            let mut s = sample(i, statuses);
            if i < off {
                s.observed.push(Observation::GradientMismatch);
            }
            for (outcome, run) in s.runs.iter_mut().zip(&runs) {
                outcome.run.clone_from(&run.key);
                outcome.forward = if run.gradient { 40 } else { QUERIES };
            }
            s
        });
        let rows = rows.collect();
        summarise(head, runs, rows)
    }

    fn flag(report: &Report) -> Option<&TrustFlag> {
        report.trust.iter().find(|f| f.code == CODE)
    }

    #[test]
    fn a_stated_or_a_common_mismatch_raises_it() {
        let runs = || vec![attack("pgd", 0.1), probe("pgd")];
        let raised = |stated, off| report(stated, off, runs(), &[Robust, Broken]).trust;
        assert_eq!(raised(false, 8), []);
        assert!(raised(false, 9)[0].message.contains("on 9 of 40 samples"));
        assert_eq!(raised(true, 0)[0].message, "node `q` (QuantizeLinear)");
        let both = &raised(true, 40)[0];
        assert!(
            both.message
                .contains("`q` (QuantizeLinear); gradients did not"),
            "{}",
            both.message
        );
        assert!(!both.cured);
        let without = report(true, 40, vec![noise(0.1)], &[Robust]);
        assert_eq!(without.trust, [], "no gradient was followed");
    }

    #[test]
    fn an_attack_on_scores_that_finds_no_more_cures_it() {
        let runs = || vec![attack("pgd", 0.1), scoring("square", 0.1), probe("pgd")];
        let cured = |statuses: &[RunStatus], runs| {
            let report = report(false, 40, runs, statuses);
            flag(&report).expect("raised").cured
        };
        assert!(cured(&[Robust, Robust, Broken], runs()));
        assert!(
            !cured(&[Robust, Stopped, Broken], runs()),
            "it did not finish"
        );
        let elsewhere = vec![attack("pgd", 0.1), scoring("square", 0.2), probe("pgd")];
        assert!(
            !cured(&[Robust, Robust, Broken], elsewhere),
            "another threat"
        );
        let noisy = vec![attack("pgd", 0.1), noise(0.1), probe("pgd")];
        assert!(
            !cured(&[Robust, Robust, Broken], noisy),
            "a baseline is none"
        );
        // Few queries confirm nothing.
        let mut few = report(false, 40, runs(), &[Robust, Robust, Broken]);
        few.samples[7].runs[1].forward = QUERIES - 1;
        let (head, runs, samples) = crate::summary::apart(few);
        assert!(!flag(&summarise(head, runs, samples)).expect("raised").cured);
    }

    #[test]
    fn an_attack_on_scores_that_finds_more_does_not_cure_it() {
        let runs = vec![
            with_steps(attack("pgd", 0.1)),
            scoring("square", 0.1),
            probe("pgd"),
        ];
        let report = report(false, 40, runs, &[Robust, Broken, Broken]);
        assert!(!flag(&report).expect("raised").cured);
        assert!(
            (report.trust.iter()).any(|f| f.code == TrustCode::BaselineBeatsGradient),
            "{:?}",
            report.trust
        );
    }

    fn with_steps(run: RunMeta) -> RunMeta {
        crate::trust::fixture::with(run, "steps", 40)
    }

    #[test]
    fn a_surrogate_is_reported_with_the_samples_it_agrees_on() {
        let mut head = head(2);
        head.model.stated = vec![TrustFlag {
            code: CODE,
            message: "gradients are those of `b`".into(),
            cured: false,
        }];
        head.model.surrogate = Some(proofmark_domain::SurrogateFacts {
            name: "b".into(),
            sha256: "00".into(),
            models: vec![proofmark_domain::ModelPart {
                name: "b".into(),
                sha256: "00".into(),
            }],
            transfer: false,
        });
        let mut apart = sample(1, &[Robust]);
        apart.observed = vec![Observation::SurrogateDisagrees];
        let samples = vec![sample(0, &[Robust]), apart];
        let report = summarise(head, vec![attack("pgd", 0.1)], samples);
        let told = &report.trust[0].message;
        assert!(
            told.ends_with("it decides as the model on 1 of 2 samples (50.0 %)"),
            "{told}"
        );
    }
}
