use proofmark::audit::{
    Asked, AuditReport, By, Options, Requirement, Settings, Table, render, report,
};

use crate::args::audit::{Audit, JudgeArg};
use crate::failure::Failure;
use crate::{command, output};

/// `proofmark audit`.
pub(crate) fn run(args: &Audit, quiet: bool) -> Result<u8, Failure> {
    let target = |flag: &str, path: &Option<std::path::PathBuf>| {
        let path = path.as_deref();
        path.map(|p| output::target(flag, p)).transpose()
    };
    let out = target("--out", &args.out)?;
    let chart = target("--chart", &args.chart)?;
    if out.is_some() && out == chart {
        return Err(Failure(
            "--out and --chart name the same file; expected two".to_owned(),
        ));
    }
    let by = match args.judge {
        JudgeArg::Interval => By::Interval,
        JudgeArg::Point => By::Point,
    };
    let requirements = args.metrics.iter().map(|m| {
        let requirement: Requirement = m.parse()?;
        Ok(Requirement { by, ..requirement })
    });
    let asked = Asked {
        requirements: requirements.collect::<Result<_, Failure>>()?,
        level: args.level,
        suppress: args.suppress,
        ..Asked::default()
    };
    let settings = Settings {
        min_n: args.min_n,
        reference: pairs("--reference", &args.reference)?,
        intersections: args.intersections,
        ..Settings::default()
    };
    let options = options(args)?;
    let table = Table::open(&args.table, &options)?;
    let report: AuditReport = report(&table, &settings, &asked)?;
    // Both texts are made before either is written.
    let (json, svg) = (render::json(&report), render::svg(&report));
    if let Some(path) = &out {
        output::write(path, json.as_bytes())?;
    }
    if let Some(path) = &chart {
        output::write(path, svg.as_bytes())?;
    }
    if !quiet {
        output::tell(render::table(&report, command::colour()).trim_end());
    }
    Ok(report
        .verdict
        .map_or(0, proofmark::domain::Verdict::exit_code))
}

fn options(args: &Audit) -> Result<Options, Failure> {
    let mut bins = Vec::new();
    for (column, cuts) in pairs("--bins", &args.bins)? {
        let numbers: Result<Vec<f64>, _> = cuts.split(',').map(|c| c.trim().parse()).collect();
        let numbers = numbers.map_err(|_| {
            Failure(format!(
                "--bins {column}={cuts}; expected COL=F[,F…], such as age=25,45"
            ))
        })?;
        bins.push((column, numbers));
    }
    let filters = args
        .filters
        .iter()
        .map(|f| f.parse().map_err(Failure::from));
    Ok(Options {
        columns: args.columns.clone(),
        decision: args.decision.clone(),
        score: args.score.clone(),
        threshold: args.threshold,
        label: args.label.clone(),
        target: args.target.clone(),
        weights: args.weights.clone(),
        groups: args.groups.clone(),
        stratum: args.stratum.clone(),
        filters: filters.collect::<Result<_, Failure>>()?,
        bins,
        favourable: args.favourable.clone(),
        positive: args.positive.clone(),
        ..Options::default()
    })
}

/// `COL=V`, each column once.
fn pairs(flag: &str, given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut all: Vec<(String, String)> = Vec::new();
    for text in given {
        let parts = text
            .split_once('=')
            .filter(|(c, v)| !c.is_empty() && !v.is_empty());
        let (column, value) =
            parts.ok_or_else(|| Failure(format!("{flag} {text}; expected COL=V")))?;
        if all.iter().any(|a| a.0 == column) {
            return Err(Failure(format!("{flag} {text}: `{column}` is given twice")));
        }
        all.push((column.to_owned(), value.to_owned()));
    }
    Ok(all)
}
