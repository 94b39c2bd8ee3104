//! Tests of the judge; the helpers here build a policy and its evidence.

mod evidence;
mod exemptions;
mod figures;
mod gate_report;
mod sequential;
mod thresholds;
mod trust;

use proofmark_domain::RunStatus::{Broken, Robust};
use proofmark_domain::{Finding, Observation, Report, RunStatus};

use super::*;
use crate::trust::fixture::{attack, report, sample};
use crate::{Date, GateReport, Known, Policy};

const KNOWN: Known<'_> = Known {
    attacks: &["pgd", "fgsm"],
    models: &["digits-robust"],
    data: &["digits"],
};

/// Parses a policy with one check, with extra lines inside and after it.
fn policy(require: &str, inside: &str, after: &str) -> Policy {
    let text = format!(
        "schema = \"proofmark/policy/1\"\n[[check]]\nid = \"linf\"\nkind = \"robustness\"\nmodel = \"digits-robust\"\ndata = \"digits\"\n\
         threat = {{ norm = \"linf\", eps = 0.1 }}\nattacks = [\"pgd\"]\nrequire = \"{require}\"\n{inside}\n{after}"
    );
    Policy::parse(text.as_bytes(), &KNOWN).unwrap_or_else(|e| panic!("{e}"))
}

fn today() -> Date {
    Date::new(2026, 6, 15).unwrap()
}

/// Report of `n` samples: the first `robust` are robust, the rest broken.
fn measured(robust: u64, n: u64) -> Report {
    statuses(n, |i| if i < robust { Robust } else { Broken })
}

fn statuses(n: u64, status: impl Fn(u64) -> RunStatus) -> Report {
    report(
        vec![attack("pgd", 0.1)],
        (0..n).map(|i| sample(i, &[status(i)])).collect(),
    )
}

/// Adds an uncured trust flag to the report.
fn masked(mut report: Report) -> Report {
    for s in &mut report.samples {
        s.observed = vec![Observation::OutputChanged];
    }
    report
}

/// Stores each check's request in its attack evidence.
fn requested(policy: &Policy, mut evidence: Evidence) -> Evidence {
    for check in &policy.checks {
        if let Some(Ok(Record::Attack(report))) = evidence.get_mut(&check.id) {
            let request = check.request.clone();
            report.config.insert(REQUEST.to_owned(), request);
        }
    }
    evidence
}

fn judge(policy: &Policy, evidence: Evidence, today: Date) -> GateReport {
    super::judge(policy, requested(policy, evidence), today)
}

fn run(policy: &Policy, report: Report) -> GateReport {
    judge(
        policy,
        Evidence::from([("linf".to_owned(), Ok(report.into()))]),
        today(),
    )
}

fn found<'a>(gate: &'a GateReport, code: &str) -> &'a Finding {
    gate.findings
        .iter()
        .find(|f| f.code == code)
        .unwrap_or_else(|| panic!("no {code} in {:?}", gate.findings))
}
