//! No one who reads a shared report can recover a count that it hides: for tables of every kind there is another table
//! that gives exactly the same report but a different count.

use proofmark_audit::Outcome::{Broken, Robust, Wrong};
use proofmark_audit::robustness::Attacked;
use proofmark_audit::{
    Columns, ReportOptions, ScanSettings, Settings, Table, Target, render, report, report_attacked,
    scan,
};
use proptest::prelude::*;

/// A kind of table: its number of cells, and the report of a table with the given number of people per cell.
struct Kind {
    cells: usize,
    report: fn(&[u64]) -> Option<String>,
    /// Sets of cells whose sums are counts that a report could reveal, each preceded by the cells of its group.
    counts: fn() -> Vec<[Vec<usize>; 2]>,
}

const K: u64 = 4;

fn asked() -> ReportOptions {
    let mut asked = ReportOptions::default();
    asked.suppress = K;
    asked
}

/// Rates, comparisons and indices of every kind; all metrics would take minutes.
const OF_TABLES: &[&str] = &[
    "selection_rate",
    "base_rate",
    "tpr",
    "accuracy",
    "mean_score",
    "selection_rate_difference",
    "tpr_difference",
    "generalized_entropy_index",
];

fn settings(intersections: usize, metrics: &[&str]) -> Settings {
    let mut settings = Settings::default();
    settings.metrics = metrics.iter().map(|m| (*m).to_owned()).collect();
    settings.min_n = 1;
    settings.intersections = intersections;
    settings
}

/// Returns the cell of each person.
fn rows(cells: &[u64]) -> Vec<usize> {
    let each = cells.iter().enumerate();
    each.flat_map(|(cell, n)| vec![cell; *n as usize]).collect()
}

/// Name of an attribute, and its value for a group index.
type Attribute = (&'static str, fn(usize) -> &'static str);

/// Builds a table from cells. In the bits of a cell, the lowest is the label, the next the decision, and the rest the
/// group.
fn decided(cells: &[u64], attributes: &[Attribute]) -> Option<Table> {
    let rows = rows(cells);
    let bit = |at: usize| move |cell: &usize| cell >> at & 1 == 1;
    let mut columns = Columns::new("t")
        .decision(rows.iter().map(bit(1)))
        .score(rows.iter().map(|c| f64::from(u8::from(bit(1)(c)))))
        .label(rows.iter().map(bit(0)));
    for (name, value) in attributes {
        columns = columns.attribute(*name, rows.iter().map(|c| value(*c >> 2)));
    }
    columns.build().ok()
}

fn one(cells: &[u64]) -> Option<String> {
    let table = decided(cells, &[("g", |g| ["a", "b", "c"][g])])?;
    Some(render::json(
        &report(&table, &settings(1, OF_TABLES), &asked()).ok()?,
    ))
}

const TWO: [Attribute; 2] = [("g", |g| ["a", "b"][g & 1]), ("h", |g| ["x", "y"][g >> 1])];

fn two(cells: &[u64]) -> Option<String> {
    let table = decided(cells, &TWO)?;
    Some(render::json(
        &report(&table, &settings(1, OF_TABLES), &asked()).ok()?,
    ))
}

fn crossed(cells: &[u64]) -> Option<String> {
    let table = decided(cells, &TWO)?;
    Some(render::json(
        &report(&table, &settings(2, OF_TABLES), &asked()).ok()?,
    ))
}

fn scanned(cells: &[u64]) -> Option<String> {
    let table = decided(cells, &TWO)?;
    let mut told = report(&table, &settings(1, OF_TABLES), &asked()).ok()?;
    for target in Target::ALL.into_iter().filter(|t| t.is_met(&table)) {
        let mut settings = ScanSettings::default();
        settings.min_n = 1;
        settings.draws = 9;
        told.add_scan(
            &table,
            &scan(&table, target, &settings, &|_| true).ok()?,
            &settings,
        );
    }
    Some(render::json(&told))
}

/// Cells of ids: both decisions favourable, both unfavourable, favourable only for the first variant, only for the
/// second; the fifth cell adds two ids with a single variant each.
fn paired(cells: &[u64]) -> Option<String> {
    let (mut ids, mut variants, mut decisions) = (Vec::new(), Vec::new(), Vec::new());
    for (at, cell) in rows(cells).into_iter().enumerate() {
        let alone = cell == 4;
        for v in 0..2 {
            ids.push(format!("{at:04}{}", if alone { v } else { 2 }));
            variants.push(["f", "m"][v]);
            decisions.push([true, false, v == 0, v == 1, true][cell]);
        }
    }
    let table = Columns::new("t")
        .score(decisions.iter().map(|d| f64::from(u8::from(*d))))
        .decision(decisions)
        .id(ids.iter().map(String::as_str))
        .variant("sex", variants)
        .build()
        .ok()?;
    Some(render::json(
        &report(
            &table,
            &settings(
                1,
                &[
                    "counterfactual_flip_rate",
                    "counterfactual_gap",
                    "counterfactual_score_shift",
                ],
            ),
            &asked(),
        )
        .ok()?,
    ))
}

/// Cells per group and label: wrong, broken and robust samples.
fn attacked(cells: &[u64]) -> Option<String> {
    let rows = rows(cells);
    let outcome = |c: &usize| [Wrong, Broken, Robust][c % 3];
    let label = |c: &usize| c / 3 % 2 == 1;
    let table = |right: fn(usize) -> bool| {
        Columns::new("t")
            .decision(rows.iter().map(|c| label(c) == right(c % 3)))
            .label(rows.iter().map(label))
            .outcome(rows.iter().map(outcome))
            .attribute("g", rows.iter().map(|c| ["a", "b"][c / 6]))
            .build()
            .ok()
    };
    let attacked = Attacked {
        clean: table(|outcome| outcome > 0)?,
        attacked: table(|outcome| outcome > 1)?,
        unjudged: 0,
        filtered: 0,
        model: String::new(),
        model_sha256: String::new(),
        data_sha256: String::new(),
        runs: Vec::new(),
        favourable: Some(1),
        distrust: Vec::new(),
    };
    Some(render::json(
        &report_attacked(
            &attacked,
            &settings(
                1,
                &[
                    "selection_rate",
                    "base_rate",
                    "tpr",
                    "clean_accuracy",
                    "robust_accuracy",
                    "attack_success_rate",
                ],
            ),
            &asked(),
        )
        .ok()?,
    ))
}

/// Returns the counts of the cells for which `group` holds: all, by decision, by label, and by both.
fn of_group(cells: usize, group: impl Fn(usize) -> bool) -> Vec<[Vec<usize>; 2]> {
    let own: Vec<usize> = (0..cells).filter(|c| group(c >> 2)).collect();
    let with = |mask: usize, bits: usize| own.iter().copied().filter(move |c| c & mask == bits);
    let mut all = vec![own.clone()];
    for mask in [1, 2, 3] {
        let bits = (0..4).filter(|bits| bits & !mask == 0);
        all.extend(bits.map(|bits| with(mask, bits).collect()));
    }
    all.into_iter().map(|count| [own.clone(), count]).collect()
}

fn by_two() -> Vec<[Vec<usize>; 2]> {
    let halves = (0..2).flat_map(|at| (0..2).map(move |v| (at, v)));
    halves
        .flat_map(|(at, v)| of_group(16, |g| g >> at & 1 == v))
        .collect()
}

fn by_both() -> Vec<[Vec<usize>; 2]> {
    let quarters = (0..4).flat_map(|one| of_group(16, |g| g == one));
    by_two().into_iter().chain(quarters).collect()
}

const KINDS: [Kind; 6] = [
    Kind {
        cells: 12,
        report: one,
        counts: || (0..3).flat_map(|one| of_group(12, |g| g == one)).collect(),
    },
    Kind {
        cells: 16,
        report: two,
        counts: by_two,
    },
    Kind {
        cells: 16,
        report: crossed,
        counts: by_both,
    },
    Kind {
        cells: 16,
        report: scanned,
        counts: by_both,
    },
    Kind {
        cells: 5,
        report: paired,
        counts: || {
            let counts = [vec![2], vec![3], vec![2, 3], vec![4]];
            // It is no secret if there are no ids with a single variant.
            counts
                .map(|count| {
                    [
                        if count == [4] {
                            vec![4]
                        } else {
                            vec![0, 1, 2, 3]
                        },
                        count,
                    ]
                })
                .into()
        },
    },
    Kind {
        cells: 12,
        report: attacked,
        counts: || {
            let groups = (0..2).flat_map(|g| {
                let cells = move |f: fn(usize) -> bool| {
                    (6 * g..6 * g + 6).filter(|c| f(c % 6)).collect::<Vec<_>>()
                };
                [
                    cells(|_| true),
                    cells(|c| c < 3),
                    cells(|c| c >= 3),
                    cells(|c| c % 3 == 0),
                    cells(|c| c % 3 == 1),
                    cells(|c| c % 3 == 2),
                    cells(|c| c == 0),
                    cells(|c| c == 3),
                    cells(|c| c < 2),
                    cells(|c| (3..5).contains(&c)),
                ]
                .map(|count| [cells(|_| true), count])
            });
            groups.collect()
        },
    },
];

/// Whether another table gives the same report with a different sum of `count`, after one or two people (or, for 16
/// cells, one person per group) change cells.
fn another(kind: &Kind, cells: &[u64], told: &str, count: &[usize]) -> bool {
    let sum = |cells: &[u64]| count.iter().map(|c| cells[*c]).sum::<u64>();
    let moves = || (0..kind.cells).flat_map(|from| (0..kind.cells).map(move |to| (from, to)));
    let moved = |cells: &[u64], (from, to): (usize, usize)| {
        let mut other = cells.to_vec();
        other[from] = other[from].checked_sub(1)?;
        other[to] += 1;
        Some(other)
    };
    let same =
        |other: &[u64]| sum(other) != sum(cells) && (kind.report)(other).as_deref() == Some(told);
    let singles: Vec<Vec<u64>> = moves().filter_map(|m| moved(cells, m)).collect();
    if singles.iter().any(|other| same(other)) {
        return true;
    }
    // With two attributes: the same move in two groups and the opposite move in the other two keeps every total of
    // either attribute, and everything a scan shows about one of the two bits.
    let around = |(from, to): (usize, usize)| {
        let mut other = cells.to_vec();
        for (group, back) in [false, true, true, false].into_iter().enumerate() {
            let (from, to) = if back { (to, from) } else { (from, to) };
            other[4 * group + from] = other[4 * group + from].checked_sub(1)?;
            other[4 * group + to] += 1;
        }
        Some(other)
    };
    let within = (0..4).flat_map(|from| (0..4).map(move |to| (from, to)));
    if kind.cells == 16 && within.filter_map(around).any(|other| same(&other)) {
        return true;
    }
    // A second move that undoes the first elsewhere, or repeats it, keeps the margins.
    moves().any(|(from, to)| {
        let Some(other) = moved(cells, (from, to)) else {
            return false;
        };
        let elsewhere = (0..kind.cells).flat_map(|at| [(at + to, at + from), (at + from, at + to)]);
        elsewhere
            .filter(|m| m.0 < kind.cells && m.1 < kind.cells)
            .filter_map(|m| moved(&other, m))
            .any(|o| same(&o))
    })
}

fn check(kind: &Kind, cells: &[u64]) -> Result<(), TestCaseError> {
    let Some(told) = (kind.report)(cells) else {
        return Ok(());
    };
    let sum = |of: &[usize]| of.iter().map(|c| cells[*c]).sum::<u64>();
    for [group, count] in (kind.counts)() {
        let n = sum(&count);
        if n < K && sum(&group) > 0 {
            prop_assert!(
                another(kind, cells, &told, &count),
                "{cells:?} gives away that cells {count:?} hold {n}"
            );
        }
    }
    Ok(())
}

/// Checks `cases` random tables of a kind, with counts below `most`; some have large counts and one small cell.
fn tables(kind: usize, most: u64, cases: u32) {
    let cells = prop::collection::vec(0..most, KINDS[kind].cells);
    let small = (0..KINDS[kind].cells, 0..K, any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(cases)
        },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let law = runner.run(&(cells, small), |(mut cells, (at, n, large))| {
        if large {
            for cell in &mut cells {
                *cell += K;
            }
            cells[at] = n;
        }
        check(&KINDS[kind], &cells)
    });
    if let Err(e) = law {
        panic!("{e}");
    }
}

#[test]
fn one_attribute() {
    tables(0, 8, 2);
}

#[test]
fn two_attributes() {
    tables(1, 6, 2);
}

#[test]
fn intersections() {
    tables(2, 6, 2);
}

#[test]
fn scans() {
    tables(3, 6, 2);
}

#[test]
fn pairs() {
    tables(4, 9, 20);
}

#[test]
fn attacks() {
    tables(5, 8, 4);
}
