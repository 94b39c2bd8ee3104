use proofmark_domain::{Finding, FindingStatus, TrustCode, Verdict};

use super::exemptions::Exemptions;
use super::record::evidence_file;
use crate::FindingCode;
use crate::gate_report::{CheckCost, CheckResult, ComparisonResult};
use crate::policy::{Check, Effect, Policy};

/// Why a comparison does not pass, and what to do.
pub(crate) struct Reason {
    pub(crate) message: String,
    pub(crate) remediation: &'static str,
}

/// A check being judged, with access to the exemptions and the list of findings.
pub(crate) struct Judging<'a, 'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) check: &'p Check,
    /// Number of figures that other checks judge in the same family.
    pub(crate) elsewhere: usize,
    pub(super) exemptions: &'a mut Exemptions<'p>,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Judging<'_, '_> {
    /// Returns what a comparison's verdict counts as for the gate, and adds a finding if it does not pass;
    /// `requirement` lists the texts that name the comparison in waivers.
    pub(crate) fn hold(
        &mut self,
        verdict: Verdict,
        requirement: &[String],
        reason: impl FnOnce() -> Reason,
    ) -> Verdict {
        let check = self.check;
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
            Verdict::Pass | Verdict::Error => return verdict,
        };
        let waived_by = self.exemptions.waiver(&check.id, code, requirement);
        let effect = if policy == Effect::Warn || waived_by.is_some() {
            Verdict::Pass
        } else {
            verdict
        };
        let reason = reason();
        self.findings.push(Finding {
            code: code.to_string(),
            check: check.id.clone(),
            status: if policy == Effect::Warn {
                FindingStatus::Warn
            } else {
                denied
            },
            message: reason.message,
            remediation: reason.remediation.to_owned(),
            location: Some(self.policy.location(check.required_at)),
            waived_by: waived_by.map(str::to_owned),
        });
        effect
    }

    /// Returns the reason of the accept that covers a trust flag of the check, if there is one.
    pub(crate) fn accepted(&mut self, code: TrustCode) -> Option<String> {
        let accept = self
            .exemptions
            .accept(&self.check.id, FindingCode::Trust(code));
        accept.map(|a| a.reason.clone())
    }

    /// Adds another finding about the check.
    pub(crate) fn find(
        &mut self,
        code: FindingCode,
        status: FindingStatus,
        message: String,
        remediation: &str,
    ) {
        self.findings.push(Finding {
            code: code.to_string(),
            check: self.check.id.clone(),
            status,
            message,
            remediation: remediation.to_owned(),
            location: Some(self.policy.location(self.check.at)),
            waived_by: None,
        });
    }

    /// Builds the check's result from its comparisons and what each counts as; the first comparison with the worst
    /// verdict supplies its figures.
    pub(crate) fn result(
        &self,
        comparisons: Vec<ComparisonResult>,
        effects: &[Verdict],
        cost: Option<CheckCost>,
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
            cost,
            sampling: None,
            ..unjudged(self.check, verdict, true)
        }
    }
}

/// Returns the result of a check that cannot be judged; `found` says whether an evidence file exists.
pub(super) fn unjudged(check: &Check, verdict: Verdict, found: bool) -> CheckResult {
    CheckResult {
        id: check.id.clone(),
        kind: check.kind.id.to_owned(),
        verdict,
        counts_as: verdict,
        requirement: check.requirement(),
        observed: None,
        ci: None,
        threshold: None,
        n: None,
        needed: None,
        comparisons: Vec::new(),
        sampling: None,
        cost: None,
        evidence: found.then(|| evidence_file(&check.id)),
    }
}
