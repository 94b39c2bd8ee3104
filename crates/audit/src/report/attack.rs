//! Compares the same groups clean and under attack.

use proofmark_domain::Verdict;
use serde::{Deserialize, Serialize};

use crate::metric::{self, Need};
use crate::robustness::Attacked;
use crate::{AuditError, Figure, Measured, Settings, measure};

/// Suffix of an attribute's name when its decisions are those under attack.
pub const UNDER_ATTACK: &str = "under attack";

/// The attack whose samples were audited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackFacts {
    /// Name of the attacked model.
    pub model: String,
    /// SHA-256 digest of the model, in hex.
    pub model_sha256: String,
    /// SHA-256 digest of the attacked data set, in hex.
    pub data_sha256: String,
    /// Keys of the runs that count.
    pub runs: Vec<String>,
    /// Class that is a favourable decision; if `None`, there are only outcomes.
    pub favourable: Option<u64>,
    /// Samples left out because the attack could not judge them.
    pub unjudged: u64,
    /// Trust codes against the attack report; if there are any, a requirement on the attack never passes.
    pub distrust: Vec<String>,
}

impl AttackFacts {
    pub(super) fn new(attacked: &Attacked) -> Self {
        Self {
            model: attacked.model.clone(),
            model_sha256: attacked.model_sha256.clone(),
            data_sha256: attacked.data_sha256.clone(),
            runs: attacked.runs.clone(),
            favourable: attacked.favourable.map(|c| c as u64),
            unjudged: attacked.unjudged as u64,
            distrust: attacked.distrust.clone(),
        }
    }
}

/// Returns the verdict of a figure and a reason: a figure that rests on an untrusted attack does not pass.
pub(super) fn ruled(
    attack: Option<&AttackFacts>,
    figure: &Figure,
    verdict: Verdict,
) -> (Verdict, Option<String>) {
    let distrust = attack.map_or(&[][..], |a| &a.distrust);
    if verdict == Verdict::Pass && !distrust.is_empty() && rests_on_attack(figure) {
        let why = format!(
            "the attack report is not to be trusted: {}",
            distrust.join(", ")
        );
        return (Verdict::Inconclusive, Some(why));
    }
    (verdict, None)
}

/// Returns the name of an attribute under attack; an empty name is the whole table.
pub(super) fn under_attack(attribute: &str) -> String {
    format!("{attribute} {UNDER_ATTACK}").trim().to_owned()
}

/// Adds the figures of the decisions under attack. Outcomes and base rates are the same in both tables and are kept
/// once.
pub(super) fn extend<'a>(
    measured: &mut Measured<'a>,
    attacked: &'a Attacked,
    settings: &Settings,
) -> Result<(), AuditError> {
    if attacked.favourable.is_none() {
        return Ok(());
    }
    let under = measure(&attacked.attacked, settings)?;
    for grouping in under.groupings {
        let name = under_attack(grouping.attribute());
        measured.groupings.push(grouping.renamed(name));
    }
    let decided = under
        .figures
        .into_iter()
        .filter(|f| needs(f, Need::Decision));
    measured.figures.extend(decided.map(|figure| Figure {
        attribute: under_attack(&figure.attribute),
        ..figure
    }));
    Ok(())
}

/// Whether the figure depends on the attack.
fn rests_on_attack(figure: &Figure) -> bool {
    figure.attribute.ends_with(UNDER_ATTACK)
        || needs(figure, Need::Outcome) && !figure.metric.starts_with("clean_")
}

fn needs(figure: &Figure, need: Need) -> bool {
    metric::find(figure.metric).is_ok_and(|e| e.needs.contains(&need))
}
