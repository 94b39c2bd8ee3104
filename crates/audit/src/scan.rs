//! A scan for subgroups that were not named as groups.
//!
//! # Idea
//! Bias may sit where two or three columns meet. The scan examines every combination of values of up to `depth` columns
//! and reports the subgroups whose rate is furthest from that of everyone else, each with the probability of finding
//! one as extreme *anywhere* if the outcome were unrelated to all columns.
//!
//! # Maths
//! A subgroup with `x` of `n` against `y` of `m` others scores the log likelihood ratio of two rates against one,
//! `l(x, n) + l(y, m) - l(x + y, n + m)` with `l(x, n) = x ln(x / n) + (n - x) ln(1 - x / n)`. The scan then permutes
//! the outcomes over the rows `draws` times and records the largest score of each permutation: if `k` of `draws` are at
//! least as large, `p = (k + 1) / (draws + 1)`. This holds for all subgroups together, whatever their overlap. Rows
//! that agree in every column form one cell, and the number of outcomes a cell receives is hypergeometric: a
//! permutation costs time per cell, not per row.
//!
//! # Reference
//! Kulldorff, Communications in Statistics 26 (1997); Zhang and Neill, arXiv:1611.08292; max-T: Westfall and Young,
//! *Resampling-Based Multiple Testing* (1993); Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010).
//!
//! # Divergences
//! Bias scan (MDSS) searches unions of values by ascent and may miss the best one. This scan enumerates single values
//! and misses none of them, but it does not treat a union such as *Asian or Black* as a subgroup.
//!
//! # Cost
//! Draws times the cells of all subgroups.
//!
//! # When it fails
//! It is exploratory: it tests for any relation at all, has no tolerance, and does not show a cause. People are
//! counted, not weighted; rows of weight 0 are no part of the table, here as elsewhere. Rows whose value is unknown in
//! a column belong to no subgroup of that column.

use std::collections::{BTreeMap, BTreeSet};

use proofmark_domain::Seed;
use proofmark_stats::hand_out;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use strum::VariantArray as _;

use crate::metric::Need;
use crate::{AuditError, Coded, Outcome, Table, UNKNOWN};

/// The rate that a scan compares: what is counted, among which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::VariantArray)]
pub enum Target {
    /// Favourable decisions among all.
    Selected,
    /// Favourable decisions among those labelled positive.
    TruePositive,
    /// Favourable decisions among those labelled negative.
    FalsePositive,
    /// Decisions that differ from the label, among all.
    Wrong,
    /// Samples broken by an attack, among those classified correctly without it.
    Broken,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns its name in a report.
    pub fn id(self) -> &'static str {
        match self {
            Self::Selected => "selection_rate",
            Self::TruePositive => "tpr",
            Self::FalsePositive => "fpr",
            Self::Wrong => "error_rate",
            Self::Broken => "attack_success_rate",
        }
    }

    /// Whether the table has the columns it needs.
    pub fn is_met(self, table: &Table) -> bool {
        match self {
            Self::Selected => table.decision().is_some(),
            Self::Broken => table.outcome().is_some(),
            _ => table.decision().is_some() && table.label().is_some(),
        }
    }

    /// Returns how many of `[decision, label]` it needs.
    fn columns(self) -> usize {
        match self {
            Self::Selected => 1,
            Self::Broken => 0,
            Self::TruePositive | Self::FalsePositive | Self::Wrong => 2,
        }
    }

    /// Returns per row whether it counts; `None` for a row outside the denominator, which rows of weight 0 are. `None`
    /// if the table lacks a column.
    pub(crate) fn of(self, table: &Table) -> Option<Vec<Option<bool>>> {
        let mut of = self.of_every_row(table)?;
        for (row, counts) in of.iter_mut().enumerate() {
            counts.take_if(|_| table.weight(row) <= 0.0);
        }
        Some(of)
    }

    fn of_every_row(self, table: &Table) -> Option<Vec<Option<bool>>> {
        if self == Self::Broken {
            let broken = |o: &Outcome| (*o != Outcome::Wrong).then_some(*o == Outcome::Broken);
            return Some(table.outcome()?.iter().map(broken).collect());
        }
        let decision = table.decision()?;
        if self == Self::Selected {
            return Some(decision.iter().map(|d| Some(*d)).collect());
        }
        let one = |(d, l): (&bool, &bool)| match self {
            Self::Selected | Self::Broken => Some(*d),
            Self::TruePositive => l.then_some(*d),
            Self::FalsePositive => (!l).then_some(*d),
            Self::Wrong => Some(d != l),
        };
        Some(decision.iter().zip(table.label()?).map(one).collect())
    }
}

/// Settings of a scan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ScanSettings {
    /// Maximum number of columns in a subgroup, 1 or more; default 2.
    pub depth: usize,
    /// Minimum number of people in a subgroup and outside it, 1 or more; default 30.
    pub min_n: u64,
    /// Number of permutations; default 999.
    pub draws: u32,
    /// Seed of the permutations; default 0.
    pub seed: u64,
    /// Maximum number of subgroups reported; default 10.
    pub most: usize,
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self {
            depth: 2,
            min_n: 30,
            draws: 999,
            seed: 0,
            most: 10,
        }
    }
}

/// One subgroup.
#[derive(Debug, Clone, PartialEq)]
pub struct Subgroup {
    /// Column and value, in the order of the columns.
    pub conditions: Vec<(String, String)>,
    /// Rows that count, and all rows, inside the subgroup.
    pub inside: (u64, u64),
    /// Rows that count, and all rows, outside the subgroup.
    pub outside: (u64, u64),
    /// The log likelihood ratio.
    pub score: f64,
    /// Probability of a score this large anywhere if the outcome were unrelated to every column.
    pub p_value: f64,
}

/// Result of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// The rate that was scanned.
    pub target: Target,
    /// Number of subgroups examined; subgroups with the same members count once.
    pub looked_at: usize,
    /// Subgroups with the highest scores, highest first; ties go to fewer conditions, then to the order of columns and
    /// values.
    pub found: Vec<Subgroup>,
}

/// Cells: rows that agree in every column.
struct Cells {
    sizes: Vec<u64>,
    counts: Vec<u64>,
    codes: Vec<Vec<u32>>,
}

/// A subgroup: its columns with their codes, and its cells.
struct Candidate {
    conditions: Vec<(usize, u32)>,
    cells: Vec<usize>,
    n: u64,
}

/// Scans the attributes of a table. Returns an error if the table lacks the decisions or labels, or if there are too
/// many subgroups. `watch` receives the number of finished permutations; returning `false` cancels the scan with
/// [`AuditError::Stopped`].
pub fn scan(
    table: &Table,
    target: Target,
    settings: &ScanSettings,
    watch: &dyn Fn(u32) -> bool,
) -> Result<Scan, AuditError> {
    let complete = table.complete(&[Need::Decision, Need::Label][..target.columns()]);
    let table = complete.as_ref().map_or(table, |c| &c.0);
    let outcome = target.of(table).ok_or_else(|| AuditError::Needs {
        metric: target.id(),
        needs:
            "decisions, and labels for anything but the selection rate (or outcomes under attack)"
                .to_owned(),
    })?;
    if settings.depth == 0 || settings.draws == 0 {
        return Err(AuditError::Option {
            option: "scan",
            value: "0 columns or 0 draws".to_owned(),
            expected: "at least 1".to_owned(),
        });
    }
    let columns = table.attributes();
    let cells = cells(columns, &outcome);
    let candidates = candidates(columns, &cells, settings)?;
    let (x, n) = (
        cells.counts.iter().sum::<u64>(),
        cells.sizes.iter().sum::<u64>(),
    );
    let seen: Vec<f64> = candidates
        .iter()
        .map(|c| score(c, &cells.counts, x, n))
        .collect();
    // Returns the largest score of one permutation.
    let permutation = |draw: u32| {
        if !watch(draw) {
            return Err(AuditError::Stopped);
        }
        let key = StreamKey {
            attack: attack_code(target.id()),
            draw,
            ..StreamKey::new(Seed(settings.seed), 0, Purpose::Permute)
        };
        let dealt = hand_out(x, &cells.sizes, &mut Stream::new(&key));
        let scores = candidates.iter().map(|c| score(c, &dealt, x, n));
        Ok(scores.fold(0.0, f64::max))
    };
    let mut largest: Vec<f64> = (0..settings.draws)
        .map(permutation)
        .collect::<Result<_, _>>()?;
    largest.sort_by(f64::total_cmp);
    let p = |score: f64| {
        // Sums in a different order differ in their last digits: that is a tie.
        let below = largest.partition_point(|l| *l < score - 1e-9);
        (largest.len() - below + 1) as f64 / (largest.len() + 1) as f64
    };
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    // The sort is stable, and candidates with fewer conditions come first.
    order.sort_by(|a, b| seen[*b].total_cmp(&seen[*a]));
    let found = order.iter().take(settings.most).map(|at| {
        let candidate = &candidates[*at];
        let inside = candidate.cells.iter().map(|c| cells.counts[*c]).sum();
        let name = |(column, code): &(usize, u32)| {
            let column = &columns[*column];
            (
                column.name().to_owned(),
                column.levels()[*code as usize].clone(),
            )
        };
        Subgroup {
            conditions: candidate.conditions.iter().map(name).collect(),
            inside: (inside, candidate.n),
            outside: (x - inside, n - candidate.n),
            score: seen[*at],
            p_value: p(seen[*at]),
        }
    });
    Ok(Scan {
        target,
        looked_at: candidates.len(),
        found: found.collect(),
    })
}

fn cells(columns: &[Coded], outcome: &[Option<bool>]) -> Cells {
    let mut all: BTreeMap<Vec<u32>, (u64, u64)> = BTreeMap::new();
    for (row, counts) in outcome.iter().enumerate() {
        if let Some(counts) = counts {
            let cell = all
                .entry(columns.iter().map(|c| c.codes()[row]).collect())
                .or_default();
            cell.0 += u64::from(*counts);
            cell.1 += 1;
        }
    }
    Cells {
        counts: all.values().map(|c| c.0).collect(),
        sizes: all.values().map(|c| c.1).collect(),
        codes: all.into_keys().collect(),
    }
}

/// Returns every subgroup that is large enough and leaves enough rows outside, ordered by the number of its conditions.
fn candidates(
    columns: &[Coded],
    cells: &Cells,
    settings: &ScanSettings,
) -> Result<Vec<Candidate>, AuditError> {
    /// Maximum number of subgroups; more would take hours.
    const MOST: usize = 100_000;
    let n: u64 = cells.sizes.iter().sum();
    let (mut all, mut members) = (Vec::new(), BTreeSet::new());
    for set in (1..=settings.depth.min(columns.len()))
        .flat_map(|size| crate::measure::subsets(columns.len(), size))
    {
        let mut groups: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
        for (at, codes) in cells.codes.iter().enumerate() {
            let key: Vec<u32> = set.iter().map(|c| codes[*c]).collect();
            if !key.contains(&UNKNOWN) {
                groups.entry(key).or_default().push(at);
            }
        }
        for (key, group) in groups {
            let size: u64 = group.iter().map(|c| cells.sizes[*c]).sum();
            let enough = size >= settings.min_n.max(1) && n - size >= settings.min_n.max(1);
            if enough && members.insert(group.clone()) {
                all.push(Candidate {
                    conditions: set.iter().copied().zip(key).collect(),
                    cells: group,
                    n: size,
                });
            }
        }
        if all.len() > MOST {
            return Err(AuditError::Option {
                option: "depth",
                value: format!(
                    "{} with these columns makes more than {MOST} subgroups",
                    settings.depth
                ),
                expected: "fewer columns, coarser bins, a smaller depth or a larger `min_n`"
                    .to_owned(),
            });
        }
    }
    Ok(all)
}

fn score(candidate: &Candidate, counts: &[u64], x: u64, n: u64) -> f64 {
    let inside: u64 = candidate.cells.iter().map(|c| counts[*c]).sum();
    likelihood(inside, candidate.n) + likelihood(x - inside, n - candidate.n) - likelihood(x, n)
}

/// Returns the maximum log likelihood of `x` of `n`.
fn likelihood(x: u64, n: u64) -> f64 {
    let part = |k: u64| {
        if k == 0 {
            0.0
        } else {
            k as f64 * (k as f64 / n as f64).ln()
        }
    };
    part(x) + part(n - x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Columns;

    /// Builds a table of three columns with 2, 3 and 4 values and fair coins as decisions; if `planted`, one cell of
    /// two columns is favoured.
    fn table(seed: u64, rows: usize, planted: bool) -> Table {
        let mut stream = Stream::new(&StreamKey::new(Seed(seed), 0, Purpose::Data));
        let mut decision = Vec::new();
        let mut codes: [Vec<String>; 3] = Default::default();
        for _ in 0..rows {
            let drawn = [2, 3, 4].map(|k| stream.below(k));
            let p = if planted && drawn[0] == 1 && drawn[2] == 2 {
                0.7
            } else {
                0.5
            };
            decision.push(stream.uniform_f64() < p);
            for (column, code) in codes.iter_mut().zip(drawn) {
                column.push(code.to_string());
            }
        }
        let mut columns = Columns::new("t").decision(decision);
        for (name, codes) in ["a", "b", "c"].into_iter().zip(&codes) {
            columns = columns.attribute(name, codes.iter().map(String::as_str));
        }
        columns.build().expect("a table")
    }

    #[test]
    fn the_planted_subgroup_is_found_first() {
        let found = scan(
            &table(1, 2000, true),
            Target::Selected,
            &ScanSettings::default(),
            &|_| true,
        )
        .expect("a scan");
        let first = &found.found[0];
        let want = [("a", "1"), ("c", "2")].map(|(c, v)| (c.to_owned(), v.to_owned()));
        assert_eq!(first.conditions, want);
        assert_eq!(first.p_value, 0.001);
        // 2 + 3 + 4 single values and 6 + 8 + 12 pairs; "a = 0" and "a = 1" count separately.
        assert_eq!(found.looked_at, 35);
        assert_eq!(first.inside.1 + first.outside.1, 2000);
        let rate = first.inside.0 as f64 / first.inside.1 as f64;
        assert!((0.6..0.8).contains(&rate), "{rate}");
    }

    /// Of 100 tables without any relation, at most 5 % should raise an alarm; the 99.9 % point of a binomial with n =
    /// 100 and p = 0.05 is 12.
    #[test]
    fn unrelated_tables_seldom_raise_an_alarm() {
        let settings = ScanSettings {
            draws: 99,
            ..ScanSettings::default()
        };
        let alarms = (0..100)
            .filter(|seed| {
                let found = scan(
                    &table(100 + seed, 400, false),
                    Target::Selected,
                    &settings,
                    &|_| true,
                )
                .expect("a scan");
                found.found[0].p_value <= 0.05
            })
            .count();
        assert!(alarms <= 12, "{alarms}");
    }

    /// Rows of weight 0 are no part of the table.
    #[test]
    fn rows_of_weight_0_do_not_count() {
        let (decisions, columns) = ([true, false, true, false], ["x", "x", "y", "y"]);
        let table = Columns::new("t")
            .decision(decisions)
            .weights([1.0, 0.0, 2.0, 1.0])
            .attribute("a", columns)
            .build()
            .expect("a table");
        let settings = ScanSettings {
            min_n: 1,
            ..ScanSettings::default()
        };
        let found = scan(&table, Target::Selected, &settings, &|_| true).expect("a scan");
        let x = found
            .found
            .iter()
            .find(|s| s.conditions[0].1 == "x")
            .expect("a subgroup");
        assert_eq!((x.inside, x.outside), ((1, 1), (1, 2)));
    }

    #[test]
    fn the_score_is_the_likelihood_ratio() {
        // 8 of 10 against 1 of 6: G = 2 x score.
        let candidate = Candidate {
            conditions: vec![],
            cells: vec![0],
            n: 10,
        };
        let got = score(&candidate, &[8, 1], 9, 16);
        let l = |x: f64, n: f64| x * (x / n).ln() + (n - x) * (1.0 - x / n).ln();
        assert!((got - (l(8.0, 10.0) + l(1.0, 6.0) - l(9.0, 16.0))).abs() < 1e-12);
        assert_eq!(likelihood(0, 5), 0.0);
    }

    #[test]
    fn error_rates_need_labels_and_a_seed_is_reproducible() {
        let t = table(2, 300, false);
        assert!(scan(&t, Target::Wrong, &ScanSettings::default(), &|_| true).is_err());
        let again =
            || scan(&t, Target::Selected, &ScanSettings::default(), &|_| true).expect("a scan");
        assert_eq!(again(), again());
        let stopped = scan(&t, Target::Selected, &ScanSettings::default(), &|done| {
            done < 5
        });
        assert!(matches!(stopped, Err(AuditError::Stopped)));
    }
}
