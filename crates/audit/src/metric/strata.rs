//! Counts per stratum and group, for the conditional metrics.

use crate::{Cell, Groups, UNKNOWN};

/// Returns the cells, indexed by stratum and then group. Rows of unknown stratum or unknown group are left out.
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
