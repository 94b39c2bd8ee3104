//! Consistency: whether similar individuals get the same decision.
//!
//! # Idea
//! Individual fairness without groups: a row's decision should be that of its nearest neighbours.
//!
//! # Maths
//! `1 - mean_i |Ŷ_i - mean of Ŷ over the k nearest neighbours of i|`. The distance is Euclidean over the features, each
//! divided by its standard deviation unless the settings say otherwise. A row is not its own neighbour. Rows as near as
//! the `k`-th neighbour share the remaining places, so the figure does not depend on the order of the rows.
//!
//! As decisions are 0 or 1, the figure is 1 minus the share `T` of pairs (a row and a neighbour) whose decisions
//! differ. Two pairs are dependent if they share a row. With `c_e` a pair's weight times (1 if its decisions differ,
//! else 0, minus `T`), the variance is the sum of `c_e c_f` over all pairs `e`, `f` that share a row, divided by the
//! square of the total weight. That sum is the sum over rows of the squared sum of their pairs' `c`, minus the sum of
//! `c^2`, which the former counts twice.
//!
//! # Reference
//! Zemel et al., "Learning Fair Representations", ICML 2013, section 5; for the variance Fafchamps and Gubert, Journal of
//! Development Economics 83 (2007), and Aronow, Samii and Assenova, Political Analysis 23 (2015).
//!
//! # Divergences
//! AIF360 counts the row itself as a neighbour (its figure is nearer 1), breaks ties by the order of its tree, and does
//! not scale features, so that the feature with the largest numbers dominates.
//!
//! # Cost
//! Rows times rows. If that exceeds `distances` of the settings, a keyed stream draws the rows to query; their
//! neighbours are still searched among all rows.
//!
//! # When it fails
//! It trusts the features: if they encode the group, neighbours belong to one's own group and bias goes unseen. A
//! constant decision is perfectly consistent. The interval treats the decisions of different rows as independent and
//! the features as fixed; if a few regions hold all disagreement, it is wider than necessary. Neighbours get nearer as
//! the table grows, so the interval applies to tables of this size.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, true, false, false, false])
//!     .feature("x", [1.0, 1.1, 1.2, 9.0, 9.1, 9.2])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.neighbours = 2;
//! settings.min_n = 1;
//! let figures = metric::find("consistency")?.table_figures(&table, &settings);
//! assert_eq!(figures[0].value(), Some(1.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use std::cmp::Ordering;
use std::sync::Arc;

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_stats::{Histogram, Sample};

use super::{Ideal, MetricEntry, Need, Run};
use crate::figure::{Basis, Comparison, Estimate, Family, Figure, Form, Mean, Part, Reason, UNIT};
use crate::{Settings, Table, Tally};

/// Consistency in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[MetricEntry {
    id: "consistency",
    aliases: &[],
    needs: &[Need::Decision, Need::Features],
    definition: "1 less the mean distance of a decision from the mean decision of its nearest neighbours",
    sign: "at most 1; 1 where every decision is that of all its neighbours",
    source: "Zemel et al. 2013",
    ideal: Ideal::One,
    run: Run::Table(consistency),
}];

fn consistency(entry: &'static MetricEntry, table: &Table, settings: &Settings) -> Vec<Figure> {
    let k = settings.neighbours.max(1);
    let rows: Vec<usize> = (0..table.rows())
        .filter(|r| table.weight(*r) > 0.0)
        .collect();
    let queried = queried(&rows, settings);
    let mean = match table.decision() {
        Some(_) if rows.len() <= k => {
            Err(Reason::Undefined("no more rows than neighbours asked for"))
        }
        Some(decision) => {
            let points = points(table, &rows, settings.standardise);
            Ok(measure(table, decision, &rows, &points, &queried, k))
        }
        None => Err(Reason::NothingToCompareWith),
    };
    let basis = |mean: &Mean| {
        let part = Part {
            group: None,
            name: "all".to_owned(),
            estimate: Estimate::Mean(mean.clone()),
        };
        let family = Family::among(entry.id, vec![part]);
        Basis::of(Form::Plain, family)
    };
    vec![Figure {
        metric: entry.id,
        attribute: String::new(),
        comparison: Comparison::Whole,
        groups: Vec::new(),
        basis: mean.as_ref().map_or_else(|_| Basis::nothing(), basis),
        value: mean.map(|m| m.value),
        n: vec![queried.len() as u64],
        left_out: Arc::default(),
        persons_left_out: (rows.len() - queried.len()) as u64,
        persons: rows.len() as u64,
    }]
}

/// Returns the rows whose neighbours are searched, as indices into `rows`: all of them, or as many as `distances` of
/// the settings allows.
fn queried(rows: &[usize], settings: &Settings) -> Vec<usize> {
    let most = (settings.distances / rows.len().max(1) as u64).max(1) as usize;
    let mut places: Vec<usize> = (0..rows.len()).collect();
    if rows.len() > most {
        let key = |row: usize| {
            Stream::new(&StreamKey::new(
                Seed(settings.seed),
                row as u64,
                Purpose::Subset,
            ))
            .next_u32()
        };
        places.sort_by_cached_key(|p| (key(rows[*p]), *p));
        places.truncate(most);
        places.sort_unstable();
    }
    places
}

/// Returns one point per row, without features that never vary.
fn points(table: &Table, rows: &[usize], standardise: bool) -> Vec<Vec<f64>> {
    let mut columns = Vec::new();
    for feature in table.features() {
        let n = rows.len() as f64;
        let mean = rows.iter().map(|r| feature.values[*r]).sum::<f64>() / n;
        let squares: f64 = rows
            .iter()
            .map(|r| (feature.values[*r] - mean).powi(2))
            .sum();
        let deviation = (squares / n).sqrt();
        if deviation > 0.0 {
            columns.push((&feature.values, if standardise { deviation } else { 1.0 }));
        }
    }
    let point = |r: &usize| columns.iter().map(|(v, d)| v[*r] / d).collect();
    rows.iter().map(point).collect()
}

fn measure(
    table: &Table,
    decision: &[bool],
    rows: &[usize],
    points: &[Vec<f64>],
    queried: &[usize],
    k: usize,
) -> Mean {
    let (mut agreements, mut sum) = (Vec::with_capacity(queried.len()), 0.0);
    let mut denominator = Tally::default();
    let mut pairs = Pairs::new(rows.len());
    let mut distances: Vec<(f64, usize)> = Vec::with_capacity(rows.len());
    for i in queried {
        distances.clear();
        for (j, point) in points.iter().enumerate() {
            if j != *i {
                let squares = points[*i].iter().zip(point).map(|(a, b)| (a - b) * (a - b));
                distances.push((squares.sum(), j));
            }
        }
        distances.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0));
        let farthest = distances[k - 1].0;
        let (mut nearer, mut near_yes, mut tied, mut tied_yes) = (0.0, 0.0, 0.0, 0.0);
        for (distance, j) in &distances {
            let yes = f64::from(decision[rows[*j]]);
            if *distance < farthest {
                nearer += 1.0;
                near_yes += yes;
            } else if *distance == farthest {
                tied += 1.0;
                tied_yes += yes;
            }
        }
        let mean = (near_yes + (k as f64 - nearer) * tied_yes / tied) / k as f64;
        let weight = table.weight(rows[*i]);
        let apart = (f64::from(decision[rows[*i]]) - mean).abs();
        sum += weight * apart;
        agreements.push((1.0 - apart, weight));
        denominator.count(weight);
        let own = decision[rows[*i]];
        for (distance, j) in &distances {
            let part = match distance.total_cmp(&farthest) {
                Ordering::Less => 1.0 / k as f64,
                Ordering::Equal => (k as f64 - nearer) / (tied * k as f64),
                Ordering::Greater => continue,
            };
            pairs.count(*i, *j, weight * part, own != decision[rows[*j]]);
        }
    }
    let variance = pairs.variance(sum, denominator.weight);
    // The number of independent rows whose mean would have the same variance, at most Kish's size.
    let kish = denominator.effective();
    let apart = |values: &Histogram| match variance {
        Some(v) if v > 0.0 => kish.min(values.variance() / v),
        _ => kish,
    };
    let sample = Histogram::new(UNIT, agreements, kish).map(|values| Sample {
        factor: 1.0,
        values: values.scaled(apart(&values) / kish),
    });
    Mean {
        value: 1.0 - sum / denominator.weight,
        variance,
        denominator,
        range: UNIT,
        samples: sample.into_iter().collect(),
    }
}

/// Pairs of neighbours, summed over the rows they contain.
struct Pairs {
    /// Per row, the weight of its pairs and the weight of those that disagree.
    persons: Vec<[f64; 2]>,
    /// Sums of the squared weights of all pairs, and of those that disagree.
    squares: [f64; 2],
}

impl Pairs {
    fn new(persons: usize) -> Self {
        Self {
            persons: vec![[0.0; 2]; persons],
            squares: [0.0; 2],
        }
    }

    fn count(&mut self, i: usize, j: usize, weight: f64, disagree: bool) {
        let disagreeing = if disagree { weight } else { 0.0 };
        for person in [i, j] {
            self.persons[person][0] += weight;
            self.persons[person][1] += disagreeing;
        }
        self.squares[0] += weight * weight;
        self.squares[1] += disagreeing * disagreeing;
    }

    /// Returns the variance of the mean disagreement `sum / weight`; `None` for a single row.
    fn variance(&self, sum: f64, weight: f64) -> Option<f64> {
        let mean = sum / weight;
        let of_persons: f64 = self
            .persons
            .iter()
            .map(|[all, disagreeing]| (disagreeing - mean * all).powi(2))
            .sum();
        let [all, disagreeing] = self.squares;
        let of_pairs = disagreeing * (1.0 - 2.0 * mean) + all * mean * mean;
        // The sum over rows counts each pair twice. The correction exceeds half of that sum only by chance, so it is
        // limited to half.
        let variance = (of_persons - of_pairs).max(of_persons / 2.0) / (weight * weight);
        (self.persons.len() > 1).then_some(variance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Columns, metric};

    fn value(order: [usize; 5], settings: &Settings) -> f64 {
        let (x, d) = ([0.0, 1.0, 2.0, 3.0, 10.0], [true, true, false, false, true]);
        let table = Columns::new("t")
            .decision(order.map(|i| d[i]))
            .feature("x", order.map(|i| x[i]))
            .build()
            .expect("fits");
        let entry = metric::find("consistency").expect("there");
        entry.table_figures(&table, settings)[0]
            .value()
            .expect("estimable")
    }

    /// By hand, one neighbour: that of 0 is 1; that of 1 is 0 or 2, half each; that of 2 is 1 or 3, half each; that of
    /// 3 is 2; that of 10 is 3. Distances of the decisions: 0, 1/2, 1/2, 0, 1.
    #[test]
    fn ties_are_shared_and_row_order_has_no_effect() {
        let settings = Settings {
            neighbours: 1,
            ..Settings::default()
        };
        for order in [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]] {
            assert!((value(order, &settings) - 0.6).abs() < 1e-15);
        }
    }

    #[test]
    fn a_draw_is_sorted_and_repeatable() {
        let rows: Vec<usize> = (0..1000).collect();
        let settings = Settings {
            distances: 50_000,
            ..Settings::default()
        };
        let drawn = queried(&rows, &settings);
        assert_eq!((drawn.len(), &drawn), (50, &queried(&rows, &settings)));
        assert!(drawn.windows(2).all(|w| w[0] < w[1]));
    }
}
