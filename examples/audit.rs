//! A bias audit as a test of your own: decisions and groups as arrays, requirements, and an assertion whose message is
//! the whole audit.
//!
//! ```text
//! cargo run -p proofmark --example audit
//! ```
//!
//! In your own crate, put [`audit`] into a `#[test]` as it is.

use std::error::Error;

use proofmark::audit::{
    AuditReport, Columns, Figure, ReportOptions, Settings, measure, render, report,
};
use proofmark::domain::Verdict;

/// The decisions of your model, with group and true label.
struct Decided {
    sex: Vec<&'static str>,
    approved: Vec<bool>,
    repaid: Vec<bool>,
}

/// Makes 800 applications. Of those who repay, 60 % of the women and 80 % of the men are approved; of the others, a
/// fifth.
fn decided() -> Decided {
    let mut all = Decided {
        sex: Vec::new(),
        approved: Vec::new(),
        repaid: Vec::new(),
    };
    for (sex, of_five) in [("woman", 3), ("man", 4)] {
        for person in 0..400 {
            let repays = person % 2 == 0;
            let approved = (person / 2) % 5 < if repays { of_five } else { 1 };
            all.sex.push(sex);
            all.repaid.push(repays);
            all.approved.push(approved);
        }
    }
    all
}

/// Measures and judges: returns the complete audit report.
fn audit(decided: &Decided, requirements: &[&str]) -> Result<AuditReport, Box<dyn Error>> {
    let table = Columns::new("loans")
        .decision(decided.approved.iter().copied())
        .label(decided.repaid.iter().copied())
        .attribute("sex", decided.sex.iter().copied())
        .build()?;
    let mut asked = ReportOptions::default();
    for text in requirements {
        asked.requirements.push(text.parse()?);
    }
    Ok(report(&table, &Settings::default(), &asked)?)
}

/// Measures and returns a single figure, without a judgement.
fn gap(decided: &Decided, metric: &str) -> Result<Option<f64>, Box<dyn Error>> {
    let table = Columns::new("loans")
        .decision(decided.approved.iter().copied())
        .label(decided.repaid.iter().copied())
        .attribute("sex", decided.sex.iter().copied())
        .build()?;
    let mut settings = Settings::default();
    settings.metrics = vec![metric.to_owned()];
    let measured = measure(&table, &settings)?;
    let mut headlines = measured
        .figures
        .iter()
        .filter(|f| f.comparison.is_headline());
    Ok(headlines.next().and_then(Figure::value))
}

fn main() -> Result<(), Box<dyn Error>> {
    let decided = decided();

    // A requirement that the table meets, on false approvals.
    let fair = audit(&decided, &["fpr_difference<=0.1"])?;
    assert_eq!(
        fair.verdict,
        Some(Verdict::Pass),
        "{}",
        render::table(&fair, false)
    );

    // One that it misses; the gate names the metric and the gap.
    let unfair = audit(&decided, &["equal_opportunity_difference<=0.05"])?;
    assert_eq!(unfair.verdict, Some(Verdict::Fail));
    let gate = &unfair.gates[0];
    assert_eq!(gate.metric, "tpr_difference");
    assert!(gate.value.is_some_and(|gap| (gap - 0.2).abs() < 1e-12));

    // One that 800 rows cannot settle: the gate reports how many more rows would.
    let open = audit(&decided, &["selection_rate_difference<=0.07"])?;
    assert_eq!(open.verdict, Some(Verdict::Inconclusive));
    assert!(open.gates[0].needed.is_some_and(|more| more > 800));

    assert_eq!(gap(&decided, "fpr_difference")?, Some(0.0));
    Ok(())
}
