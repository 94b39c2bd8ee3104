//! What a paired table holds.

use serde::{Deserialize, Serialize};

use crate::{AuditError, Table, UNKNOWN};

/// A paired table: rows are variants of ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairFacts {
    /// The column of variants.
    pub variant: String,
    /// The variants there are.
    pub variants: Vec<String>,
    /// Ids that have at least two of them: what the figures are about.
    pub ids: u64,
    /// Ids that have one variant only, and are left out; none if suppressed.
    pub alone: Option<u64>,
    /// Ids whose decisions differ between variants; none without decisions, or if suppressed.
    pub flipped: Option<u64>,
}

/// One id of a paired table.
pub(super) struct Id<'a> {
    pub(super) name: &'a str,
    pub(super) variants: u32,
    /// Whether its decisions differ.
    pub(super) flipped: Option<bool>,
}

/// Every id, in order; rows that weigh nothing are passed over. None if the table is not paired.
pub(super) fn ids(table: &Table) -> Option<Vec<Id<'_>>> {
    let (id, variant) = (table.id()?, table.variant()?);
    let mut seen: Vec<(u32, Option<bool>, bool)> = vec![(0, None, false); id.levels().len()];
    for (row, code) in id.codes().iter().enumerate() {
        let counts = variant.codes()[row] != UNKNOWN && table.weight(row) > 0.0;
        if *code == UNKNOWN || !counts {
            continue;
        }
        let (variants, first, flipped) = &mut seen[*code as usize];
        *variants += 1;
        let decision = table.decision().map(|d| d[row]);
        *flipped |= *variants > 1 && *first != decision;
        *first = first.or(decision);
    }
    let all = id.levels().iter().zip(seen).filter(|(_, s)| s.0 > 0);
    let one = all.map(|(name, (variants, first, flipped))| Id {
        name: name.as_str(),
        variants,
        flipped: first.map(|_| flipped),
    });
    Some(one.collect())
}

impl PairFacts {
    /// Refused where no id has two variants. `few` says which counts are not shown.
    pub(super) fn new(
        table: &Table,
        few: impl Fn(u64) -> bool,
    ) -> Result<Option<Self>, AuditError> {
        let (Some(all), Some(variant)) = (ids(table), table.variant()) else {
            return Ok(None);
        };
        let paired = all.iter().filter(|i| i.variants > 1);
        let count = paired.clone().count() as u64;
        if count == 0 {
            let first = all.first().map_or("", |i| i.name);
            return Err(AuditError::Option {
                option: "variant",
                value: format!(
                    "each of the {} ids has one value of `{}` only, such as `{first}`",
                    all.len(),
                    variant.name()
                ),
                expected: "ids that stand once for every variant of a person".to_owned(),
            });
        }
        let flipped = paired.filter(|i| i.flipped == Some(true)).count() as u64;
        let alone = all.len() as u64 - count;
        let shown = !few(flipped) && !few(count - flipped) && table.decision().is_some();
        Ok(Some(Self {
            variant: variant.name().to_owned(),
            variants: variant.levels().to_vec(),
            ids: count,
            alone: Some(alone).filter(|n| *n == 0 || !few(*n)),
            flipped: shown.then_some(flipped),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::PairFacts;
    use crate::Columns;

    #[test]
    fn flips_and_ids_that_stand_alone_are_counted() {
        let table = Columns::new("t")
            .decision([true, false, true, true, true, true, false, true])
            .id(["a", "a", "b", "b", "c", "d", "d", "d"])
            .variant("sex", ["f", "m", "f", "m", "f", "f", "m", "x"])
            .build()
            .expect("fits");
        let facts =
            |few: fn(u64) -> bool| PairFacts::new(&table, few).expect("pairs").expect("paired");
        let all = facts(|_| false);
        assert_eq!((all.ids, all.alone, all.flipped), (3, Some(1), Some(2)));
        assert_eq!(all.variants, ["f", "m", "x"]);
        let shared = facts(|n| n < 3);
        assert_eq!((shared.alone, shared.flipped), (None, None));
    }

    #[test]
    fn ids_without_a_second_variant_are_no_pairs() {
        let table = Columns::new("t")
            .decision([true, false])
            .id(["a", "b"])
            .variant("sex", ["f", "m"])
            .build()
            .expect("fits");
        let told = PairFacts::new(&table, |_| false)
            .expect_err("no pairs")
            .to_string();
        assert_eq!(
            told,
            "variant: each of the 2 ids has one value of `sex` only, such as `a`; expected ids that stand once for every \
             variant of a person"
        );
    }
}
