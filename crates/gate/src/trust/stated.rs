use proofmark_domain::{ModelFacts, Observation, Role, RunStatus, TrustCode, TrustFlag};

use super::evidence::{TrustInput, same_threat, share};

/// Model queries per sample from which an attack without gradients confirms a figure: fewer than black-box attacks are
/// usually given (`AutoAttack` gives Square 5,000), many more than a baseline takes.
const CONFIRMS: u64 = 1000;

/// Returns a flag that the model states about itself: a quantised layer, gradients of a surrogate, or a softmax that was
/// bypassed.
///
/// Such facts are about gradients; silent if no run used them. Approximate gradients are cured if every sample that a
/// pass rests on also survived attacks that need none.
pub(crate) fn rule(
    code: TrustCode,
    model: &ModelFacts,
    evidence: &TrustInput<'_>,
) -> Option<TrustFlag> {
    let flag = model.stated.iter().find(|f| f.code == code)?;
    if !evidence.follows_gradients() {
        return None;
    }
    let mut flag = flag.clone();
    if code == TrustCode::ApproximateGradients {
        if model.surrogate.is_some() {
            let asked = |s: &usize| evidence.samples[*s].is_measured();
            let asked: Vec<usize> = (0..evidence.samples.len()).filter(asked).collect();
            let agree = |s: &&usize| !evidence.saw(**s, Observation::SurrogateDisagrees);
            let agreed = asked.iter().filter(agree).count();
            flag.message = format!(
                "{}; without attack it decides as the model on {}",
                flag.message,
                share(agreed, asked.len())
            );
        }
        if let Some(by) = confirmed(evidence) {
            flag.message = format!("{}; confirmed by {by}", flag.message);
            flag.cured = true;
        }
    }
    Some(flag)
}

/// Returns the attacks without gradients that every unbroken sample survived at every threat of the gradient attacks, if
/// they spent enough queries on each. Baselines do not count.
fn confirmed(evidence: &TrustInput<'_>) -> Option<String> {
    let others: Vec<usize> = (0..evidence.runs.len())
        .filter(|&r| evidence.runs[r].role == Role::Attack && !evidence.runs[r].gradient)
        .collect();
    let mut unbroken = evidence.unbroken().peekable();
    unbroken.peek()?;
    let mut by: Vec<usize> = Vec::new();
    for sample in unbroken {
        // A minimum-norm attack runs once for all budgets of a norm, so its queries are in one of its runs.
        let spent = |norm| -> u64 {
            let runs = others
                .iter()
                .filter(|&&r| evidence.runs[r].threat.norm == norm);
            runs.map(|&r| evidence.forwards(sample, r)).sum()
        };
        for gradient in evidence.gradient_attacks() {
            let threat = &evidence.runs[gradient].threat;
            let survived: Vec<usize> = (others.iter().copied())
                .filter(|&r| same_threat(&evidence.runs[r].threat, threat))
                .filter(|&r| evidence.status(sample, r) == RunStatus::Robust)
                .collect();
            if survived.is_empty() || spent(threat.norm) < CONFIRMS {
                return None;
            }
            by.extend(survived);
        }
    }
    by.sort_unstable();
    by.dedup();
    let names: Vec<&str> = by.iter().map(|&r| evidence.runs[r].key.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust, Stopped};
    use proofmark_domain::{ModelPart, RunMeta, SampleRecord, SurrogateFacts};

    use super::*;
    use crate::trust::fixture::{attack, head, noise, sample};
    use crate::{ReportHead, summarise};

    fn flag(cured: bool) -> TrustFlag {
        TrustFlag {
            code: TrustCode::ApproximateGradients,
            message: "node `q` (QuantizeLinear)".into(),
            cured,
        }
    }

    fn stating(n: usize) -> ReportHead {
        let mut head = head(n);
        head.model.stated = vec![flag(false)];
        head
    }

    /// An attack by scores.
    fn square(eps: f64) -> RunMeta {
        RunMeta {
            gradient: false,
            ..attack("square", eps)
        }
    }

    /// Samples of these outcomes, with this many forwards in each run.
    fn spent(statuses: &[&[RunStatus]], forwards: u64) -> Vec<SampleRecord> {
        let one = |(i, s): (usize, &&[RunStatus])| {
            let mut sample = sample(i as u64, s);
            for run in &mut sample.runs {
                run.forward = forwards;
            }
            sample
        };
        statuses.iter().enumerate().map(one).collect()
    }

    /// The flag of a report of these runs, matched with the outcomes by place.
    fn raised(runs: Vec<RunMeta>, mut samples: Vec<SampleRecord>) -> TrustFlag {
        for sample in &mut samples {
            for (outcome, run) in sample.runs.iter_mut().zip(&runs) {
                outcome.run.clone_from(&run.key);
            }
        }
        let report = summarise(stating(samples.len()), runs, samples);
        let mut flags = report.trust.into_iter();
        flags
            .find(|f| f.code == TrustCode::ApproximateGradients)
            .unwrap()
    }

    #[test]
    fn raised_only_if_a_run_used_gradients() {
        let report = |run| summarise(stating(1), vec![run], vec![sample(0, &[Robust])]);
        assert_eq!(report(attack("pgd", 0.1)).trust, [flag(false)]);
        assert_eq!(report(noise(0.1)).trust, []);
    }

    #[test]
    fn an_attack_without_gradients_cures_it_if_every_unbroken_sample_survived_it() {
        let runs = || vec![attack("pgd", 0.1), square(0.1)];
        let held: &[RunStatus] = &[Robust, Robust];
        let found = raised(runs(), spent(&[held, &[Broken, Robust]], 1000));
        assert!(found.cured, "{}", found.message);
        assert!(found.message.ends_with("; confirmed by square@linf:0.1"));

        let few = raised(runs(), spent(&[held], 999));
        assert!(!few.cured, "too few queries");
        let stopped = raised(runs(), spent(&[held, &[Robust, Stopped]], 1000));
        assert!(!stopped.cured, "one sample was not finished");
        let elsewhere = raised(vec![attack("pgd", 0.1), square(0.2)], spent(&[held], 1000));
        assert!(!elsewhere.cured, "another budget");
        let baseline = raised(vec![attack("pgd", 0.1), noise(0.1)], spent(&[held], 1000));
        assert!(!baseline.cured, "a baseline");
        let two = vec![attack("pgd", 0.1), attack("pgd", 0.2), square(0.1)];
        let half = raised(two, spent(&[&[Robust, Robust, Robust]], 1000));
        assert!(!half.cured, "one of two budgets");
        let broken = raised(runs(), spent(&[&[Broken, Broken]], 1000));
        assert!(!broken.cured, "nothing is left to confirm");
    }

    #[test]
    fn a_surrogate_is_reported_with_the_samples_it_agrees_on() {
        let mut head = stating(2);
        head.model.surrogate = Some(SurrogateFacts {
            name: "b".into(),
            sha256: "00".into(),
            models: vec![ModelPart {
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
