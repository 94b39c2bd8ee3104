use std::path::PathBuf;

use proofmark::Progress as _;
use proofmark::audit::render::{impact, impact_csv, impact_table, svg};
use proofmark::audit::report::{self, AuditReport, Detail, SampleFacts};
use proofmark::audit::robustness::{self, Attacked};
use proofmark::audit::{self, Asked, Options, Requirement, ScanSettings, Settings, Table};
use proofmark::engine::{Event, Observer as _};
use proofmark::policy::render::{self, Document};

use crate::args::audit::{Audit, Names};
use crate::failure::Failure;
use crate::output::Target;
use crate::progress::Shown;
use crate::{command, output, signals};

/// `proofmark audit`.
pub(crate) fn run(args: &Audit, quiet: bool) -> Result<u8, Failure> {
    let targets = targets(args)?;
    let rows = args.samples;
    if rows != Detail::None && targets.out.is_none() {
        return Err(Failure(
            "--samples: no --out to write them to; expected --out FILE".to_owned(),
        ));
    }
    let asked = asked(args)?;
    let mut settings = Settings {
        min_n: args.min_n,
        min_share: args.min_share,
        detail_groups: args.detail_groups,
        reference: pairs("--reference", &args.reference)?,
        intersections: args.intersections,
        bins: args.score_bins,
        alpha: args.alpha,
        neighbours: args.neighbours,
        seed: args.seed,
        ..Settings::default()
    };
    for (column, ends) in pairs("--range", &args.range)? {
        settings.state_range(&column, range(&column, &ends)?)?;
    }
    let audited = audited(args)?;
    let (table, attacked) = match &audited {
        Audited::Table(table) => (table.as_ref(), None),
        Audited::Attack(attacked) => (&attacked.clean, Some(attacked.as_ref())),
    };
    // Refused before anything is computed for it.
    let rows = report::samples(table, attacked, rows, args.suppress)?;
    let mut report: AuditReport = match attacked {
        None => audit::report(table, &settings, &asked)?,
        Some(attacked) => audit::report_attacked(attacked, &settings, &asked)?,
    };
    if let Some(depth) = args.scan {
        scan_into(&mut report, table, depth, args, quiet)?;
    }
    if signals::interrupted() {
        output::tell("interrupted: nothing was written");
        return Ok(signals::INTERRUPTED);
    }
    // Every text is made before any is written.
    let svg = svg(&report);
    let impact = impact(&report);
    if args.impact_table.is_some() && impact.is_empty() {
        return Err(Failure(
            "--impact-table: there are no rates of selection; expected --decision or --score, and --groups".to_owned(),
        ));
    }
    if let Some(target) = &targets.out {
        write(target, &mut report, table, rows)?;
    }
    if let Some(target) = &targets.chart {
        output::write_text(target, &svg)?;
    }
    if let Some(target) = &targets.impact {
        output::write_text(target, &impact_csv(&impact))?;
    }
    if !quiet {
        output::tell(render::table(Document::Audit(&report), command::colour()).trim_end());
        if targets.impact.is_some() {
            output::tell(&format!("\n{}", impact_table(&impact).trim_end()));
        }
    }
    Ok(report
        .verdict
        .map_or(0, proofmark::domain::Verdict::exit_code))
}

/// Where everything goes: nowhere that something is read from, and each to a place of its own.
struct Targets {
    out: Option<Target>,
    chart: Option<Target>,
    impact: Option<Target>,
}

fn targets(args: &Audit) -> Result<Targets, Failure> {
    let target = |flag: &str, path: &Option<PathBuf>| {
        let path = path.as_deref();
        path.map(|p| output::text_target(flag, p)).transpose()
    };
    let targets = Targets {
        out: target("--out", &args.out)?,
        chart: target("--chart", &args.chart)?,
        impact: target("--impact-table", &args.impact_table)?,
    };
    let beside = targets
        .out
        .as_ref()
        .and_then(Target::file)
        .map(output::samples_of);
    // Beside the report only if its rows are asked for.
    let rows = beside
        .filter(|_| args.samples != Detail::None)
        .map(Target::File);
    let written = [
        ("--out", targets.out.as_ref()),
        ("--samples", rows.as_ref()),
        ("--chart", targets.chart.as_ref()),
        ("--impact-table", targets.impact.as_ref()),
    ];
    output::apart(&written, || {
        let mut read = output::Inputs::new();
        read.extend(args.table.clone().map(|t| ("the table", t)));
        if let Some(report) = &args.report {
            read.push(("the attack report", report.clone()));
            read.push((
                "the samples of the attack report",
                output::samples_of(report),
            ));
        }
        read
    })?;
    Ok(targets)
}

/// What there is to audit.
enum Audited {
    Table(Box<Table>),
    Attack(Box<Attacked>),
}

fn audited(args: &Audit) -> Result<Audited, Failure> {
    let options = options(args)?;
    let Some(report) = &args.report else {
        let Some(path) = args.table.as_deref() else {
            return Err(Failure("expected a table of decisions".to_owned()));
        };
        return Ok(Audited::Table(Box::new(Table::open(path, &options)?)));
    };
    let favourable = match args.favourable.as_slice() {
        [] => None,
        [one] => Some(one.parse().map_err(|_| {
            Failure(format!(
                "--favourable {one}; with --report expected a class, counted from 0"
            ))
        })?),
        _ => {
            return Err(Failure(
                "--favourable: given more than once; with --report expected one class".to_owned(),
            ));
        }
    };
    let attack = output::read_report(report)?;
    let groups = match args.table.as_deref() {
        Some(_) if args.groups.is_empty() => {
            return Err(Failure(
                "--groups: none given; expected columns of the table".to_owned(),
            ));
        }
        Some(path) => Table::open(path, &options)?,
        None => robustness::carried(&attack, &options)?,
    };
    let joined = robustness::join(&attack, &groups, favourable, args.attack.as_deref())?;
    Ok(Audited::Attack(Box::new(joined)))
}

fn asked(args: &Audit) -> Result<Asked, Failure> {
    let by = args.judge;
    let requirements = args.metrics.iter().map(|m| {
        let requirement: Requirement = m.parse()?;
        Ok(Requirement { by, ..requirement })
    });
    Ok(Asked {
        requirements: requirements.collect::<Result<_, Failure>>()?,
        level: args.level,
        suppress: args.suppress,
        ..Asked::default()
    })
}

/// Scans for everything that the table has the columns for.
fn scan_into(
    report: &mut AuditReport,
    table: &Table,
    depth: usize,
    args: &Audit,
    quiet: bool,
) -> Result<(), Failure> {
    let settings = ScanSettings {
        depth,
        min_n: args.scan_min_n,
        draws: args.scan_draws,
        seed: args.seed,
        ..ScanSettings::default()
    };
    let targets: Vec<audit::Target> = audit::Target::ALL
        .into_iter()
        .filter(|t| t.is_met(table))
        .collect();
    if targets.is_empty() {
        return Err(Failure(
            "--scan: the table has no decisions; expected --decision, or --score with --threshold"
                .to_owned(),
        ));
    }
    let shown = Shown::counting(quiet, "deals");
    for target in targets {
        shown.begin(&format!("scan {}", target.id()), settings.draws as usize);
        let found = audit::scan(table, target, &settings, &|done| {
            let done = done as usize;
            shown.event(Event::Step { active: 1, done });
            !signals::interrupted()
        });
        if signals::interrupted() {
            break;
        }
        match found {
            Ok(found) => report.add_scan(table, &found, &settings),
            Err(e) => {
                shown.finish();
                return Err(e.into());
            }
        }
    }
    shown.finish();
    Ok(())
}

/// The report, and its rows in it or beside it.
fn write(
    target: &Target,
    report: &mut AuditReport,
    table: &Table,
    rows: impl Iterator<Item = SampleFacts>,
) -> Result<(), Failure> {
    let mut rows = rows.peekable();
    match target.file() {
        Some(path) if rows.peek().is_some() && table.rows() > output::SAMPLES_INLINE => {
            report.samples_file = Some(output::write_beside(path, rows)?);
        }
        _ => report.samples = rows.collect(),
    }
    output::write_text(target, &render::json(Document::Audit(report)))
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
    let paired = Names::all(&args.paired);
    let (id, variant) = match paired.as_slice() {
        [] => (args.id.clone(), None),
        [id, variant] => (Some(id.clone()), Some(variant.clone())),
        given => {
            return Err(Failure(format!(
                "--paired {}; expected ID,VARIANT: the column of persons and that of their variants",
                given.join(",")
            )));
        }
    };
    Ok(Options {
        columns: Names::all(&args.columns),
        decision: args.decision.clone(),
        score: args.score.clone(),
        threshold: args.threshold,
        label: args.label.clone(),
        target: args.target.clone(),
        weights: args.weights.clone(),
        groups: Names::all(&args.groups),
        stratum: Names::all(&args.stratum),
        features: Names::all(&args.features),
        id,
        variant,
        filters: filters.collect::<Result<_, Failure>>()?,
        bins,
        favourable: args.favourable.clone(),
        against_rest: pairs("--against-rest", &args.against_rest)?,
        unfavourable: args.unfavourable.clone(),
        others_unfavourable: args.others_unfavourable,
        positive: args.positive.clone(),
        missing: match args.missing.as_slice() {
            [] => Options::default().missing,
            stated => Names::all(stated),
        },
        delimiter: args.delimiter,
        groups_only: args.report.is_some(),
    })
}

/// `LO,HI`
fn range(column: &str, ends: &str) -> Result<[f64; 2], Failure> {
    let numbers: Result<Vec<f64>, _> = ends.split(',').map(|c| c.trim().parse()).collect();
    match numbers.as_deref() {
        Ok([low, high]) => Ok([*low, *high]),
        _ => Err(Failure(format!(
            "--range {column}={ends}; expected score=LO,HI or target=LO,HI, such as score=0,100"
        ))),
    }
}

/// `COL=V`, each column once.
fn pairs(flag: &str, given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut all: Vec<(String, String)> = Vec::new();
    for text in given {
        let parts = audit::assignment(text);
        let (column, value) =
            parts.ok_or_else(|| Failure(format!("{flag} {text}; expected COL=V")))?;
        if all.iter().any(|a| a.0 == column) {
            return Err(Failure(format!("{flag} {text}: `{column}` is given twice")));
        }
        all.push((column, value.to_owned()));
    }
    Ok(all)
}
