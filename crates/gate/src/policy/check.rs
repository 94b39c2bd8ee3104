use super::attacks::{self, AttackSpec};
use super::data::{self, DataEntry, DataRef};
use super::error::PolicyError;
use super::file::Known;
use super::model::{self, ModelEntry, ModelRef};
use super::reader::{Field, Section};
use super::requirement::{self, Requirement};
use super::threat::{self, ThreatSpec};

/// What kind of measurement a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// Attacks, and what is left of accuracy under them.
    Robustness,
    /// Accuracy without attack.
    Clean,
}

impl CheckKind {
    /// Its word in policies and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Robustness => "robustness",
            Self::Clean => "clean",
        }
    }
}

/// What a missed or undecided requirement does to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// It keeps the gate from passing.
    #[default]
    Deny,
    /// It is told, and the gate may pass.
    Warn,
}

/// One `[[check]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Unique in the policy, and fit for a file name.
    pub id: String,
    /// What is measured.
    pub kind: CheckKind,
    /// The model.
    pub model: ModelRef,
    /// The data.
    pub data: DataRef,
    /// What attacks may change; absent for a clean check.
    pub threat: Option<ThreatSpec>,
    /// The attacks; none for a clean check.
    pub attacks: Vec<AttackSpec>,
    /// What must hold.
    pub require: Requirement,
    /// Confidence of every interval, between 0 and 1.
    pub level: f64,
    /// Effect of a missed requirement.
    pub on_fail: Effect,
    /// Effect of samples that cannot tell. A figure that cannot be trusted is never let through by this.
    pub on_inconclusive: Effect,
    /// At most this many samples, a seeded, class-stratified subset.
    pub limit: Option<u64>,
}

const FIELDS: [&str; 14] = [
    "id",
    "kind",
    "model",
    "data",
    "threat",
    "attacks",
    "probes",
    "metrics",
    "require",
    "level",
    "on_fail",
    "on_inconclusive",
    "sampling",
    "limit",
];

const EFFECTS: [(&str, Effect); 2] = [("deny", Effect::Deny), ("warn", Effect::Warn)];

pub(super) fn read(
    field: &Field<'_>,
    models: &[ModelEntry],
    sets: &[DataEntry],
    known: &Known<'_>,
) -> Result<Check, PolicyError> {
    let mut s = field.section(&FIELDS)?;
    let id = id(&s.need("id")?)?;
    s.path = format!("check \"{id}\"");
    let kind = kind(&s.need("kind")?)?;
    for name in ["probes", "metrics"] {
        if let Some(f) = s.get(name) {
            return Err(f.error(format!(
                "a check of kind \"{}\" has no {name}",
                kind.as_str()
            )));
        }
    }
    let (threat, attacks) = match kind {
        CheckKind::Robustness => (
            Some(threat::read(&s.need("threat")?)?),
            attacks::read(&s.need("attacks")?, known)?,
        ),
        CheckKind::Clean => {
            if let Some(f) = s.get("threat").or_else(|| s.get("attacks")) {
                return Err(f.error("a check of kind \"clean\" runs no attack; for attacks, use kind = \"robustness\""));
            }
            (None, Vec::new())
        }
    };
    let ids: Vec<&str> = attacks.iter().map(|a| a.id.as_str()).collect();
    fixed_sampling(&s)?;
    Ok(Check {
        model: model::find(&s.need("model")?, models, known)?,
        data: data::find(&s.need("data")?, sets, known)?,
        require: requirement::read(&s.need("require")?, &ids, kind == CheckKind::Robustness)?,
        level: s.maybe("level", level)?.unwrap_or(0.95),
        on_fail: s
            .maybe("on_fail", |f| f.word(&EFFECTS))?
            .unwrap_or_default(),
        on_inconclusive: s
            .maybe("on_inconclusive", |f| f.word(&EFFECTS))?
            .unwrap_or_default(),
        limit: s.maybe("limit", |f| f.whole(1))?,
        id,
        kind,
        threat,
        attacks,
    })
}

/// An id names the evidence file and, with a code behind a slash, what a waiver covers.
fn id(field: &Field<'_>) -> Result<String, PolicyError> {
    let text = field.text()?;
    // Both name other files in the folder of evidence.
    if text == "gate" || text.contains(".shard-") {
        return Err(
            field.error("`gate` and names with `.shard-` are taken by files of the gate itself")
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.len() <= 100
        && text.chars().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        Ok(text)
    } else {
        Err(field.error(
            "expected at most 100 letters, digits, `-`, `_` and `.`, the first a letter or digit",
        ))
    }
}

fn kind(field: &Field<'_>) -> Result<CheckKind, PolicyError> {
    let kinds = [
        ("robustness", Some(CheckKind::Robustness)),
        ("clean", Some(CheckKind::Clean)),
        ("backdoor", None),
        ("bias", None),
        ("baseline", None),
        ("limits", None),
    ];
    field.word(&kinds)?.ok_or_else(|| {
        let word = field.string().unwrap_or_default();
        field.error(format!("this version cannot run checks of kind \"{word}\"; it runs \"robustness\" and \"clean\""))
    })
}

fn level(field: &Field<'_>) -> Result<f64, PolicyError> {
    match field.number()? {
        l if l > 0.0 && l < 1.0 => Ok(l),
        l => Err(field.error(format!(
            "expected a level between 0 and 1, such as 0.95, found {l}"
        ))),
    }
}

fn fixed_sampling(s: &Section<'_>) -> Result<(), PolicyError> {
    let Some(field) = s.get("sampling") else {
        return Ok(());
    };
    if field.word(&[("fixed", true), ("sequential", false)])? {
        Ok(())
    } else {
        Err(field.error("this version does not support sequential sampling; use \"fixed\""))
    }
}
