//! Subgroups found by a scan, as reported.

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Kind};
use super::{AuditReport, GroupFacts};
use crate::metric::Need;
use crate::{Coded, Scan, ScanSettings, Subgroup, Table, Target};

/// One scan; its results are exploratory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanFacts {
    /// The rate scanned: `selection_rate`, `tpr`, `fpr`, `error_rate` or `attack_success_rate`.
    pub target: String,
    /// Columns scanned.
    pub columns: Vec<String>,
    /// Maximum number of columns in a subgroup.
    pub depth: u64,
    /// Minimum number of people in a subgroup and outside it.
    pub min_n: u64,
    /// Number of permutations.
    pub draws: u64,
    /// Seed of the permutations.
    pub seed: u64,
    /// Number of subgroups examined; 0 if suppressed.
    pub looked_at: u64,
    /// Number of subgroups found but suppressed: all of them or none.
    pub suppressed: u64,
    /// Subgroups furthest from all others, furthest first.
    pub found: Vec<SubgroupFacts>,
}

/// One subgroup against everyone else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupFacts {
    /// Conditions its members share, as `COLUMN=VALUE`.
    pub conditions: Vec<String>,
    /// Number of members.
    pub n: u64,
    /// Rate of the subgroup.
    pub rate: f64,
    /// Number of people outside the subgroup.
    pub others: u64,
    /// Rate outside the subgroup.
    pub others_rate: f64,
    /// The log likelihood ratio.
    pub score: f64,
    /// Probability of a score this large in any subgroup if the outcome were unrelated to every column.
    pub p_value: f64,
}

impl AuditReport {
    /// Adds the results of a scan of the table. Counts that the report suppresses stay suppressed.
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

    /// Whether the report may show a scan. It must show everything the scan counts, and no combination of the scanned
    /// columns may have a count below `suppress`: sums and differences of subgroups would give it away, and the
    /// p-values rest on all subgroups.
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
