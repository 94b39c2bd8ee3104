use proofmark_domain::{Finding, FindingStatus};

use crate::policy::{Exemption, Policy};
use crate::{Date, FindingCode};

/// A policy's waivers and accepts on one day, and which of them were used.
pub(super) struct Exemptions<'a> {
    policy: &'a Policy,
    today: Date,
    waived: Vec<bool>,
    accepted: Vec<bool>,
}

impl<'a> Exemptions<'a> {
    pub(super) fn new(policy: &'a Policy, today: Date) -> Self {
        Self {
            policy,
            today,
            waived: vec![false; policy.waivers.len()],
            accepted: vec![false; policy.accepts.len()],
        }
    }

    /// Returns the owner of a waiver that holds today and covers the finding; `requirement` lists the texts that name
    /// the finding's requirement.
    pub(super) fn waiver(
        &mut self,
        check: &str,
        code: FindingCode,
        requirement: &[String],
    ) -> Option<&'a str> {
        let mut owner = None;
        for (waiver, used) in self.policy.waivers.iter().zip(&mut self.waived) {
            if holds(&waiver.exemption, self.today)
                && waiver.exemption.covers(check, code, requirement)
            {
                *used = true;
                owner = owner.or(Some(waiver.owner.as_str()));
            }
        }
        owner
    }

    /// Returns the accept that holds today and covers the flag.
    pub(super) fn accept(&mut self, check: &str, code: FindingCode) -> Option<&'a Exemption> {
        let mut found = None;
        for (accept, used) in self.policy.accepts.iter().zip(&mut self.accepted) {
            if holds(&accept.exemption, self.today) && accept.exemption.covers(check, code, &[]) {
                *used = true;
                found = found.or(Some(&accept.exemption));
            }
        }
        found
    }

    /// Returns a warning for each exemption that has expired or that matched nothing. A finding that an expired one was
    /// for counts in full.
    pub(super) fn leftovers(&self) -> Vec<Finding> {
        let waivers = self
            .policy
            .waivers
            .iter()
            .map(|w| &w.exemption)
            .zip(&self.waived);
        let accepts = self
            .policy
            .accepts
            .iter()
            .map(|a| &a.exemption)
            .zip(&self.accepted);
        waivers
            .filter_map(|(e, used)| {
                self.leftover(
                    e,
                    *used,
                    "waiver",
                    FindingCode::ExpiredWaiver,
                    FindingCode::UnmatchedWaiver,
                )
            })
            .chain(accepts.filter_map(|(e, used)| {
                self.leftover(
                    e,
                    *used,
                    "accept",
                    FindingCode::ExpiredAccept,
                    FindingCode::UnmatchedAccept,
                )
            }))
            .collect()
    }

    fn leftover(
        &self,
        exemption: &Exemption,
        used: bool,
        word: &str,
        expired: FindingCode,
        unmatched: FindingCode,
    ) -> Option<Finding> {
        let target = exemption.target();
        let (code, message, remediation) = if !holds(exemption, self.today) {
            let message = format!(
                "the {word} of `{target}` expired on {} (today is {})",
                exemption.expires, self.today
            );
            (
                expired,
                message,
                format!(
                    "fix what it was for ({}), or renew it with a new day",
                    exemption.reason
                ),
            )
        } else if !used {
            (
                unmatched,
                format!("the {word} of `{target}` covers nothing that was found"),
                format!("remove the {word}"),
            )
        } else {
            return None;
        };
        Some(Finding {
            code: code.to_string(),
            check: exemption.check.clone().unwrap_or_default(),
            status: FindingStatus::Warn,
            message,
            remediation,
            location: Some(self.policy.location(exemption.at)),
            waived_by: None,
        })
    }
}

/// Whether the exemption holds; it holds through its last day.
fn holds(exemption: &Exemption, today: Date) -> bool {
    today <= exemption.expires
}
