use std::collections::BTreeMap;

use proofmark_domain::{Finding, FindingStatus, Report, TrustFlag, Verdict};

use super::compare::{figures, measure, settling};
use super::excuses::Excuses;
use super::fit::fits;
use crate::gate_report::{CheckResult, ComparisonResult, GATE_SCHEMA, GateReport, PolicyFacts};
use crate::policy::{Check, Comparison, Effect, Policy};
use crate::summary::{apart, summarise};
use crate::{Date, FindingCode};

/// What was measured, by check id: a report, or why there is none.
pub type Evidence = BTreeMap<String, Result<Report, String>>;

/// Name of the file that holds the evidence of a check.
pub fn evidence_file(check: &str) -> String {
    format!("{check}.json")
}

/// Holds evidence against a policy.
///
/// * A comparison passes if the lower end of its interval reaches the threshold, fails if the upper end is below it, and is
///   inconclusive otherwise.
/// * A trust flag that is neither cured nor accepted turns a pass into inconclusive, and nothing lets that through:
///   `on_inconclusive = "warn"` and waivers are for samples that are too few. It never touches a failure.
/// * Missing, failed or foreign evidence is an error: the gate fails closed.
/// * A report's figures, flags included, are computed again from its samples before they are judged.
pub fn judge(policy: &Policy, mut evidence: Evidence, today: Date) -> GateReport {
    let mut excuses = Excuses::new(policy, today);
    let mut findings = Vec::new();
    let mut checks = Vec::new();
    for check in &policy.checks {
        let given = evidence.remove(&check.id);
        checks.push(match usable(policy, check, given) {
            Ok(report) => judge_check(check, &report, &mut excuses, &mut findings),
            Err((finding, found)) => {
                findings.push(*finding);
                without_evidence(check, found)
            }
        });
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

/// The evidence of a check, recomputed; or the finding that stands in its place, and whether there was a file at all.
fn usable(
    policy: &Policy,
    check: &Check,
    given: Option<Result<Report, String>>,
) -> Result<Report, (Box<Finding>, bool)> {
    let error = |code: FindingCode, message: String, remediation: &str| {
        Box::new(Finding {
            code: code.to_string(),
            check: check.id.clone(),
            status: FindingStatus::Error,
            message,
            remediation: remediation.to_owned(),
            waived_by: None,
        })
    };
    match given {
        None => Err((
            error(
                FindingCode::MissingEvidence,
                "there is no evidence for this check".to_owned(),
                "run the check",
            ),
            false,
        )),
        Some(Err(why)) => Err((
            error(
                FindingCode::CheckNotRun,
                format!("the check could not run: {why}"),
                "fix the cause and run it again",
            ),
            false,
        )),
        Some(Ok(report)) => match fits(policy, check, &report) {
            Ok(()) => {
                let (head, runs, samples) = apart(report);
                Ok(summarise(head, runs, samples))
            }
            Err(why) => Err((
                error(
                    FindingCode::MismatchedEvidence,
                    format!("the evidence is not what the policy asks for: {why}"),
                    "run the check again",
                ),
                true,
            )),
        },
    }
}

fn without_evidence(check: &Check, found: bool) -> CheckResult {
    CheckResult {
        id: check.id.clone(),
        kind: check.kind.as_str().to_owned(),
        verdict: Verdict::Error,
        counts_as: Verdict::Error,
        requirement: check.require.to_string(),
        observed: None,
        ci: None,
        threshold: None,
        n: None,
        needed: None,
        comparisons: Vec::new(),
        evidence: found.then(|| evidence_file(&check.id)),
    }
}

fn judge_check(
    check: &Check,
    report: &Report,
    excuses: &mut Excuses<'_>,
    findings: &mut Vec<Finding>,
) -> CheckResult {
    let trust = weigh(check, &report.trust, excuses);
    let shaken = trust.iter().any(|t| t.shakes);
    let mut results: Vec<ComparisonResult> = Vec::new();
    let mut effects = Vec::new();
    for comparison in &check.require.comparisons {
        let mut result = measure(comparison, check.level, report);
        let (finding, effect) = hold(check, comparison, &result, report, excuses);
        findings.extend(finding);
        // What has not failed is not proven either if the measurement cannot be trusted, whatever the policy lets through.
        if shaken && result.verdict != Verdict::Fail {
            result.verdict = Verdict::Inconclusive;
            effects.push(Verdict::Inconclusive);
        } else {
            effects.push(effect);
        }
        results.push(result);
    }
    let verdict = Verdict::of_all(results.iter().map(|r| r.verdict));
    let counts_as = Verdict::of_all(effects.iter().copied());
    findings.extend(
        trust
            .into_iter()
            .map(|t| t.finding(check, effects.contains(&Verdict::Inconclusive))),
    );
    let deciding = results.iter().find(|r| r.verdict == verdict);
    CheckResult {
        id: check.id.clone(),
        kind: check.kind.as_str().to_owned(),
        verdict,
        counts_as,
        requirement: check.require.to_string(),
        observed: deciding.and_then(|d| d.observed),
        ci: deciding.map(|d| d.ci),
        threshold: deciding.map(|d| d.threshold),
        n: deciding.map(|d| d.n),
        needed: deciding.and_then(|d| d.needed),
        comparisons: results,
        evidence: Some(evidence_file(&check.id)),
    }
}

/// The finding of a comparison that does not pass, and what the comparison does to the gate.
fn hold(
    check: &Check,
    comparison: &Comparison,
    result: &ComparisonResult,
    report: &Report,
    excuses: &mut Excuses<'_>,
) -> (Option<Finding>, Verdict) {
    let (code, policy, denied, remediation, tail) = match result.verdict {
        Verdict::Fail => (
            FindingCode::RequirementMissed,
            check.on_fail,
            FindingStatus::Fail,
            "improve the model, or state a threshold it can hold",
            format!("the whole interval is below {}", result.threshold),
        ),
        Verdict::Inconclusive => (
            FindingCode::RequirementUndecided,
            check.on_inconclusive,
            FindingStatus::Inconclusive,
            "judge more samples",
            format!(
                "{} lies inside the interval; {}",
                result.threshold,
                settling(comparison, result, report)
            ),
        ),
        Verdict::Pass | Verdict::Error => return (None, result.verdict),
    };
    let waived_by = excuses.waiver(&check.id, code).map(str::to_owned);
    let effect = if policy == Effect::Warn || waived_by.is_some() {
        Verdict::Pass
    } else {
        result.verdict
    };
    let finding = Finding {
        code: code.to_string(),
        check: check.id.clone(),
        status: if policy == Effect::Warn {
            FindingStatus::Warn
        } else {
            denied
        },
        message: format!("{}; {tail}", figures(comparison, result, check.level)),
        remediation: remediation.to_owned(),
        waived_by,
    };
    (Some(finding), effect)
}

/// A trust flag and what it may do.
struct Weighed<'a> {
    flag: &'a TrustFlag,
    accepted: Option<String>,
    /// Neither cured nor accepted: it takes a pass away.
    shakes: bool,
}

fn weigh<'a>(check: &Check, flags: &'a [TrustFlag], excuses: &mut Excuses<'_>) -> Vec<Weighed<'a>> {
    flags
        .iter()
        .map(|flag| {
            let accepted = excuses
                .accept(&check.id, FindingCode::Trust(flag.code))
                .map(|a| a.reason.clone());
            Weighed {
                flag,
                shakes: !flag.cured && accepted.is_none(),
                accepted,
            }
        })
        .collect()
}

impl Weighed<'_> {
    /// A note if it does nothing, a warning where every comparison has failed anyway.
    fn finding(&self, check: &Check, undecided: bool) -> Finding {
        let status = match (self.shakes, undecided) {
            (false, _) => FindingStatus::Note,
            (true, true) => FindingStatus::Inconclusive,
            (true, false) => FindingStatus::Warn,
        };
        let tail = match &self.accepted {
            Some(reason) => format!("; accepted: {reason}"),
            None if self.flag.cured => "; cured".to_owned(),
            None => String::new(),
        };
        Finding {
            code: self.flag.code.to_string(),
            check: check.id.clone(),
            status,
            message: format!("{}{tail}", self.flag.message),
            remediation: self.flag.code.remediation().to_owned(),
            waived_by: None,
        }
    }
}
