use toml::de::DeValue;

use super::check::Check;
use super::error::PolicyError;
use super::reader::{Field, Section, hint};
use crate::{Date, FindingCode};

/// What a waiver or an accept covers, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excuse {
    /// The only check it is for; absent means every check.
    pub check: Option<String>,
    /// The finding code.
    pub code: FindingCode,
    /// Why.
    pub reason: String,
    /// The last day it holds.
    pub expires: Date,
}

impl Excuse {
    /// Whether it covers a code of a check (whatever the day).
    pub fn covers(&self, check: &str, code: FindingCode) -> bool {
        self.code == code && self.check.as_deref().is_none_or(|c| c == check)
    }

    /// As it is written in the policy: `code` or `check/code`.
    pub fn target(&self) -> String {
        self.check
            .as_ref()
            .map_or_else(|| self.code.to_string(), |c| format!("{c}/{}", self.code))
    }
}

/// One `[[waiver]]`: a finding that somebody answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// What it covers.
    pub excuse: Excuse,
    /// Who answers for it.
    pub owner: String,
}

/// One `[[accept]]`: a trust code that is known and lived with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// What it covers.
    pub excuse: Excuse,
}

pub(super) fn waiver(field: &Field<'_>, checks: &[Check]) -> Result<Waiver, PolicyError> {
    let s = field.section(&["finding", "reason", "owner", "expires"])?;
    let owner = s.need("owner")?.text()?;
    let target = s.need("finding")?;
    let excuse = excuse(
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
    Ok(Waiver { excuse, owner })
}

pub(super) fn accept(field: &Field<'_>, checks: &[Check]) -> Result<Accept, PolicyError> {
    let s = field.section(&["code", "reason", "expires"])?;
    let target = s.need("code")?;
    let trust = |code| matches!(code, FindingCode::Trust(_));
    let excuse = excuse(&s, &target, checks, trust, |code| {
        format!("`{code}` is no trust code: only those can be accepted; see [[waiver]]")
    })?;
    Ok(Accept { excuse })
}

fn excuse(
    s: &Section<'_>,
    target: &Field<'_>,
    checks: &[Check],
    allowed: impl Fn(FindingCode) -> bool,
    refusal: impl FnOnce(FindingCode) -> String,
) -> Result<Excuse, PolicyError> {
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
    Ok(Excuse {
        check: check.map(str::to_owned),
        code,
        reason: s.need("reason")?.text()?,
        expires: date(&s.need("expires")?)?,
    })
}

/// A TOML date, or the same as a string.
fn date(field: &Field<'_>) -> Result<Date, PolicyError> {
    let text = match field.node.get_ref() {
        DeValue::Datetime(d) if d.time.is_none() && d.offset.is_none() => d.to_string(),
        DeValue::String(s) => s.to_string(),
        _ => return Err(field.error("expected a day, YYYY-MM-DD")),
    };
    text.parse()
        .map_err(|e: crate::DateError| field.error(e.to_string()))
}
