//! Times an audit of a million rows and three attributes, from CSV text to verdict, step by step: reading the CSV,
//! measuring every metric that the columns allow, measuring four metrics, and judging with the report.
//!
//! ```text
//! cargo bench --workspace --bench audit
//! ```
//!
//! `tests/peers/fairlearn_speed.py` runs fairlearn on the same table.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use proofmark::audit::synthetic::Population;
use proofmark::audit::{Options, ReportOptions, Settings, Table, measure, report};

const ROWS: u64 = 1_000_000;

/// Returns the planted population with an added age column, as CSV text.
fn text() -> String {
    let population = Population::planted(5);
    let mut text = "group,region,age,label,decision,score\n".to_owned();
    for (row, p) in (0..ROWS).filter_map(|i| Some((i, population.person(i)?))) {
        let (label, decision) = (u8::from(p.label), u8::from(p.decision));
        let age = 18 + row % 60;
        let _ = writeln!(
            text,
            "{},{},{age},{label},{decision},{:.4}",
            p.group, p.region, p.score
        );
    }
    text
}

fn options() -> Options {
    let mut options = Options::default();
    options.decision = Some("decision".to_owned());
    options.label = Some("label".to_owned());
    options.score = Some("score".to_owned());
    options.groups = ["group", "region", "age"].map(str::to_owned).to_vec();
    options.bins = vec![("age".to_owned(), vec![25.0, 45.0, 65.0])];
    options
}

fn read(text: &str) -> Table {
    Table::csv_from(text.as_bytes(), "a million rows", &options()).expect("reads")
}

fn million(criterion: &mut Criterion) {
    let text = text();
    let table = read(&text);
    let mut asked = ReportOptions::default();
    asked.requirements = ["tpr_difference<=0.05", "fpr_difference<=0.05"]
        .iter()
        .map(|r| r.parse().expect("a requirement"))
        .collect();
    let all = Settings::default();
    let mut four = Settings::default();
    four.metrics = [
        "selection_rate_difference",
        "tpr_difference",
        "fpr_difference",
        "accuracy_difference",
    ]
    .map(str::to_owned)
    .to_vec();

    let mut group = criterion.benchmark_group("a million rows");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    group.bench_function("read", |b| b.iter(|| black_box(read(&text))));
    group.bench_function("measure four metrics", |b| {
        b.iter(|| black_box(measure(&table, &four).expect("measures")));
    });
    group.bench_function("measure every metric", |b| {
        b.iter(|| black_box(measure(&table, &all).expect("measures")));
    });
    group.bench_function("measure, judge and report", |b| {
        b.iter(|| black_box(report(&table, &all, &asked).expect("reports")));
    });
    group.bench_function("all of it", |b| {
        b.iter(|| black_box(report(&read(&text), &all, &asked).expect("reports")));
    });
    group.finish();
}

criterion_group!(benches, million);
criterion_main!(benches);
