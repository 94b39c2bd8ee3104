//! Facts about a paired table.

use serde::{Deserialize, Serialize};

use crate::metric::Need;
use crate::{AuditError, Table, UNKNOWN};

/// A paired table: rows are variants of ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairFacts {
    /// Name of the variant column.
    pub variant: String,
    /// Values of the variant column.
    pub variants: Vec<String>,
    /// Ids with at least two variants, which the figures cover; `None` if suppressed.
    pub ids: Option<u64>,
    /// Ids with a single variant, which are left out; `None` if suppressed.
    pub alone: Option<u64>,
    /// Ids whose decisions differ between variants; `None` without decisions, or if suppressed.
    pub flipped: Option<u64>,
}

/// One id of a paired table.
pub(super) struct Id<'a> {
    pub(super) name: &'a str,
    pub(super) variants: u32,
    /// Whether the decisions differ between its variants.
    pub(super) flipped: Option<bool>,
}

/// Returns every id, in order; rows of weight 0 are skipped. `None` if the table is not paired.
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
        if table.lacks(Need::Decision, row) {
            continue;
        }
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
    /// Counts the pairs; `None` if the table is not paired. Refuses a table in which no id has two variants. If
    /// `hidden`, no count is given, because the rows less the pairs would give the ids with a single variant.
    pub(super) fn new(table: &Table, hidden: bool) -> Result<Option<Self>, AuditError> {
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
        let decided = table.decision().is_some();
        Ok(Some(Self {
            variant: variant.name().to_owned(),
            variants: variant.levels().to_vec(),
            ids: (!hidden).then_some(count),
            alone: (!hidden).then_some(alone),
            flipped: (!hidden && decided).then_some(flipped),
        }))
    }
}

/// Whether a paired table has a count below `k`: of ids with a single variant (if there are any), of ids with or
/// without a flip, or, for any two variants, of ids decided alike, only for the first or only for the second. The flip
/// rate is the sum of both directions and the gap their difference, so either could give a small count away.
pub(super) fn few(table: &Table, k: u64) -> bool {
    let (Some(id), Some(variant)) = (table.id(), table.variant()) else {
        return false;
    };
    let many = variant.levels().len();
    let mut seen: Vec<Vec<Option<bool>>> = vec![vec![None; many]; id.levels().len()];
    for (row, code) in id.codes().iter().enumerate() {
        let v = variant.codes()[row];
        if *code != UNKNOWN && v != UNKNOWN && table.weight(row) > 0.0 {
            seen[*code as usize][v as usize] = Some(table.decision().is_some_and(|d| d[row]));
        }
    }
    let alone = seen.iter().filter(|id| id.iter().flatten().count() == 1);
    let alone = alone.count() as u64;
    if alone > 0 && alone < k {
        return true;
    }
    // Also count flips over all variants: the figures of every two variants and the overall headline together can
    // reveal an id at odds with all others.
    let flips = |id: &&Vec<Option<bool>>| {
        let mut of = id.iter().flatten();
        let first = of.next();
        of.any(|d| Some(d) != first)
    };
    let paired = seen.iter().filter(|id| id.iter().flatten().count() > 1);
    let flipped = paired.clone().filter(flips).count() as u64;
    let decided = table.decision().is_some();
    if decided && (flipped < k || (paired.count() as u64 - flipped) < k) {
        return true;
    }
    (0..many).any(|u| {
        (u + 1..many).any(|v| {
            let mut counts = [0_u64; 3];
            for id in &seen {
                match (id[u], id[v]) {
                    (Some(u), Some(v)) if u == v => counts[0] += 1,
                    (Some(u), Some(_)) => counts[1 + usize::from(u)] += 1,
                    _ => {}
                }
            }
            // Without decisions, all ids count as alike.
            let counts = if decided { &counts[..] } else { &counts[..1] };
            counts.iter().any(|n| *n < k)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{PairFacts, few};
    use crate::Columns;

    #[test]
    fn flips_and_ids_with_a_single_variant_are_counted() {
        let table = Columns::new("t")
            .decision([true, false, true, true, true, true, false, true])
            .id(["a", "a", "b", "b", "c", "d", "d", "d"])
            .variant("sex", ["f", "m", "f", "m", "f", "f", "m", "x"])
            .build()
            .expect("fits");
        let facts = |hidden| {
            PairFacts::new(&table, hidden)
                .expect("pairs")
                .expect("paired")
        };
        let all = facts(false);
        assert_eq!(
            (all.ids, all.alone, all.flipped),
            (Some(3), Some(1), Some(2))
        );
        assert_eq!(all.variants, ["f", "m", "x"]);
        let shared = facts(true);
        assert_eq!(
            (shared.ids, shared.alone, shared.flipped),
            (None, None, None)
        );
    }

    /// Sixteen flips and a gap of four hundredths mean ten flips one way and six the other.
    #[test]
    fn a_count_below_k_in_either_direction_is_few() {
        let (mut ids, mut decisions) = (Vec::new(), Vec::new());
        for id in 0..100 {
            ids.extend([id.to_string(), id.to_string()]);
            decisions.extend([!(10..50).contains(&id), !(16..50).contains(&id) && id >= 10]);
        }
        let table = Columns::new("t")
            .decision(decisions)
            .id(ids.iter().map(String::as_str))
            .variant("sex", ["f", "m"].into_iter().cycle().take(200))
            .build()
            .expect("fits");
        assert!(!few(&table, 6) && few(&table, 7));
    }

    #[test]
    fn a_table_without_pairs_is_refused() {
        let table = Columns::new("t")
            .decision([true, false])
            .id(["a", "b"])
            .variant("sex", ["f", "m"])
            .build()
            .expect("fits");
        let told = PairFacts::new(&table, false)
            .expect_err("no pairs")
            .to_string();
        assert_eq!(
            told,
            "variant: each of the 2 ids has one value of `sex` only, such as `a`; expected ids that stand once for every \
             variant of a person"
        );
    }
}
