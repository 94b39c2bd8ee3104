//! The same groups clean and under attack, side by side.

use proofmark_domain::Verdict;
use serde::{Deserialize, Serialize};

use crate::metric::{self, Need};
use crate::robustness::Attacked;
use crate::{AuditError, Figure, Measured, Settings, measure};

/// What follows the name of an attribute where its decisions are those under attack.
pub const UNDER_ATTACK: &str = "under attack";

/// The attack whose samples were audited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackFacts {
    /// The model attacked.
    pub model: String,
    /// Its digest, hex.
    pub model_sha256: String,
    /// The digest of the set it was attacked on, hex.
    pub data_sha256: String,
    /// Keys of the runs that count.
    pub runs: Vec<String>,
    /// The class that is a favourable decision; none: there are only outcomes.
    pub favourable: Option<u64>,
    /// Samples left out because the attack could not judge them.
    pub unjudged: u64,
    /// Codes of what keeps the report's figures from being trusted: with any, a requirement on the attack never passes.
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

/// What is said of a figure: one that rests on an attack not to be trusted does not pass, and why.
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

/// An attribute as it is called under attack; none: the table as a whole.
pub(super) fn under_attack(attribute: &str) -> String {
    format!("{attribute} {UNDER_ATTACK}").trim().to_owned()
}

/// Adds what the decisions under attack come to. Outcomes and base rates are the same in both tables and stay single.
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

/// Whether the figure says something about the attack.
fn rests_on_attack(figure: &Figure) -> bool {
    figure.attribute.ends_with(UNDER_ATTACK)
        || needs(figure, Need::Outcome) && !figure.metric.starts_with("clean_")
}

fn needs(figure: &Figure, need: Need) -> bool {
    metric::find(figure.metric).is_ok_and(|e| e.needs.contains(&need))
}
