use proofmark_domain::{Finding, FindingStatus, Verdict};

use super::excuses::Excuses;
use super::record::evidence_file;
use crate::FindingCode;
use crate::gate_report::{CheckResult, ComparisonResult};
use crate::policy::{Check, Effect};

/// What there is to say of a comparison that does not pass.
pub(super) struct Said {
    pub(super) message: String,
    pub(super) remediation: &'static str,
}

/// The finding of a comparison that does not pass, and what the comparison does to the gate; with the texts that its
/// requirement goes by in waivers.
pub(super) fn hold(
    check: &Check,
    verdict: Verdict,
    requirement: &[String],
    said: impl FnOnce() -> Said,
    excuses: &mut Excuses<'_>,
) -> (Option<Finding>, Verdict) {
    let (code, policy, denied) = match verdict {
        Verdict::Fail => (
            FindingCode::RequirementMissed,
            check.on_fail,
            FindingStatus::Fail,
        ),
        Verdict::Inconclusive => (
            FindingCode::RequirementUndecided,
            check.on_inconclusive,
            FindingStatus::Inconclusive,
        ),
        Verdict::Pass | Verdict::Error => return (None, verdict),
    };
    let waived_by = excuses
        .waiver(&check.id, code, requirement)
        .map(str::to_owned);
    let effect = if policy == Effect::Warn || waived_by.is_some() {
        Verdict::Pass
    } else {
        verdict
    };
    let said = said();
    let finding = Finding {
        code: code.to_string(),
        check: check.id.clone(),
        status: if policy == Effect::Warn {
            FindingStatus::Warn
        } else {
            denied
        },
        message: said.message,
        remediation: said.remediation.to_owned(),
        waived_by,
    };
    (Some(finding), effect)
}

/// A check by its comparisons and what each does to the gate; the first of the worst stands for it.
pub(super) fn result(
    check: &Check,
    comparisons: Vec<ComparisonResult>,
    effects: &[Verdict],
) -> CheckResult {
    let verdict = Verdict::of_all(comparisons.iter().map(|r| r.verdict));
    let deciding = comparisons.iter().find(|r| r.verdict == verdict);
    CheckResult {
        verdict,
        counts_as: Verdict::of_all(effects.iter().copied()),
        observed: deciding.and_then(|d| d.observed),
        ci: deciding.and_then(|d| d.ci),
        threshold: deciding.map(|d| d.threshold),
        n: deciding.map(|d| d.n),
        needed: deciding.and_then(|d| d.needed),
        comparisons,
        ..unjudged(check, verdict, true)
    }
}

/// A check that cannot be judged; `found` says whether there is a file of evidence at all.
pub(super) fn unjudged(check: &Check, verdict: Verdict, found: bool) -> CheckResult {
    CheckResult {
        id: check.id.clone(),
        kind: check.task.kind().as_str().to_owned(),
        verdict,
        counts_as: verdict,
        requirement: check.task.requirement(),
        observed: None,
        ci: None,
        threshold: None,
        n: None,
        needed: None,
        comparisons: Vec::new(),
        evidence: found.then(|| evidence_file(&check.id)),
    }
}
