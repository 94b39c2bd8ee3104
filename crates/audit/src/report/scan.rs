//! Subgroups found by a scan, as a report shows them.

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Kind};
use super::{AuditReport, GroupFacts};
use crate::metric::Need;
use crate::{Coded, Scan, ScanSettings, Subgroup, Table, Target};

/// One scan: exploratory, whatever it finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanFacts {
    /// What was counted: `selection_rate`, `tpr`, `fpr`, `error_rate` or `attack_success_rate`.
    pub target: String,
    /// Columns scanned.
    pub columns: Vec<String>,
    /// Columns that a subgroup is made of at most.
    pub depth: u64,
    /// Least persons in a subgroup and outside it.
    pub min_n: u64,
    /// Permutations.
    pub draws: u64,
    /// Their seed.
    pub seed: u64,
    /// Subgroups looked at; 0 if suppressed.
    pub looked_at: u64,
    /// Found, and suppressed: all or none.
    pub suppressed: u64,
    /// Those furthest from everybody else, furthest first.
    pub found: Vec<SubgroupFacts>,
}

/// One subgroup against everybody else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupFacts {
    /// What its members have in common, as `COLUMN=VALUE`.
    pub conditions: Vec<String>,
    /// Its members.
    pub n: u64,
    /// Its rate.
    pub rate: f64,
    /// Everybody else.
    pub others: u64,
    /// Their rate.
    pub others_rate: f64,
    /// The log likelihood ratio.
    pub score: f64,
    /// The chance of a score as large in any subgroup, were the outcome unrelated to every column.
    pub p_value: f64,
}

impl AuditReport {
    /// Adds what a scan of the table found. What the report suppresses stays so.
    pub fn add_scan(&mut self, table: &Table, scan: &Scan, settings: &ScanSettings) {
        let shown = self.may_tell(table, scan.target, settings.depth);
        let attributes = table.attributes().iter().map(Coded::name);
        let found = scan.found.iter().filter(|_| shown);
        self.scan.push(ScanFacts {
            target: scan.target.id().to_owned(),
            columns: attributes.map(str::to_owned).collect(),
            depth: settings.depth as u64,
            min_n: settings.min_n,
            draws: settings.draws.into(),
            seed: settings.seed,
            looked_at: if shown { scan.looked_at as u64 } else { 0 },
            suppressed: if shown { 0 } else { scan.found.len() as u64 },
            found: found.map(facts).collect(),
        });
    }

    /// A scan is told if the report tells all that it counts, and no combination of its columns has too few: sums and
    /// differences of subgroups would give them away, and its p-values rest on all of them.
    fn may_tell(&self, table: &Table, target: Target, depth: usize) -> bool {
        let k = self.settings.suppress;
        if k < 2 {
            return true;
        }
        let complete = table.complete(&Need::OF_ROWS);
        let table = complete.as_ref().map_or(table, |c| &c.0);
        let kind = match target {
            Target::Selected => Kind::Decision,
            _ => Kind::Joint,
        };
        let (decided, labelled) = (table.decision().is_some(), table.label().is_some());
        let is_shown = |g: &GroupFacts| {
            g.n.is_some()
                && (!decided || g.favourable.is_some())
                && (kind == Kind::Decision || !(decided && labelled) || g.tp.is_some())
        };
        self.groups.iter().all(is_shown)
            && !Counts::new(k, table, None)
                .few_together(depth)
                .any(|few| few == kind)
    }
}

fn facts(subgroup: &Subgroup) -> SubgroupFacts {
    let rate = |(x, n): (u64, u64)| x as f64 / n as f64;
    let conditions = subgroup.conditions.iter();
    SubgroupFacts {
        conditions: conditions.map(|(c, v)| format!("{c}={v}")).collect(),
        n: subgroup.inside.1,
        rate: rate(subgroup.inside),
        others: subgroup.outside.1,
        others_rate: rate(subgroup.outside),
        score: subgroup.score,
        p_value: subgroup.p_value,
    }
}
