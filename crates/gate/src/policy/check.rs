use super::attack_task::{self, AttackTask};
use super::audit_task::{self, AuditTask};
use super::data::DataEntry;
use super::error::PolicyError;
use super::file::Known;
use super::model::ModelEntry;
use super::reader::{Field, Section};

/// What kind of measurement a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// Attacks, and what is left of accuracy under them.
    Robustness,
    /// Accuracy without attack.
    Clean,
    /// Decisions of a table, group by group.
    Bias,
}

impl CheckKind {
    /// Its word in policies and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Robustness => "robustness",
            Self::Clean => "clean",
            Self::Bias => "bias",
        }
    }

    /// The fields that only checks of some kinds have.
    const fn own_fields(self) -> &'static [&'static str] {
        match self {
            Self::Robustness | Self::Clean => attack_task::FIELDS,
            Self::Bias => audit_task::FIELDS,
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
    /// What is measured, and what must hold.
    pub task: Task,
    /// Confidence of every interval, between 0 and 1.
    pub level: f64,
    /// Effect of a missed requirement.
    pub on_fail: Effect,
    /// Effect of samples that cannot tell. A figure that cannot be trusted is never let through by this.
    pub on_inconclusive: Effect,
}

/// What a check measures, and what must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// A model on data, attacked or not.
    Attack(Box<AttackTask>),
    /// A table of decisions.
    Audit(Box<AuditTask>),
}

impl Task {
    /// The kind of check it is.
    pub const fn kind(&self) -> CheckKind {
        match self {
            Self::Attack(task) if task.threat.is_some() => CheckKind::Robustness,
            Self::Attack(_) => CheckKind::Clean,
            Self::Audit(_) => CheckKind::Bias,
        }
    }

    /// The requirement as it is told.
    pub fn requirement(&self) -> String {
        match self {
            Self::Attack(task) => task.require.to_string(),
            Self::Audit(task) => {
                let all: Vec<String> = task.require.iter().map(ToString::to_string).collect();
                all.join(", ")
            }
        }
    }
}

/// The fields of every check.
const COMMON: [&str; 7] = [
    "id",
    "kind",
    "require",
    "level",
    "on_fail",
    "on_inconclusive",
    "sampling",
];

/// Fields of kinds that are still to come.
const LATER: [&str; 1] = ["probes"];

const EFFECTS: [(&str, Effect); 2] = [("deny", Effect::Deny), ("warn", Effect::Warn)];

pub(super) fn read(
    field: &Field<'_>,
    models: &[ModelEntry],
    sets: &[DataEntry],
    known: &Known<'_>,
) -> Result<Check, PolicyError> {
    let mut s = field.open_section()?;
    let id = id(&s.need("id")?)?;
    s.path = format!("check \"{id}\"");
    let kind = kind(&s.need("kind")?)?;
    fields(&s, kind)?;
    fixed_sampling(&s)?;
    let task = match kind {
        CheckKind::Robustness | CheckKind::Clean => {
            Task::Attack(Box::new(attack_task::read(&s, kind, models, sets, known)?))
        }
        CheckKind::Bias => Task::Audit(Box::new(audit_task::read(&s, sets)?)),
    };
    Ok(Check {
        task,
        level: s.maybe("level", level)?.unwrap_or(0.95),
        on_fail: s
            .maybe("on_fail", |f| f.word(&EFFECTS))?
            .unwrap_or_default(),
        on_inconclusive: s
            .maybe("on_inconclusive", |f| f.word(&EFFECTS))?
            .unwrap_or_default(),
        id,
    })
}

/// Only what a check of this kind has. A field of another kind is told apart from one that nobody knows.
fn fields(s: &Section<'_>, kind: CheckKind) -> Result<(), PolicyError> {
    let own: Vec<&'static str> = COMMON.iter().chain(kind.own_fields()).copied().collect();
    let others = [attack_task::FIELDS, audit_task::FIELDS, &LATER].concat();
    for name in others.into_iter().filter(|n| !own.contains(n)) {
        if let Some(f) = s.get(name) {
            return Err(f.error(format!(
                "a check of kind \"{}\" has no {name}",
                kind.as_str()
            )));
        }
    }
    s.only(&own)
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
        ("bias", Some(CheckKind::Bias)),
        ("backdoor", None),
        ("baseline", None),
        ("limits", None),
    ];
    field.word(&kinds)?.ok_or_else(|| {
        let word = field.string().unwrap_or_default();
        field.error(format!(
            "this version cannot run checks of kind \"{word}\"; it runs \"robustness\", \"clean\" and \"bias\""
        ))
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
