//! Every planted gap is measured at its true size, and the clean twin has none; a stream of rows is read in bounded
//! memory.
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped or measures says so"
)]

use std::io::Read;

use proofmark_audit::synthetic::{Population, Stratum};
use proofmark_audit::{Figure, Options, Settings, Table, measure};

fn headline<'f>(figures: &'f [Figure], id: &str, attribute: &str) -> &'f Figure {
    let found = figures
        .iter()
        .find(|f| f.metric == id && f.attribute == attribute && f.comparison.is_headline());
    found.expect("measured")
}

type Rate = fn(&Stratum) -> f64;

/// Measured gaps lie within five standard errors of the truth. For equal rates, noise can only raise the largest less
/// the smallest.
#[test]
fn planted_gaps_are_measured_and_the_twin_has_none() {
    const N: u64 = 60_000;
    // The smallest group has 6,000 people, 2,400 of them positive.
    let band = 5.0 * (2.0 * 0.25 / 2_400.0_f64).sqrt();
    for population in [Population::planted(1), Population::equal(1)] {
        let table = population.table(N).expect("makes a table");
        let measured = measure(&table, &Settings::default()).expect("measures");
        let truths: [(&str, Rate); 5] = [
            ("selection_rate_difference", Stratum::selection_rate),
            ("tpr_difference", |g| g.tpr),
            ("fpr_difference", |g| g.fpr),
            ("ppv_difference", Stratum::ppv),
            ("base_rate_difference", |g| g.base_rate),
        ];
        for (id, of) in truths {
            let got = headline(&measured.figures, id, "group")
                .value()
                .expect("estimable");
            let want = population.gap(of);
            assert!((got - want).abs() < band, "{id}: {got}, planted {want}");
            let nothing = headline(&measured.figures, id, "region")
                .value()
                .expect("estimable");
            assert!(nothing < band, "{id}: {nothing} between regions");
        }
    }
}

#[test]
fn a_population_is_a_prefix_of_a_larger_one() {
    let population = Population::planted(3);
    let (small, large) = (
        population.table(50).expect("makes"),
        population.table(500).expect("makes"),
    );
    assert_eq!(
        small.score().map(|s| s[..50].to_vec()),
        large.score().map(|s| s[..50].to_vec())
    );
    assert_ne!(
        Population::planted(4).person(0).map(|p| p.score),
        population.person(0).map(|p| p.score)
    );
}

/// A CSV that is generated row by row and never held as a whole.
struct Rows {
    population: Population,
    next: u64,
    end: u64,
    line: Vec<u8>,
    at: usize,
}

impl Rows {
    fn new(end: u64) -> Self {
        Self {
            population: Population::planted(5),
            next: 0,
            end,
            line: b"id,group,region,age,note,label,decision,score\n".to_vec(),
            at: 0,
        }
    }
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.line.len() {
            if self.next == self.end {
                return Ok(0);
            }
            let p = self.population.person(self.next).expect("there are groups");
            self.line = format!(
                "{},{},{},{},\"a note, of no use\",{},{},{}\n",
                self.next,
                p.group,
                p.region,
                18 + self.next % 60,
                u8::from(p.label),
                u8::from(p.decision),
                p.score
            )
            .into_bytes();
            self.at = 0;
            self.next += 1;
        }
        let n = buffer.len().min(self.line.len() - self.at);
        buffer[..n].copy_from_slice(&self.line[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn audit(rows: u64) {
    let mut options = Options::default();
    options.decision = Some("decision".to_owned());
    options.label = Some("label".to_owned());
    options.score = Some("score".to_owned());
    options.groups = ["group", "region", "age"].map(str::to_owned).to_vec();
    options.bins = vec![("age".to_owned(), vec![25.0, 45.0, 65.0])];
    let source = std::io::BufReader::with_capacity(1 << 16, Rows::new(rows));
    let table = Table::csv_from(source, "stream", &options).expect("reads");
    assert_eq!(table.rows() as u64, rows);
    let direct = Population::planted(5).table(rows).expect("makes");
    assert_eq!(
        (table.decision(), table.label()),
        (direct.decision(), direct.label())
    );
    drop(direct);
    let mut settings = Settings::default();
    settings.intersections = 2;
    let measured = measure(&table, &settings).expect("measures");
    assert_eq!(measured.groupings.len(), 6);
    let gap = headline(&measured.figures, "tpr_difference", "group")
        .value()
        .expect("estimable");
    assert!(
        (gap - 0.1).abs() < 5.0 * (0.5 / (0.04 * rows as f64)).sqrt(),
        "{gap}"
    );
}

#[test]
fn twenty_thousand_rows_are_streamed() {
    audit(20_000);
}

/// `cargo test --release -p proofmark-audit --test audit planted -- --ignored`: peak memory must stay below 400 MB.
#[test]
#[ignore = "a million rows"]
fn a_million_rows_are_streamed() {
    audit(1_000_000);
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kilobytes: u64 = peak
            .and_then(|l| l.trim().trim_end_matches(" kB").parse().ok())
            .expect("a number");
        eprintln!("{} MB at the largest", kilobytes / 1024);
        assert!(kilobytes < 400 * 1024);
    }
}
