use std::sync::Arc;

use serde_json::{Value, json};

use super::error::{Place, PolicyError};
use super::file::Named;
use super::reader::{Field, Section};
use crate::judge::Record;
use crate::kind::{self, CheckKind, Measure, Task, looks};
use crate::resolved_plan::difference;

/// Effect of a missed or undecided requirement on the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effect {
    /// Prevents the gate from passing.
    #[default]
    Deny,
    /// Only reported; the gate may pass.
    Warn,
}

/// One `[[check]]` entry.
#[derive(Debug, Clone)]
pub struct Check {
    /// Id, unique in the policy and usable as a file name.
    pub id: String,
    /// Kind of the check.
    pub kind: &'static CheckKind,
    /// Confidence level of every interval, between 0 and 1.
    pub level: f64,
    /// Effect of a missed requirement.
    pub on_fail: Effect,
    /// Effect of an undecided requirement. A figure that cannot be trusted never passes.
    pub on_inconclusive: Effect,
    /// All policy fields of the check, its model and its data that determine what is measured, without digests.
    /// Evidence repeats it and is mismatched if it differs.
    pub request: Value,
    pub(crate) task: Arc<dyn Task>,
    /// Positions in the file of the check (`at`) and of its requirement (`required_at`).
    pub(crate) at: Place,
    pub(crate) required_at: Place,
}

impl Check {
    /// Returns what has to be measured for the check.
    pub fn measure(&self) -> Measure<'_> {
        self.task.measure()
    }

    /// Returns the whole requirement, as reports write it.
    pub fn requirement(&self) -> String {
        self.task.requirement()
    }

    /// Whether a record needs no further measuring: that of a sequential check may end before its last look only if the
    /// requirement is decided there. Samples that were stopped are not considered.
    pub fn is_settled(&self, record: &Record) -> bool {
        self.task.is_settled(record, self.level)
    }

    /// Refuses a record that was measured for a different request; the error names what differs.
    pub fn requested(&self, record: &Record) -> Result<(), String> {
        let Some(found) = record.request() else {
            return Err(
                "it does not say for which check it was measured: only what `gate` measured is evidence of a gate"
                    .to_owned(),
            );
        };
        let differs = difference(&self.request, found);
        differs.map_or(Ok(()), |d| Err(format!("policy: {d}")))
    }
}

/// Fields common to every check.
pub(crate) const COMMON: &[&str] = &[
    "id",
    "kind",
    "require",
    "level",
    "on_fail",
    "on_inconclusive",
    "sampling",
];

/// Fields and kinds reserved for later versions.
const LATER_FIELDS: [&str; 1] = ["probes"];
const LATER_KINDS: [&str; 3] = ["backdoor", "baseline", "limits"];

const EFFECTS: [(&str, Effect); 2] = [("deny", Effect::Deny), ("warn", Effect::Warn)];

pub(super) fn read(field: &Field<'_>, named: &Named<'_>) -> Result<Check, PolicyError> {
    let mut s = field.open_section()?;
    let id = id(&s.need("id")?)?;
    s.path = format!("check \"{id}\"");
    let kind = kind(&s.need("kind")?)?;
    fields(&s, kind)?;
    looks::supported(&s, kind)?;
    Ok(Check {
        task: (kind.read)(&s, named)?,
        level: s.maybe("level", level)?.unwrap_or(0.95),
        on_fail: s
            .maybe("on_fail", |f| f.word(&EFFECTS))?
            .unwrap_or_default(),
        on_inconclusive: s
            .maybe("on_inconclusive", |f| f.word(&EFFECTS))?
            .unwrap_or_default(),
        request: request(&s, kind, named)?,
        at: s.need("id")?.place(),
        required_at: s.need("require")?.place(),
        kind,
        id,
    })
}

/// Returns the check's fields without those that only affect judging, plus the entries of the model and data it names.
fn request(s: &Section<'_>, kind: &CheckKind, named: &Named<'_>) -> Result<Value, PolicyError> {
    let judging: Vec<&str> = COMMON.iter().chain(kind.judging).copied().collect();
    let mut request = json!({ "check": s.request(&judging)? });
    // Absent if the number of samples is fixed, stated or not.
    if looks::read(s)?.is_some() {
        request["check"]["sampling"] = json!("sequential");
    }
    let name = |key| Ok::<_, PolicyError>(s.maybe(key, Field::string)?.unwrap_or_default());
    let (model, data) = (name("model")?, name("data")?);
    if let Some(entry) = named.models.iter().find(|m| m.name == model) {
        request["model"] = entry.request.clone();
    }
    if let Some(field) = s.get("surrogate") {
        let names = kind::surrogates_named(&field)?;
        let entry = |f: &Field<'_>| {
            let name = f.string().ok()?;
            let entry = named.models.iter().find(|m| m.name == name)?;
            Some(entry.request.clone())
        };
        let entries: Vec<Value> = names.iter().filter_map(entry).collect();
        if !entries.is_empty() {
            request["surrogate"] = json!(entries);
        }
    }
    if let Some(entry) = named.data.iter().find(|d| d.name == data) {
        request["data"] = entry.request.clone();
    }
    Ok(request)
}

/// Refuses fields that this kind does not have; the error says if another kind has the field.
fn fields(s: &Section<'_>, kind: &CheckKind) -> Result<(), PolicyError> {
    let own: Vec<&'static str> = COMMON.iter().copied().chain((kind.fields)()).collect();
    let of = |e: &CheckKind| (e.fields)().into_iter();
    let others = kind::ALL
        .iter()
        .flat_map(|e| of(e).map(|f| (f, Some(e.id))));
    let others = others.chain(LATER_FIELDS.map(|f| (f, None)));
    for (name, of) in others.filter(|(n, _)| !own.contains(n)) {
        if let Some(f) = s.get(name) {
            let of = of.map_or_else(String::new, |of| format!("; kind \"{of}\" has"));
            let problem = format!("a check of kind \"{}\" has no {name}{of}", kind.id);
            return Err(f.error(problem));
        }
    }
    s.only(&own)
}

/// Reads the id, which names the evidence file and, as `id/code`, the check in waivers.
fn id(field: &Field<'_>) -> Result<String, PolicyError> {
    let text = field.text()?;
    // Both forms name other files in the evidence folder.
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

fn kind(field: &Field<'_>) -> Result<&'static CheckKind, PolicyError> {
    let known = kind::ALL.iter().map(|e| (e.id, Some(e)));
    let later = LATER_KINDS.map(|word| (word, None));
    let kinds: Vec<_> = known.chain(later).collect();
    field.word(&kinds)?.ok_or_else(|| {
        let word = field.string().unwrap_or_default();
        let runs: Vec<String> = kind::ALL.iter().map(|e| format!("\"{}\"", e.id)).collect();
        field.error(format!(
            "this version cannot run checks of kind \"{word}\"; it runs {}",
            runs.join(", ")
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
