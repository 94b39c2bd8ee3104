use proofmark_domain::{Finding, FindingStatus, Report, Verdict};

use super::excuses::Excuses;
use super::fit::fits;
use super::outcome::unjudged;
use super::record::{Evidence, NoRecord, Record};
use super::{attack_check, audit_check};
use crate::gate_report::{GATE_SCHEMA, GateReport, PolicyFacts};
use crate::policy::{Check, Policy, Task};
use crate::summary::{apart, summarise};
use crate::{Date, FindingCode};

/// Holds evidence against a policy.
///
/// * A comparison passes if the whole interval is on the right side of the threshold, fails if the whole interval is on
///   the wrong side, and is inconclusive otherwise.
/// * The figures that all bias checks gate by their intervals are one family: each interval is that much wider.
/// * A trust flag that is neither cured nor accepted turns a pass into inconclusive, and nothing lets that through:
///   `on_inconclusive = "warn"` and waivers are for samples that are too few. It never touches a failure.
/// * Missing, failed or foreign evidence is an error: the gate fails closed.
/// * A report's figures, flags included, are computed again from its samples before they are judged, an audit's
///   intervals from what its figures are made of.
pub fn judge(policy: &Policy, mut evidence: Evidence, today: Date) -> GateReport {
    let mut excuses = Excuses::new(policy, today);
    let mut findings = Vec::new();
    let usable: Vec<_> = policy
        .checks
        .iter()
        .map(|check| usable(policy, check, evidence.remove(&check.id)))
        .collect();
    let families: Vec<usize> = policy
        .checks
        .iter()
        .zip(&usable)
        .map(|(check, record)| match (&check.task, record) {
            (Task::Audit(task), Ok(Record::Audit(report))) => audit_check::family(task, report),
            _ => 0,
        })
        .collect();
    let together: usize = families.iter().sum();
    let mut checks = Vec::new();
    for ((check, record), own) in policy.checks.iter().zip(usable).zip(families) {
        let judged = match (&check.task, record) {
            (Task::Attack(task), Ok(Record::Attack(report))) => Ok(attack_check::judge(
                check,
                task,
                &report,
                &mut excuses,
                &mut findings,
            )),
            (Task::Audit(task), Ok(Record::Audit(report))) => audit_check::judge(
                check,
                task,
                &report,
                together - own,
                &mut excuses,
                &mut findings,
            )
            .map_err(|why| mismatched(check, &why)),
            (_, Ok(record)) => Err(mismatched(
                check,
                &format!("its schema is `{}`", record.schema()),
            )),
            (_, Err(refused)) => Err(refused),
        };
        checks.push(judged.unwrap_or_else(|refused| {
            let verdict = refused.verdict();
            findings.push(*refused.finding);
            unjudged(check, verdict, refused.found)
        }));
    }
    for id in evidence.into_keys() {
        findings.push(Finding {
            code: FindingCode::UnplannedEvidence.to_string(),
            message: format!("there is evidence for `{id}`, and the policy has no such check"),
            check: id,
            status: FindingStatus::Warn,
            remediation: "remove the evidence, or bring the check back".to_owned(),
            waived_by: None,
        });
    }
    findings.extend(excuses.leftovers());
    GateReport {
        schema: GATE_SCHEMA.to_owned(),
        verdict: Verdict::of_all(checks.iter().map(|c| c.counts_as)),
        policy: PolicyFacts {
            sha256: policy.sha256().to_owned(),
        },
        date: today,
        checks,
        findings,
    }
}

/// Evidence that cannot be judged.
struct Refused {
    finding: Box<Finding>,
    /// Whether there is a file at all.
    found: bool,
}

impl Refused {
    /// A check that was stopped cannot tell; anything else is an error.
    fn verdict(&self) -> Verdict {
        match self.finding.status {
            FindingStatus::Inconclusive => Verdict::Inconclusive,
            _ => Verdict::Error,
        }
    }

    fn new(check: &Check, code: FindingCode, message: String, remediation: &str) -> Self {
        let finding = Finding {
            code: code.to_string(),
            check: check.id.clone(),
            status: match code {
                FindingCode::CheckStopped => FindingStatus::Inconclusive,
                _ => FindingStatus::Error,
            },
            message,
            remediation: remediation.to_owned(),
            waived_by: None,
        };
        Self {
            finding: Box::new(finding),
            found: code == FindingCode::MismatchedEvidence,
        }
    }
}

fn mismatched(check: &Check, why: &str) -> Refused {
    Refused::new(
        check,
        FindingCode::MismatchedEvidence,
        format!("the evidence is not what the policy asks for: {why}"),
        "run the check again",
    )
}

/// The first attack of a report that failed, and why.
fn first_failure(report: &Report) -> Option<(&str, &str)> {
    let mut attacks = report.attacks.iter();
    attacks.find_map(|a| Some((a.key.as_str(), a.failed.as_deref()?)))
}

/// The evidence of a check, recomputed; or the finding that stands in its place.
fn usable(
    policy: &Policy,
    check: &Check,
    given: Option<Result<Record, NoRecord>>,
) -> Result<Record, Refused> {
    match given {
        None => Err(Refused::new(
            check,
            FindingCode::MissingEvidence,
            "there is no evidence for this check".to_owned(),
            "run the check",
        )),
        Some(Err(NoRecord::Mismatched(why))) => Err(mismatched(check, &why)),
        Some(Err(NoRecord::Stopped)) => Err(Refused::new(
            check,
            FindingCode::CheckStopped,
            "the run was stopped before this check began".to_owned(),
            "allow more time or forwards, or take over what is there with --resume",
        )),
        Some(Err(NoRecord::Failed(why))) => Err(Refused::new(
            check,
            FindingCode::CheckNotRun,
            format!("the check could not run: {why}"),
            "fix the cause and run it again",
        )),
        Some(Ok(record)) => match (&check.task, record) {
            (Task::Attack(task), Record::Attack(report)) => {
                fits(policy, task, &report).map_err(|why| mismatched(check, &why))?;
                if let Some((key, why)) = first_failure(&report) {
                    return Err(Refused::new(
                        check,
                        FindingCode::CheckNotRun,
                        format!("attack `{key}` did not come to its end: {why}"),
                        "fix the cause and run it again; what the other attacks found is in the evidence",
                    ));
                }
                let (head, runs, samples) = apart(*report);
                Ok(summarise(head, runs, samples).into())
            }
            (Task::Audit(task), Record::Audit(report)) => {
                audit_check::fits(task, &report).map_err(|why| mismatched(check, &why))?;
                Ok(Record::Audit(report))
            }
            (_, record) => Ok(record),
        },
    }
}
