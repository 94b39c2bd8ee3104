use proofmark_domain::{Finding, FindingStatus, Report, TrustFlag, Verdict};

use super::compare::{figures, measure, settling};
use super::excuses::Excuses;
use super::outcome::{Said, hold, result};
use crate::FindingCode;
use crate::gate_report::{CheckResult, ComparisonResult};
use crate::policy::{AttackTask, Check, Comparison};
use crate::trust::own;

/// Judges what attacks left of a model.
pub(super) fn judge(
    check: &Check,
    task: &AttackTask,
    report: &Report,
    excuses: &mut Excuses<'_>,
    findings: &mut Vec<Finding>,
) -> CheckResult {
    let own: Vec<Vec<TrustFlag>> = task
        .require
        .comparisons
        .iter()
        .map(|c| own(&c.metric, report))
        .collect();
    let mut trust = weigh(check, &report.trust, excuses);
    let shaken = trust.iter().any(|t| t.shakes);
    let mut results: Vec<ComparisonResult> = Vec::new();
    let mut effects = Vec::new();
    for (comparison, own) in task.require.comparisons.iter().zip(&own) {
        let own = weigh(check, own, excuses);
        let shaken = shaken || own.iter().any(|t| t.shakes);
        trust.extend(own);
        let mut result = measure(comparison, check.level, report);
        let said = || said(check, comparison, &result, report);
        let (finding, effect) = hold(
            check,
            result.verdict,
            &[comparison.to_string()],
            said,
            excuses,
        );
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
    findings.extend(
        trust
            .into_iter()
            .map(|t| t.finding(check, effects.contains(&Verdict::Inconclusive))),
    );
    result(check, results, &effects)
}

/// What there is to say of a comparison that does not pass.
fn said(
    check: &Check,
    comparison: &Comparison,
    result: &ComparisonResult,
    report: &Report,
) -> Said {
    let figures = figures(comparison, result, check.level);
    let threshold = result.threshold;
    if result.verdict == Verdict::Fail {
        return Said {
            message: format!("{figures}; the whole interval is below {threshold}"),
            remediation: "improve the model, or state a threshold it can hold",
        };
    }
    let settling = settling(comparison, result, report);
    Said {
        message: format!("{figures}; {threshold} lies inside the interval; {settling}"),
        remediation: "judge more samples",
    }
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
