//! Draws tables from populations.

use proofmark_audit::{Columns, Table};
use proofmark_stats::random::Stream;

/// Probabilities of (decision, label): true positives, false positives, false negatives, true negatives.
pub(crate) type Cells = [f64; 4];

/// Draws groups of the given sizes with these cell probabilities, and weights from `weight`.
pub(crate) fn people(
    stream: &mut Stream,
    groups: &[(usize, Cells)],
    weight: fn(&mut Stream) -> f64,
) -> Table {
    let mut rows = Vec::new();
    for (group, (n, cells)) in groups.iter().enumerate() {
        for _ in 0..*n {
            let mut at = stream.uniform_f64();
            let mut cell = 0;
            while cell < 3 && at >= cells[cell] {
                at -= cells[cell];
                cell += 1;
            }
            rows.push((group, cell < 2, cell == 0 || cell == 2, weight(stream)));
        }
    }
    let names: Vec<String> = rows.iter().map(|r| format!("g{}", r.0)).collect();
    Columns::new("t")
        .decision(rows.iter().map(|r| r.1))
        .label(rows.iter().map(|r| r.2))
        .weights(rows.iter().map(|r| r.3))
        .attribute("a", names.iter().map(String::as_str))
        .build()
        .expect("fits")
}

pub(crate) fn one(_: &mut Stream) -> f64 {
    1.0
}

pub(crate) fn uneven(stream: &mut Stream) -> f64 {
    0.5 + 2.0 * stream.uniform_f64()
}

/// Draws two groups with this many positives and negatives; a negative outranks a positive one time in ten.
pub(crate) fn ranked(stream: &mut Stream, positives: usize, negatives: usize) -> Table {
    let mut rows = Vec::new();
    for group in ["a", "b"] {
        rows.extend((0..positives).map(|_| (group, true, stream.uniform_f64().powf(1.0 / 9.0))));
        rows.extend((0..negatives).map(|_| (group, false, stream.uniform_f64())));
    }
    Columns::new("t")
        .score(rows.iter().map(|r| r.2))
        .label(rows.iter().map(|r| r.1))
        .attribute("a", rows.iter().map(|r| r.0))
        .build()
        .expect("fits")
}

pub(crate) type Chance = fn(f64) -> f64;

/// Draws scores uniform in `[0, 1]`; each group has its own probability of a positive given the score.
pub(crate) fn scored(stream: &mut Stream, groups: &[(usize, Chance)]) -> Table {
    let mut rows = Vec::new();
    for (group, (n, chance)) in groups.iter().enumerate() {
        for _ in 0..*n {
            let score = stream.uniform_f64();
            rows.push((group, score, stream.uniform_f64() < chance(score)));
        }
    }
    let names: Vec<String> = rows.iter().map(|r| format!("g{}", r.0)).collect();
    Columns::new("t")
        .score(rows.iter().map(|r| r.1))
        .label(rows.iter().map(|r| r.2))
        .attribute("a", names.iter().map(String::as_str))
        .build()
        .expect("fits")
}

/// Draws features in two dimensions, and decisions that are favourable with probability `chance(x, y)`.
pub(crate) fn placed(stream: &mut Stream, n: usize, chance: fn(f64, f64) -> f64) -> Table {
    let rows: Vec<(f64, f64, bool)> = (0..n)
        .map(|_| {
            let (x, y) = (stream.uniform_f64(), stream.uniform_f64());
            (x, y, stream.uniform_f64() < chance(x, y))
        })
        .collect();
    Columns::new("t")
        .decision(rows.iter().map(|r| r.2))
        .feature("x", rows.iter().map(|r| r.0))
        .feature("y", rows.iter().map(|r| r.1))
        .build()
        .expect("fits")
}

/// Draws groups by stratum, given as `(people, selection rate)`.
pub(crate) fn stratified(stream: &mut Stream, strata: &[&[(usize, f64)]]) -> Table {
    let mut rows = Vec::new();
    for (stratum, groups) in strata.iter().enumerate() {
        // Group sizes within a stratum are random; only the expected sizes and the selection rates are given.
        let all: usize = groups.iter().map(|g| g.0).sum();
        for _ in 0..all {
            let mut at = stream.below(all as u32) as usize;
            let mut group = 0;
            while at >= groups[group].0 {
                at -= groups[group].0;
                group += 1;
            }
            rows.push((stratum, group, stream.uniform_f64() < groups[group].1));
        }
    }
    let strata: Vec<String> = rows.iter().map(|r| format!("s{}", r.0)).collect();
    let groups: Vec<String> = rows.iter().map(|r| format!("g{}", r.1)).collect();
    Columns::new("t")
        .decision(rows.iter().map(|r| r.2))
        .stratum("s", strata.iter().map(String::as_str))
        .attribute("a", groups.iter().map(String::as_str))
        .build()
        .expect("fits")
}
