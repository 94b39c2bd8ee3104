use std::fmt::Write as _;

use proofmark_audit::report::{AUDIT_SCHEMA, Gate};
use proofmark_audit::{AuditReport, Requirement};
use proofmark_domain::{Finding, Verdict};
use serde_json::json;

use super::compare::percent;
use super::excuses::Excuses;
use super::fit::same;
use super::outcome::{Said, hold, result};
use crate::gate_report::{CheckResult, ComparisonResult};
use crate::policy::{AuditTask, Check};
use crate::resolved_plan::difference;

/// Whether a report is the audit a check asks for; if not, what is amiss.
pub(super) fn fits(task: &AuditTask, report: &AuditReport) -> Result<(), String> {
    same("schema", AUDIT_SCHEMA, &report.schema)?;
    let Some(origin) = &report.table.origin else {
        return Err("it does not say which file was audited".to_owned());
    };
    if let Some(digest) = &task.data.sha256 {
        same("table sha256", digest, &origin.sha256.to_ascii_lowercase())?;
    }
    let asked = json!({
        "columns": task.options,
        "settings": task.settings,
        "suppress": task.suppress,
    });
    let found = json!({
        "columns": origin.options,
        "settings": report.settings.measured,
        "suppress": report.settings.suppress,
    });
    difference(&asked, &found).map_or(Ok(()), |d| Err(d.to_string()))
}

/// How many figures of the report the check judges by their intervals.
pub(super) fn family(task: &AuditTask, report: &AuditReport) -> usize {
    // What cannot be judged is told of when it is judged.
    report.family(&task.require).unwrap_or(0)
}

/// Judges the figures of a table; `elsewhere` counts those of the same family in other checks.
pub(super) fn judge(
    check: &Check,
    task: &AuditTask,
    report: &AuditReport,
    elsewhere: usize,
    excuses: &mut Excuses<'_>,
    findings: &mut Vec<Finding>,
) -> Result<CheckResult, String> {
    let gates = report
        .judged_again(&task.require, check.level, Some(elsewhere))
        .map_err(|e| e.to_string())?;
    let mut results = Vec::new();
    let mut effects = Vec::new();
    for gate in &gates {
        let requirement: Requirement = gate.requirement.parse().map_err(|e| format!("{e}"))?;
        let everywhere = Requirement {
            attribute: None,
            ..requirement.clone()
        }
        .to_string();
        let one = ComparisonResult {
            requirement: Requirement {
                attribute: Some(gate.attribute.clone()).filter(|a| !a.is_empty()),
                ..requirement.clone()
            }
            .to_string(),
            verdict: gate.verdict,
            observed: gate.value,
            ci: gate.interval,
            threshold: requirement.tolerance,
            n: report.table.rows,
            needed: gate.needed,
        };
        // A waiver may be for every attribute, or for one.
        let names = [
            one.requirement.clone(),
            gate.requirement.clone(),
            everywhere,
        ];
        let said = || said(check, gate, &one);
        let (finding, effect) = hold(check, gate.verdict, &names, said, excuses);
        findings.extend(finding);
        effects.push(effect);
        results.push(one);
    }
    Ok(result(check, results, &effects))
}

/// What there is to say of a requirement that does not hold.
fn said(check: &Check, gate: &Gate, one: &ComparisonResult) -> Said {
    let mut message = match one.observed {
        Some(value) => format!("{} is {value:.3}", gate.metric),
        None => gate.metric.clone(),
    };
    if !gate.attribute.is_empty() {
        let _ = write!(message, " over {}", gate.attribute);
    }
    if let Some(ci) = one.ci {
        let level = percent(check.level);
        let _ = write!(
            message,
            ", [{:.3}, {:.3}] at {level} % with all figures that bias checks gate",
            ci.low, ci.high
        );
    }
    let remediation = if gate.verdict == Verdict::Fail {
        "find out why the groups differ and mend it, or state a tolerance that can be held"
    } else {
        "audit more rows, or take small groups together"
    };
    let told = match (gate.verdict, gate.needed) {
        _ if gate.reason.is_some() => gate.reason.clone().unwrap_or_default(),
        (Verdict::Fail, _) if one.ci.is_none() => {
            format!("{} does not hold of the value alone", one.requirement)
        }
        (Verdict::Fail, _) => format!("the whole interval is beyond {}", one.threshold),
        (_, Some(n)) => format!(
            "{} lies inside the interval; about {n} further rows would settle it",
            one.threshold
        ),
        (_, None) => format!(
            "{} lies inside the interval, and no number of further rows like these would settle it",
            one.threshold
        ),
    };
    Said {
        message: format!("{message}; {told}"),
        remediation,
    }
}
