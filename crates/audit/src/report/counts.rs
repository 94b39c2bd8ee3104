//! Decides which kinds of counts are too small to show for a set of rows; used by suppression, paired columns and
//! scans.

use std::collections::{BTreeMap, BTreeSet};

use strum::VariantArray as _;

use crate::measure::subsets;
use crate::metric::{self, Need};
use crate::{Coded, Outcome, Table};

/// Up to this many distinct scores are grades, each with a count of its own; with more, a mean reveals no single count.
const GRADES: usize = 20;

/// Kind of information that counts and figures carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::VariantArray)]
pub(super) enum Kind {
    /// Number of people.
    Size,
    /// Decisions.
    Decision,
    /// Labels.
    Label,
    /// Scores.
    Score,
    /// Decisions within strata.
    Stratum,
    /// Two kinds together, errors of a regression, and everything an attack changes.
    Joint,
}

impl Kind {
    pub(super) const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the kind of information a metric carries.
    pub(super) fn of(metric: &str) -> Self {
        let Ok(entry) = metric::find(metric) else {
            return Self::Joint;
        };
        let needs = |need| entry.needs.contains(&need);
        if needs(Need::Stratum) {
            return Self::Stratum;
        }
        let score = needs(Need::Score) || needs(Need::Probability);
        let other = needs(Need::Target) || needs(Need::Outcome);
        match (needs(Need::Decision), needs(Need::Label), score, other) {
            (true, false, false, false) => Self::Decision,
            (false, true, false, false) => Self::Label,
            (false, false, true, false) => Self::Score,
            _ => Self::Joint,
        }
    }
}

/// Counts over the rows of a table.
pub(super) struct Counts<'a> {
    k: u64,
    table: &'a Table,
    attacked: Option<&'a Table>,
    scores: Option<Vec<usize>>,
    targets: Option<Vec<usize>>,
}

impl<'a> Counts<'a> {
    pub(super) fn new(k: u64, table: &'a Table, attacked: Option<&'a Table>) -> Self {
        Self {
            k,
            table,
            attacked,
            scores: table.score().and_then(grades),
            targets: table.target().and_then(grades),
        }
    }

    /// Whether scores are grades.
    pub(super) fn graded(&self) -> bool {
        self.scores.is_some()
    }

    /// Returns the kinds for which these rows have a count below `k`, a count of 0 included. A kind is also included if
    /// a kind it is computed from is.
    pub(super) fn few(&self, rows: &[u32]) -> BTreeSet<Kind> {
        let rows: Vec<usize> = rows.iter().map(|r| *r as usize).collect();
        let rows: Vec<usize> = rows
            .into_iter()
            .filter(|r| self.table.weight(*r) > 0.0)
            .collect();
        let some = |places: usize, place: &dyn Fn(usize) -> usize| {
            let mut counts = vec![0_u64; places];
            for row in &rows {
                counts[place(*row)] += 1;
            }
            counts.iter().any(|n| *n < self.k)
        };
        let table = self.table;
        let (decision, label) = (table.decision(), table.label());
        let mut few = BTreeSet::new();
        if (rows.len() as u64) < self.k {
            return Kind::ALL.into();
        }
        if decision.is_some_and(|d| some(2, &|r| usize::from(d[r]))) {
            few.extend([Kind::Decision, Kind::Score, Kind::Stratum, Kind::Joint]);
        }
        if label.is_some_and(|l| some(2, &|r| usize::from(l[r]))) {
            few.extend([Kind::Label, Kind::Joint]);
        }
        if let Some(scores) = &self.scores {
            let many = places(scores);
            if some(many, &|r| scores[r]) {
                few.extend([Kind::Score, Kind::Joint]);
            }
            if label.is_some_and(|l| some(2 * many, &|r| 2 * scores[r] + usize::from(l[r]))) {
                few.insert(Kind::Joint);
            }
            if let Some(targets) = &self.targets {
                let each = places(targets);
                if some(many * each, &|r| scores[r] * each + targets[r]) {
                    few.insert(Kind::Joint);
                }
            }
        }
        for decision in [Some(table), self.attacked].into_iter().flatten() {
            let decision = decision.decision();
            let (Some(d), Some(l)) = (decision, label) else {
                // Under attack without labels, only the decisions are counted.
                if decision.is_some_and(|d| some(2, &|r| usize::from(d[r]))) {
                    few.insert(Kind::Joint);
                }
                continue;
            };
            if some(4, &|r| 2 * usize::from(d[r]) + usize::from(l[r])) {
                few.insert(Kind::Joint);
            }
        }
        let place = |o: &Outcome| match o {
            Outcome::Wrong => 0,
            Outcome::Broken => 1,
            Outcome::Robust => 2,
        };
        if table.outcome().is_some_and(|o| some(3, &|r| place(&o[r]))) {
            few.insert(Kind::Joint);
        }
        if let (Some(decision), Some(stratum)) = (decision, table.stratum()) {
            let mut cells: BTreeMap<u32, [u64; 2]> = BTreeMap::new();
            for row in &rows {
                let cell = cells.entry(stratum.codes()[*row]).or_default();
                cell[usize::from(decision[*row])] += 1;
            }
            if cells.values().flatten().any(|n| *n < self.k) {
                few.insert(Kind::Stratum);
            }
        }
        few
    }

    /// Returns the kinds for which some combination of values of up to `depth` attributes has a count below `k`.
    pub(super) fn few_together(&self, depth: usize) -> impl Iterator<Item = Kind> + '_ {
        let all = self.table.attributes();
        let sets = (1..=depth.min(all.len())).flat_map(move |size| subsets(all.len(), size));
        sets.flat_map(move |set| self.few_in(&set.iter().map(|a| &all[*a]).collect::<Vec<_>>()))
    }

    /// Returns the kinds for which some combination of these columns' values, including unknown, has a count below `k`.
    fn few_in(&self, columns: &[&Coded]) -> BTreeSet<Kind> {
        let mut cells: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
        for row in 0..self.table.rows() {
            if self.table.weight(row) > 0.0 {
                let key = columns.iter().map(|c| c.codes()[row]).collect();
                cells.entry(key).or_default().push(row as u32);
            }
        }
        cells.values().flat_map(|rows| self.few(rows)).collect()
    }
}

/// Returns the index of each value among the distinct values. `None` if there are too many to be grades.
fn grades(values: &[f64]) -> Option<Vec<usize>> {
    let mut seen: Vec<f64> = Vec::new();
    for value in values {
        if let Err(at) = seen.binary_search_by(|s| s.total_cmp(value)) {
            if seen.len() == GRADES {
                return None;
            }
            seen.insert(at, *value);
        }
    }
    let place = |v: &f64| seen.partition_point(|s| s.total_cmp(v).is_lt());
    Some(values.iter().map(place).collect())
}

fn places(of: &[usize]) -> usize {
    of.iter().max().map_or(0, |m| m + 1)
}
