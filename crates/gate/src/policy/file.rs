use std::collections::BTreeSet;

use proofmark_domain::{Location, Seed, hex};
use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::check::{self, Check};
use super::data::{self, DataEntry};
use super::error::{Place, PolicyError};
use super::exemption::{self, Accept, Waiver};
use super::model::{self, ModelEntry};
use super::reader::{Field, Section, hint};
use crate::kind::AttackSpec;

/// Schema name of every policy.
pub const POLICY_SCHEMA: &str = "proofmark/policy/1";

/// Names that a policy may use without defining them.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Ids of attacks.
    pub attacks: &'a [&'a str],
    /// Shipped models.
    pub models: &'a [&'a str],
    /// Shipped data sets (`digits`, `digits:train`).
    pub data: &'a [&'a str],
}

/// Names that the checks of a policy may use: those it defines and those known without it.
pub(crate) struct Named<'a> {
    pub(crate) models: &'a [ModelEntry],
    pub(crate) data: &'a [DataEntry],
    pub(crate) known: &'a Known<'a>,
}

/// Limits of a whole gate run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Wall-clock seconds.
    pub seconds: Option<f64>,
    /// Sample-forwards.
    pub forwards: Option<u64>,
}

/// A parsed and checked policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Path of its file, as findings show it; `policy.toml` until it is set.
    pub file: String,
    /// Seed of every run.
    pub seed: Seed,
    /// The models it defines.
    pub models: Vec<ModelEntry>,
    /// The data sets it defines.
    pub data: Vec<DataEntry>,
    /// The checks; at least one.
    pub checks: Vec<Check>,
    /// Waived findings.
    pub waivers: Vec<Waiver>,
    /// Accepted trust codes.
    pub accepts: Vec<Accept>,
    /// Limits of a run.
    pub limits: Limits,
    sha256: String,
    source: String,
}

impl Policy {
    /// Reads and checks a policy.
    ///
    /// ```
    /// use proofmark_gate::{Known, Policy};
    /// let known = Known { attacks: &["pgd"], models: &["digits-robust"], data: &["digits"] };
    /// let policy = Policy::parse(br#"
    ///     schema = "proofmark/policy/1"
    ///     [[check]]
    ///     id = "linf"
    ///     kind = "robustness"
    ///     model = "digits-robust"
    ///     data = "digits"
    ///     threat = { norm = "linf", eps = "8/255" }
    ///     attacks = [{ id = "pgd", steps = 40 }]
    ///     require = "robust_accuracy >= 45 %"
    /// "#, &known).unwrap();
    /// assert_eq!(policy.checks[0].requirement(), "robust_accuracy >= 0.45");
    /// ```
    pub fn parse(source: &[u8], known: &Known<'_>) -> Result<Self, PolicyError> {
        let text = match std::str::from_utf8(source) {
            Ok(text) => text,
            Err(e) => {
                let valid = String::from_utf8_lossy(&source[..e.valid_up_to()]);
                let at = valid.len();
                return Err(PolicyError::at(
                    &valid,
                    at..at,
                    "",
                    "the file is not UTF-8 text",
                ));
            }
        };
        let root = DeTable::parse(text).map_err(|e| {
            PolicyError::at(
                text,
                e.span().unwrap_or(0..0),
                "",
                format!("not valid TOML: {}", e.message().replace('\n', " ")),
            )
        })?;
        let root = Section {
            source: text,
            path: String::new(),
            span: 0..0,
            table: root.get_ref(),
        };
        let mut policy = read(&root, known)?;
        policy.sha256 = hex(&Sha256::digest(source));
        text.clone_into(&mut policy.source);
        Ok(policy)
    }

    /// Returns the SHA-256 of the file as it was given, hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the location of a position in its file.
    pub(crate) fn location(&self, at: Place) -> Location {
        Location {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
        }
    }

    /// Creates an error about one of this policy's attacks, for the caller that builds it: at the named parameter if
    /// the file sets it, else at the attack.
    pub fn attack_error(
        &self,
        attack: &AttackSpec,
        parameter: Option<&str>,
        message: impl Into<String>,
    ) -> PolicyError {
        let field = match parameter {
            Some(p) if attack.parameters.contains_key(p) => format!("{}.{p}", attack.path),
            _ => attack.path.clone(),
        };
        PolicyError::at(&self.source, attack.span_of(parameter), field, message)
    }

    /// Creates an error about one of this policy's data sets, for the caller that opens it.
    pub fn data_error(&self, data: &DataEntry, message: impl Into<String>) -> PolicyError {
        let field = format!("data \"{}\"", data.name);
        PolicyError::at(&self.source, data.span.clone(), field, message)
    }
}

fn read(root: &Section<'_>, known: &Known<'_>) -> Result<Policy, PolicyError> {
    const FIELDS: [&str; 8] = [
        "schema", "seed", "model", "data", "check", "waiver", "accept", "limits",
    ];
    // The schema is checked first: in a file with another schema, any other error would mislead.
    let schema = root.need("schema")?;
    if schema.string()? != POLICY_SCHEMA {
        let given = schema.string()?;
        return Err(schema.error(format!(
            "unknown schema `{given}`{}; expected `{POLICY_SCHEMA}`",
            hint(given, &[POLICY_SCHEMA])
        )));
    }
    root.only(&FIELDS)?;

    let models = list(root, "model", |f| model::entry(f, known))?;
    unique(
        root,
        "model",
        "name",
        models.iter().map(|m| m.name.as_str()),
    )?;
    let data = list(root, "data", |f| data::entry(f, known))?;
    unique(root, "data", "name", data.iter().map(|d| d.name.as_str()))?;
    let named = Named {
        models: &models,
        data: &data,
        known,
    };
    let checks = list(root, "check", |f| check::read(f, &named))?;
    unique(root, "check", "id", checks.iter().map(|c| c.id.as_str()))?;
    if checks.is_empty() {
        return Err(root.error("a policy without a [[check]] would let everything pass"));
    }
    Ok(Policy {
        file: "policy.toml".to_owned(),
        seed: Seed(root.maybe("seed", |f| f.whole(0))?.unwrap_or(0)),
        waivers: list(root, "waiver", |f| exemption::waiver(f, &checks))?,
        accepts: list(root, "accept", |f| exemption::accept(f, &checks))?,
        limits: root.maybe("limits", limits)?.unwrap_or_default(),
        models,
        data,
        checks,
        sha256: String::new(),
        source: String::new(),
    })
}

fn list<'a, T>(
    root: &Section<'a>,
    name: &str,
    read: impl Fn(&Field<'a>) -> Result<T, PolicyError>,
) -> Result<Vec<T>, PolicyError> {
    root.tables(name)?.iter().map(read).collect()
}

/// Refuses duplicate names. Case is ignored, so that evidence files do not collide on case-insensitive file systems.
fn unique<'a>(
    root: &Section<'_>,
    table: &str,
    key: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), PolicyError> {
    let mut seen = BTreeSet::new();
    for (name, field) in names.zip(root.tables(table)?) {
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(field
                .open_section()?
                .need(key)?
                .error(format!("there is a {table} called `{name}` already")));
        }
    }
    Ok(())
}

fn limits(field: &Field<'_>) -> Result<Limits, PolicyError> {
    let s = field.section(&["seconds", "forwards"])?;
    Ok(Limits {
        seconds: s.maybe("seconds", |f| match f.number()? {
            x if x > 0.0 => Ok(x),
            x => Err(f.error(format!("expected seconds above 0, found {x}"))),
        })?,
        forwards: s.maybe("forwards", |f| f.whole(1))?,
    })
}
