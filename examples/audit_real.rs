//! Audits the tables that papers on fairness use: COMPAS, Adult, German credit. Prints a notice for each absent table.
//!
//! ```text
//! cargo run -p proofmark --example audit_real -- [FOLDER]
//! ```
//!
//! `docs/audit.md` says where to get them and shows the same audits on the command line.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to whoever runs it"
)]

use std::error::Error;
use std::path::{Path, PathBuf};

use proofmark::audit::{Options, ReportOptions, Settings, Table, render, report};

const ADULT: &str = "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,\
                     capital_gain,capital_loss,hours_per_week,native_country,income";
const GERMAN: &str = "status,duration,history,purpose,amount,savings,employment,rate,personal,debtors,residence,\
                      property,age,plans,housing,credits,job,liable,telephone,foreign,class";

/// One audit: file names that the table may have, the roles of its columns, and the requirements.
struct Case {
    files: &'static [&'static str],
    options: Options,
    reference: Option<(&'static str, &'static str)>,
    requirements: &'static [&'static str],
}

fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn cases() -> Result<[Case; 3], Box<dyn Error>> {
    let mut compas = Options::default();
    // The header has this name twice; the score is a decile, and 5 and above are "medium" and "high".
    compas.score = Some("decile_score#1".to_owned());
    compas.threshold = Some(5.0);
    compas.label = Some("two_year_recid".to_owned());
    compas.groups = names("race");
    for filter in ["race=African-American", "race=Caucasian"] {
        compas.filters.push(filter.parse()?);
    }

    let mut adult = Options::default();
    adult.columns = names(ADULT);
    adult.decision = Some("income".to_owned());
    // Labels of the test part end in a dot.
    adult.favourable = names(">50K.");
    adult.groups = names("sex,race");

    let mut german = Options::default();
    german.columns = names(GERMAN);
    german.decision = Some("class".to_owned());
    // 1 is a good risk, 2 a bad one.
    german.favourable = names("1");
    german.groups = names("age,foreign");
    german.bins = vec![("age".to_owned(), vec![26.0])];

    Ok([
        Case {
            files: &["compas-scores-two-years.csv"],
            options: compas,
            reference: None,
            requirements: &[
                "fpr_difference<=0.1",
                "fnr_difference<=0.1",
                "ppv_difference<=0.1",
            ],
        },
        Case {
            files: &["adult.test", "adult-test.csv"],
            options: adult,
            reference: None,
            requirements: &["impact_ratio>=0.8"],
        },
        Case {
            files: &["german.csv"],
            options: german,
            reference: Some(("foreign", "A202")),
            requirements: &["selection_rate_difference<=0.1"],
        },
    ])
}

fn audit(path: &Path, case: &Case) -> Result<(), Box<dyn Error>> {
    let table = Table::csv(path, &case.options)?;
    let mut asked = ReportOptions::default();
    for text in case.requirements {
        asked.requirements.push(text.parse()?);
    }
    let mut settings = Settings::default();
    settings.reference = case
        .reference
        .map(|(attribute, value)| (attribute.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
    let report = report(&table, &settings, &asked)?;
    println!("{}", render::table(&report, false));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = match (std::env::args().nth(1), std::env::var_os("PROOFMARK_DATA")) {
        (Some(given), _) => PathBuf::from(given),
        (None, Some(data)) => PathBuf::from(data).join("datasets/tabular"),
        (None, None) => PathBuf::from("../shared/data/datasets/tabular"),
    };
    for case in cases()? {
        let mut paths = case.files.iter().map(|f| folder.join(f));
        match paths.find(|p| p.is_file()) {
            Some(path) => audit(&path, &case)?,
            None => eprintln!("SKIPPED: no {} in {}", case.files[0], folder.display()),
        }
    }
    Ok(())
}
