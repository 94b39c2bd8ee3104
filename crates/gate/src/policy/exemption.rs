use toml::de::DeValue;

use super::check::Check;
use super::error::{Place, PolicyError};
use super::reader::{Field, Section, hint};
use crate::{Date, FindingCode};

/// Scope and expiry date of a waiver or an accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// The only check it applies to; every check if absent.
    pub check: Option<String>,
    /// The finding code.
    pub code: FindingCode,
    /// The only requirement of that check it applies to, as reports write it; all of them if absent.
    pub requirement: Option<String>,
    /// Reason for the exemption.
    pub reason: String,
    /// Last day on which it holds.
    pub expires: Date,
    /// Position in the file.
    pub(crate) at: Place,
}

impl Exemption {
    /// Whether it covers a finding code of a check, on any day. If it names a requirement, that must be one of the
    /// texts in `requirement`.
    pub fn covers(&self, check: &str, code: FindingCode, requirement: &[String]) -> bool {
        let own = |r: &String| requirement.contains(r);
        self.code == code
            && self.check.as_deref().is_none_or(|c| c == check)
            && self.requirement.as_ref().is_none_or(own)
    }

    /// Returns it as written in the policy: `code` or `check/code`, followed by the requirement if it names one.
    pub fn target(&self) -> String {
        let mut text = self.check.clone().map_or_else(String::new, |c| c + "/");
        text += &self.code.to_string();
        if let Some(requirement) = &self.requirement {
            text = format!("{text} ({requirement})");
        }
        text
    }
}

/// One `[[waiver]]` entry: a finding that an owner takes responsibility for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// Its scope and expiry date.
    pub exemption: Exemption,
    /// Person or team responsible for it.
    pub owner: String,
}

/// One `[[accept]]` entry: a trust code that is known and accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// Its scope and expiry date.
    pub exemption: Exemption,
}

pub(super) fn waiver(field: &Field<'_>, checks: &[Check]) -> Result<Waiver, PolicyError> {
    let s = field.section(&["finding", "requirement", "reason", "owner", "expires"])?;
    let owner = s.need("owner")?.text()?;
    let target = s.need("finding")?;
    let mut exemption = exemption(
        &s,
        &target,
        checks,
        FindingCode::waivable,
        |code| match code {
            FindingCode::Trust(_) => {
                format!("`{code}` is a trust code: use [[accept]] with code = \"{code}\"")
            }
            _ => format!(
                "`{code}` cannot be waived: only {} and {} can",
                FindingCode::RequirementMissed,
                FindingCode::RequirementUndecided
            ),
        },
    )?;
    exemption.requirement = s.maybe("requirement", |f| {
        let check = checks
            .iter()
            .find(|c| exemption.check.as_ref() == Some(&c.id));
        let check = check.ok_or_else(|| {
            f.error(format!(
                "belongs to one check: name it, finding = \"CHECK/{}\"",
                exemption.code
            ))
        })?;
        requirement(f, check)
    })?;
    Ok(Waiver { exemption, owner })
}

/// Reads a requirement, which must be one of the check's.
fn requirement(field: &Field<'_>, check: &Check) -> Result<String, PolicyError> {
    let (given, known) = check.task.waived(field)?;
    if known {
        return Ok(given);
    }
    Err(field.error(format!(
        "`{given}` is no requirement of check \"{}\", which requires {}",
        check.id,
        check.requirement()
    )))
}

pub(super) fn accept(field: &Field<'_>, checks: &[Check]) -> Result<Accept, PolicyError> {
    let s = field.section(&["code", "reason", "expires"])?;
    let target = s.need("code")?;
    let trust = |code| matches!(code, FindingCode::Trust(_));
    let exemption = exemption(&s, &target, checks, trust, |code| {
        format!("`{code}` is no trust code: only those can be accepted; see [[waiver]]")
    })?;
    Ok(Accept { exemption })
}

fn exemption(
    s: &Section<'_>,
    target: &Field<'_>,
    checks: &[Check],
    allowed: impl Fn(FindingCode) -> bool,
    refusal: impl FnOnce(FindingCode) -> String,
) -> Result<Exemption, PolicyError> {
    let text = target.string()?;
    let (check, name) = text
        .rsplit_once('/')
        .map_or((None, text), |(c, n)| (Some(c), n));
    if let Some(id) = check
        && !checks.iter().any(|c| c.id == id)
    {
        let ids: Vec<&str> = checks.iter().map(|c| c.id.as_str()).collect();
        return Err(target.error_inside(
            0,
            id.len(),
            format!("no check is called `{id}`{}", hint(id, &ids)),
        ));
    }
    let offset = text.len() - name.len();
    let code: FindingCode = name.parse().map_err(|e: crate::FindingCodeError| {
        target.error_inside(offset, name.len(), e.to_string())
    })?;
    if !allowed(code) {
        return Err(target.error_inside(offset, name.len(), refusal(code)));
    }
    Ok(Exemption {
        check: check.map(str::to_owned),
        code,
        requirement: None,
        reason: s.need("reason")?.text()?,
        expires: date(&s.need("expires")?)?,
        at: target.place(),
    })
}

/// Reads a TOML date, or the same date as a string.
fn date(field: &Field<'_>) -> Result<Date, PolicyError> {
    let text = match field.node.get_ref() {
        DeValue::Datetime(d) if d.time.is_none() && d.offset.is_none() => d.to_string(),
        DeValue::String(s) => s.to_string(),
        _ => return Err(field.error("expected a day, YYYY-MM-DD")),
    };
    text.parse()
        .map_err(|e: crate::DateError| field.error(e.to_string()))
}
