//! The rows behind the figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use super::pairs;
use crate::metric::Need;
use crate::robustness::Attacked;
use crate::{AuditError, Outcome, Table};

/// How much of each row a report repeats.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub enum Detail {
    /// Nothing; the report can be shared.
    #[default]
    None,
    /// The id of the row.
    Ids,
    /// All audited values of the row.
    Full,
}

impl Detail {
    /// All levels of detail, in order.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the word used on the command line and in policies.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One row, or one id of a paired table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SampleFacts {
    /// Id of the row or, without ids, its index in the source, from 0, before any filter.
    pub id: String,
    /// Group by attribute; `None` if unknown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Option<String>>,
    /// Variant of its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Stratum of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stratum: Option<String>,
    /// Whether the decision is the favourable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<bool>,
    /// Whether the decision under attack is the favourable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked_decision: Option<bool>,
    /// Score of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether the label is the positive one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<bool>,
    /// True value of a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Weight of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// `wrong` without an attack, `broken` by it, or `robust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// In a paired table, whether the decisions of the row's id differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped: Option<bool>,
}

/// Returns the rows of a table one by one or, for a paired table with [`Detail::Ids`], its ids. Refuses to combine rows
/// with suppression of cells below `suppress`, because rows reveal suppressed counts.
pub fn samples<'a>(
    table: &'a Table,
    attacked: Option<&'a Attacked>,
    detail: Detail,
    suppress: u64,
) -> Result<Box<dyn Iterator<Item = SampleFacts> + 'a>, AuditError> {
    if detail != Detail::None && suppress > 1 {
        return Err(AuditError::Option {
            option: "samples",
            value: format!("given together with the suppression of cells below {suppress}"),
            expected: "one of the two: rows give away what is suppressed".to_owned(),
        });
    }
    let ids = pairs::ids(table);
    Ok(match (detail, ids) {
        (Detail::None, _) => Box::new(std::iter::empty()),
        (Detail::Ids, Some(ids)) => Box::new(ids.into_iter().map(|id| SampleFacts {
            id: id.name.to_owned(),
            flipped: id.flipped,
            ..SampleFacts::default()
        })),
        (Detail::Ids, None) => Box::new((0..table.rows()).map(|row| SampleFacts {
            id: table.row_name(row),
            ..SampleFacts::default()
        })),
        (Detail::Full, ids) => {
            let flips: BTreeMap<&str, Option<bool>> = ids
                .into_iter()
                .flatten()
                .map(|i| (i.name, i.flipped))
                .collect();
            Box::new((0..table.rows()).map(move |row| {
                let mut sample = full(table, row);
                sample.flipped = flips.get(sample.id.as_str()).copied().flatten();
                let under = attacked.and_then(|a| a.attacked.decision());
                sample.attacked_decision = under.map(|d| d[row]);
                sample
            }))
        }
    })
}

fn full(table: &Table, row: usize) -> SampleFacts {
    let owned = |value: Option<&str>| value.map(str::to_owned);
    let had = |need| (!table.lacks(need, row)).then_some(());
    SampleFacts {
        id: table.row_name(row),
        groups: table
            .attributes()
            .iter()
            .map(|a| (a.name().to_owned(), owned(a.value(row))))
            .collect(),
        variant: table.variant().and_then(|v| owned(v.value(row))),
        stratum: table.stratum().and_then(|s| owned(s.value(row))),
        decision: had(Need::Decision).and_then(|()| Some(table.decision()?[row])),
        score: had(Need::Score).and_then(|()| Some(table.score()?[row])),
        label: had(Need::Label).and_then(|()| Some(table.label()?[row])),
        target: had(Need::Target).and_then(|()| Some(table.target()?[row])),
        weight: table.weights().map(|w| w[row]),
        outcome: table.outcome().map(|o| {
            match o[row] {
                Outcome::Wrong => "wrong",
                Outcome::Broken => "broken",
                Outcome::Robust => "robust",
            }
            .to_owned()
        }),
        ..SampleFacts::default()
    }
}
