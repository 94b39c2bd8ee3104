use super::attacks::{self, AttackSpec};
use super::check::CheckKind;
use super::data::{self, DataEntry, DataRef};
use super::error::PolicyError;
use super::file::Known;
use super::model::{self, ModelEntry, ModelRef};
use super::reader::Section;
use super::requirement::{self, Requirement};
use super::threat::{self, ThreatSpec};

/// A model measured on data: what a check of kind `robustness` or `clean` is about.
#[derive(Debug, Clone, PartialEq)]
pub struct AttackTask {
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
    /// At most this many samples, a seeded, class-stratified subset.
    pub limit: Option<u64>,
}

pub(super) const FIELDS: &[&str] = &["model", "data", "threat", "attacks", "limit"];

pub(super) fn read(
    s: &Section<'_>,
    kind: CheckKind,
    models: &[ModelEntry],
    sets: &[DataEntry],
    known: &Known<'_>,
) -> Result<AttackTask, PolicyError> {
    let attacked = kind == CheckKind::Robustness;
    let (threat, attacks) = if attacked {
        (
            Some(threat::read(&s.need("threat")?)?),
            attacks::read(&s.need("attacks")?, known)?,
        )
    } else {
        if let Some(f) = s.get("threat").or_else(|| s.get("attacks")) {
            return Err(f.error(
                "a check of kind \"clean\" runs no attack; for attacks, use kind = \"robustness\"",
            ));
        }
        (None, Vec::new())
    };
    let ids: Vec<&str> = attacks.iter().map(|a| a.id.as_str()).collect();
    Ok(AttackTask {
        model: model::find(&s.need("model")?, models, known)?,
        data: data::find(&s.need("data")?, sets, known)?,
        require: requirement::read(&s.need("require")?, &ids, attacked)?,
        limit: s.maybe("limit", |f| f.whole(1))?,
        threat,
        attacks,
    })
}
