//! Subgroups that nobody named, as a report shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::AuditReport;
use crate::{Coded, Scan, ScanSettings, Subgroup, Table};

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
    /// Random deals.
    pub draws: u64,
    /// Their seed.
    pub seed: u64,
    /// Subgroups looked at.
    pub looked_at: u64,
    /// Found, and suppressed.
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
        let (shown, hidden): (Vec<&Subgroup>, Vec<&Subgroup>) = scan
            .found
            .iter()
            .partition(|s| self.may_show(table, scan, s));
        let attributes = table.attributes().iter().map(Coded::name);
        self.scan.push(ScanFacts {
            target: scan.target.id().to_owned(),
            columns: attributes.map(str::to_owned).collect(),
            depth: settings.depth as u64,
            min_n: settings.min_n,
            draws: settings.draws.into(),
            seed: settings.seed,
            looked_at: scan.looked_at as u64,
            suppressed: hidden.len() as u64,
            found: shown.into_iter().map(facts).collect(),
        });
    }

    /// A subgroup is shown if every cell of the table of its columns could be: else sums and differences of what is
    /// shown would give a small one away.
    fn may_show(&self, table: &Table, scan: &Scan, subgroup: &Subgroup) -> bool {
        let k = self.settings.suppress;
        if k < 2 {
            return true;
        }
        let secret = |(column, value): &(String, String)| {
            let of = self.attributes.iter().find(|a| a.attribute == *column);
            of.is_some_and(|a| a.unknown.is_none() || a.suppressed.contains(value))
        };
        if subgroup.conditions.iter().any(secret) {
            return false;
        }
        let Some(outcome) = scan.target.of(table) else {
            return false;
        };
        let columns: Vec<&Coded> = table
            .attributes()
            .iter()
            .filter(|a| subgroup.conditions.iter().any(|c| c.0 == a.name()))
            .collect();
        let mut cells: BTreeMap<Vec<u32>, [u64; 2]> = BTreeMap::new();
        for (row, counts) in outcome.iter().enumerate() {
            if let Some(counts) = counts {
                let key = columns.iter().map(|c| c.codes()[row]).collect();
                cells.entry(key).or_default()[usize::from(*counts)] += 1;
            }
        }
        cells.values().flatten().all(|n| *n >= k)
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
