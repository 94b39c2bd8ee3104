//! The generator reproduces the file in `datasets/population`, and an audit of it finds what its README says.

use std::path::{Path, PathBuf};

use proofmark_audit::report::AuditReport;
use proofmark_audit::synthetic::{Population, Stratum};
use proofmark_audit::{Options, ReportOptions, Settings, Table, report};
use proofmark_domain::Verdict;

/// A true rate of a group.
type Rate = fn(&Stratum) -> f64;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/population/population.csv")
}

fn asked(requirements: &[&str]) -> ReportOptions {
    let parsed = requirements
        .iter()
        .map(|r| r.parse().expect("a requirement"));
    let mut asked = ReportOptions::default();
    asked.requirements = parsed.collect();
    asked
}

fn audit(requirements: &[&str]) -> AuditReport {
    let mut options = Options::default();
    options.decision = Some("decision".to_owned());
    options.score = Some("score".to_owned());
    options.label = Some("label".to_owned());
    options.groups = ["group", "region"].map(str::to_owned).to_vec();
    let table = Table::csv(&path(), &options).expect("reads");
    report(&table, &Settings::default(), &asked(requirements)).expect("measures")
}

#[test]
fn the_file_is_the_output_of_the_generator() {
    let shipped = std::fs::read_to_string(path()).expect("shipped");
    assert!(
        shipped == Population::shipped().csv(6_000),
        "datasets/population/population.csv differs; make it anew: cargo run -p proofmark --example make_population"
    );
}

/// One gap fails, the attribute without a gap passes, and the small group is inconclusive with a number of further rows
/// that would settle it.
#[test]
fn each_planted_gap_gets_the_verdict_its_size_allows() {
    let report = audit(&["tpr_difference<=0.1", "fpr_difference<=0.1"]);
    let verdict = |metric: &str, attribute: &str| {
        let gate = report
            .gates
            .iter()
            .find(|g| g.metric == metric && g.attribute == attribute)
            .expect("gated");
        (gate.verdict, gate.needed)
    };
    assert_eq!(verdict("tpr_difference", "group"), (Verdict::Fail, None));
    assert_eq!(verdict("tpr_difference", "region"), (Verdict::Pass, None));
    assert_eq!(verdict("fpr_difference", "region"), (Verdict::Pass, None));
    let (open, needed) = verdict("fpr_difference", "group");
    assert_eq!(open, Verdict::Inconclusive);
    assert!(needed.is_some_and(|n| n > 1_000), "{needed:?}");
    assert_eq!(report.verdict, Some(Verdict::Fail));
    let told = include_str!("../../../../datasets/population/README.md");
    let number = needed.expect("checked").to_string();
    assert!(told.contains(&number), "the README does not say {number}");
}

/// The rates of the groups lie in their intervals, and no gap between regions is significant.
#[test]
fn true_rates_lie_in_their_intervals() {
    let report = audit(&[]);
    let truth: [(&str, Rate); 5] = [
        ("tpr", |g| g.tpr),
        ("fpr", |g| g.fpr),
        ("selection_rate", Stratum::selection_rate),
        ("ppv", Stratum::ppv),
        ("base_rate", |g| g.base_rate),
    ];
    let (mut held, mut all) = (0, 0);
    for stratum in Population::shipped().groups {
        let facts = report
            .groups
            .iter()
            .find(|g| g.attribute == "group" && g.group == stratum.name)
            .expect("a group");
        for (id, of) in truth {
            let rate = facts.rates.iter().find(|r| r.metric == id).expect("shown");
            let ends = rate.ci95.expect("an interval");
            let (low, high) = (ends.low, ends.high);
            all += 1;
            held += u32::from((low..=high).contains(&of(&stratum)));
        }
    }
    // Each interval covers at 95 %: of fifteen, one may miss, and hardly ever three.
    assert!(held + 2 >= all, "{held} of {all}");
    for metric in ["tpr", "fpr", "selection_rate", "ppv", "base_rate"] {
        let id = format!("{metric}_difference");
        let figure = report
            .metrics
            .iter()
            .find(|m| m.metric == id && m.attribute == "region" && m.headline)
            .expect("measured");
        let adjusted = figure.p_adjusted.expect("a chance");
        assert!(adjusted > 0.05, "{id}: {adjusted}");
    }
}

/// The verdicts follow from the design of the population, not from its seed.
#[test]
fn other_seeds_get_the_same_verdicts() {
    const SEEDS: u64 = 40;
    let asked = asked(&["tpr_difference<=0.1", "fpr_difference<=0.1"]);
    let mut settings = Settings::default();
    settings.metrics = ["tpr_difference", "fpr_difference"]
        .map(str::to_owned)
        .to_vec();
    let mut as_told = [0; 4];
    for seed in 2..SEEDS + 2 {
        let population = Population {
            seed: proofmark_domain::Seed(seed),
            ..Population::shipped()
        };
        let table = population.table(6_000).expect("makes");
        let report = report(&table, &settings, &asked).expect("measures");
        let verdicts: Vec<Verdict> = report.gates.iter().map(|g| g.verdict).collect();
        let told = [
            ("tpr_difference", "group", Verdict::Fail),
            ("fpr_difference", "group", Verdict::Inconclusive),
            ("tpr_difference", "region", Verdict::Pass),
            ("fpr_difference", "region", Verdict::Pass),
        ];
        assert_eq!(verdicts.len(), told.len());
        for (count, (metric, attribute, verdict)) in as_told.iter_mut().zip(told) {
            let gate = report
                .gates
                .iter()
                .find(|g| g.metric == metric && g.attribute == attribute);
            *count += u64::from(gate.is_some_and(|g| g.verdict == verdict));
        }
    }
    let [tpr, fpr, regions_tpr, regions_fpr] = as_told;
    assert_eq!([tpr, regions_tpr, regions_fpr], [SEEDS; 3]);
    assert!(fpr >= 36, "{fpr} of {SEEDS}");
}
