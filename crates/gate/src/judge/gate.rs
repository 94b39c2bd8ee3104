use proofmark_domain::{Finding, FindingStatus, Verdict};

use super::exemptions::Exemptions;
use super::judging::{Judging, unjudged};
use super::record::{Evidence, NoRecord, Record};
use crate::gate_report::{CheckResult, GATE_SCHEMA, GateReport, PolicyFacts};
use crate::policy::{Check, Policy};
use crate::{Date, FindingCode};

/// Judges the evidence by a policy.
///
/// * A comparison passes if the whole interval is on the right side of the threshold, fails if the whole interval is on
///   the wrong side, and is inconclusive otherwise.
/// * The figures that all bias checks judge by their intervals form one family: each interval is widened accordingly.
/// * A trust flag that is neither cured nor accepted turns a pass into inconclusive, and neither waivers nor
///   `on_inconclusive = "warn"` change that: those are for too few samples. A trust flag never changes a failure.
/// * Missing, failed or mismatched evidence is an error: the gate fails closed. Evidence also mismatches if it was
///   measured under a policy that described the check, its model or its data differently ([`Check::request`]).
/// * Before judging, a report's figures and flags are recomputed from its samples, and an audit's intervals from the
///   recorded basis of its figures.
pub fn judge(policy: &Policy, mut evidence: Evidence, today: Date) -> GateReport {
    let mut exemptions = Exemptions::new(policy, today);
    let mut findings = Vec::new();
    let usable = |check: &Check| usable(policy, check, evidence.remove(&check.id));
    let records: Vec<_> = policy.checks.iter().map(usable).collect();
    let family = |(check, record): (&Check, &Result<Record, _>)| match record {
        Ok(record) => check.task.family(record),
        Err(_) => 0,
    };
    let families: Vec<usize> = policy.checks.iter().zip(&records).map(family).collect();
    let together: usize = families.iter().sum();
    let mut checks = Vec::new();
    for ((check, record), own) in policy.checks.iter().zip(records).zip(families) {
        let mut judging = Judging {
            policy,
            check,
            elsewhere: together - own,
            exemptions: &mut exemptions,
            findings: &mut findings,
        };
        let judged = record.and_then(|r| {
            let judged = check.task.judge(r, &mut judging);
            judged.map_err(|why| (Some(why), true))
        });
        checks.push(judged.unwrap_or_else(|(why, found)| judging.unusable(why.as_ref(), found)));
    }
    for id in evidence.into_keys() {
        findings.push(Finding {
            code: FindingCode::UnplannedEvidence.to_string(),
            message: format!("there is evidence for `{id}`, and the policy has no such check"),
            check: id,
            status: FindingStatus::Warn,
            remediation: "remove the evidence, or bring the check back".to_owned(),
            location: None,
            waived_by: None,
        });
    }
    findings.extend(exemptions.leftovers());
    GateReport {
        schema: GATE_SCHEMA.to_owned(),
        verdict: Verdict::of_all(checks.iter().map(|c| c.counts_as)),
        policy: PolicyFacts {
            file: policy.file.clone(),
            sha256: policy.sha256().to_owned(),
        },
        date: today,
        checks,
        findings,
    }
}

/// Why a check cannot be judged (`None` if it has no evidence), and whether an evidence file exists.
type Unusable = (Option<NoRecord>, bool);

/// Returns the evidence of a check, if the check can be judged by it.
fn usable(
    policy: &Policy,
    check: &Check,
    given: Option<Result<Record, NoRecord>>,
) -> Result<Record, Unusable> {
    let record = match given {
        None => return Err((None, false)),
        Some(Err(why)) => {
            let found = matches!(why, NoRecord::Mismatched(_));
            return Err((Some(why), found));
        }
        Some(Ok(record)) => record,
    };
    let fits = check
        .requested(&record)
        .map_err(NoRecord::Mismatched)
        .and_then(|()| check.task.fits(&record, policy));
    match fits {
        Ok(()) => Ok(record),
        Err(why) => Err((Some(why), true)),
    }
}

impl Judging<'_, '_> {
    /// Reports a check that cannot be judged. A stopped check is inconclusive; any other is an error.
    fn unusable(&mut self, why: Option<&NoRecord>, found: bool) -> CheckResult {
        let (code, message, remediation) = match why {
            None => (
                FindingCode::MissingEvidence,
                "there is no evidence for this check".to_owned(),
                "run the check",
            ),
            Some(NoRecord::Mismatched(why)) => (
                FindingCode::MismatchedEvidence,
                format!("the evidence is not what the policy asks for: {why}"),
                "run the check again",
            ),
            Some(NoRecord::Stopped) => (
                FindingCode::CheckStopped,
                "the run was stopped before this check began".to_owned(),
                "allow more time or forwards, or continue from the existing evidence with --resume",
            ),
            Some(NoRecord::Failed(why)) => (
                FindingCode::CheckNotRun,
                format!("the check could not run: {why}"),
                "fix the cause and run it again",
            ),
        };
        let (status, verdict) = match code {
            FindingCode::CheckStopped => (FindingStatus::Inconclusive, Verdict::Inconclusive),
            _ => (FindingStatus::Error, Verdict::Error),
        };
        self.find(code, status, message, remediation);
        unjudged(self.check, verdict, found)
    }
}
