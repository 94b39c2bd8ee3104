//! Consistency: whether persons who are alike are decided alike.
//!
//! # Idea
//! Individual fairness without groups: a decision should be that of one's nearest neighbours.
//!
//! # Maths
//! `1 - mean_i |Ŷ_i - mean of Ŷ over the k nearest neighbours of i|`, Euclidean distance over the features, each divided
//! by its standard deviation unless told otherwise, the person itself not among its neighbours. Persons as near as the
//! `k`-th share the places that are left: the figure does not depend on the order of the rows.
//!
//! # Reference
//! Zemel et al., "Learning Fair Representations", ICML 2013, section 5.
//!
//! # Divergences
//! AIF360 counts the person itself as a neighbour (its figure is nearer 1), breaks ties by the order of its tree, and
//! does not scale features, so that the one with the largest numbers decides.
//!
//! # Cost
//! Rows times rows. Where that is more than `distances` of the settings, persons are drawn by a keyed stream and
//! neighbours still sought among all.
//!
//! # When it fails
//! It trusts the features: if they carry the group, neighbours are of one's own group and bias goes unseen. A constant
//! decision is perfectly consistent.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, true, false, false, false])
//!     .feature("x", [1.0, 1.1, 1.2, 9.0, 9.1, 9.2])
//!     .build()?;
//! let settings = Settings { neighbours: 2, min_n: 1, ..Settings::default() };
//! let figures = metric::find("consistency")?.table_figures(&table, &settings);
//! assert_eq!(figures[0].value(), Some(1.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey};

use super::{Entry, Ideal, Need, Run};
use crate::figure::{Basis, Comparison, Figure, Reason};
use crate::{Settings, Table};

/// Consistency in the list of metrics.
pub(crate) static ENTRIES: &[Entry] = &[Entry {
    id: "consistency",
    aliases: &[],
    needs: &[Need::Decision, Need::Features],
    definition: "1 less the mean distance of a decision from the mean decision of its nearest neighbours",
    sign: "at most 1; 1 where every decision is that of all its neighbours",
    source: "Zemel et al. 2013",
    ideal: Ideal::One,
    run: Run::Table(consistency),
}];

fn consistency(entry: &'static Entry, table: &Table, settings: &Settings) -> Vec<Figure> {
    let k = settings.neighbours.max(1);
    let rows: Vec<usize> = (0..table.rows())
        .filter(|r| table.weight(*r) > 0.0)
        .collect();
    let asked = asked(&rows, settings);
    let value = match table.decision() {
        Some(_) if rows.len() <= k => {
            Err(Reason::Undefined("no more rows than neighbours asked for"))
        }
        Some(decision) => {
            let points = points(table, &rows, settings.standardise);
            Ok(measure(table, decision, &rows, &points, &asked, k))
        }
        None => Err(Reason::NothingToCompareWith),
    };
    vec![Figure {
        metric: entry.id,
        attribute: String::new(),
        comparison: Comparison::Whole,
        groups: Vec::new(),
        value,
        n: vec![asked.len() as u64],
        basis: Basis::resample(),
        left_out: Vec::new(),
        persons_left_out: (rows.len() - asked.len()) as u64,
        persons: rows.len() as u64,
    }]
}

/// Whose neighbours are sought, as places among the rows: all, or as many as the settings can pay for.
fn asked(rows: &[usize], settings: &Settings) -> Vec<usize> {
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

/// Row by row; a feature that never varies is left out.
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
    asked: &[usize],
    k: usize,
) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    let mut distances: Vec<(f64, usize)> = Vec::with_capacity(rows.len());
    for i in asked {
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
        sum += weight * (f64::from(decision[rows[*i]]) - mean).abs();
        weights += weight;
    }
    1.0 - sum / weights
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

    /// By hand, one neighbour: of 0 it is 1; of 1 it is 0 or 2, half each; of 2 it is 1 or 3, half each; of 3 it is 2;
    /// of 10 it is 3. Distances 0, 1/2, 1/2, 0, 1.
    #[test]
    fn ties_are_shared_and_the_order_of_rows_is_nothing() {
        let settings = Settings {
            neighbours: 1,
            ..Settings::default()
        };
        for order in [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]] {
            assert!((value(order, &settings) - 0.6).abs() < 1e-15);
        }
    }

    #[test]
    fn a_draw_is_told_and_repeats() {
        let rows: Vec<usize> = (0..1000).collect();
        let settings = Settings {
            distances: 50_000,
            ..Settings::default()
        };
        let drawn = asked(&rows, &settings);
        assert_eq!((drawn.len(), &drawn), (50, &asked(&rows, &settings)));
        assert!(drawn.windows(2).all(|w| w[0] < w[1]));
    }
}
