//! Counts of every group in every stratum: what conditional metrics are made of.

use crate::{Cell, Groups, UNKNOWN};

/// The cells, stratum by stratum and group by group. Rows of unknown stratum are left out.
pub(super) fn cells(groups: &Groups<'_>) -> Vec<Vec<Cell>> {
    let table = groups.table();
    let Some(stratum) = table.stratum() else {
        return Vec::new();
    };
    let mut cells = vec![vec![Cell::default(); groups.groups().len()]; stratum.levels().len()];
    let (decision, label) = (table.decision(), table.label());
    for (row, (group, at)) in groups.of().iter().zip(stratum.codes()).enumerate() {
        if *group != UNKNOWN && *at != UNKNOWN {
            cells[*at as usize][*group as usize].count(
                decision.is_some_and(|d| d[row]),
                label.is_some_and(|l| l[row]),
                table.weight(row),
            );
        }
    }
    cells
}
