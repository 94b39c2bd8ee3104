use std::path::PathBuf;

use proofmark::Progress as _;
use proofmark::audit::render::{impact, impact_csv, impact_table, svg};
use proofmark::audit::report::{self, AuditReport, Detail, SampleFacts};
use proofmark::audit::robustness::{self, Attacked};
use proofmark::audit::{self, Options, ReportOptions, Requirement, ScanSettings, Setup, Table};
use proofmark::engine::{Event, Observer as _};
use proofmark::policy::render::{self, Document};

use crate::args::audit::Audit;
use crate::failure::Failure;
use crate::output::Target;
use crate::progress::TerminalProgress;
use crate::{command, output, signals};

/// Runs `proofmark audit` and returns the exit code.
pub(crate) fn run(args: &Audit, quiet: bool) -> Result<u8, Failure> {
    let setup = setup(args)?;
    let rows = setup.samples;
    let targets = targets(args, rows)?;
    if rows != Detail::None && targets.out.is_none() {
        return Err(Failure(
            "--samples: no --out to write them to; expected --out FILE".to_owned(),
        ));
    }
    let options = options(args, &setup)?;
    let settings = &setup.settings;
    let audited = audited(args, &setup.columns)?;
    let (table, attacked) = match &audited {
        Audited::Table(table) => (table.as_ref(), None),
        Audited::Attack(attacked) => (&attacked.clean, Some(attacked.as_ref())),
    };
    // Refuse rows that may not be written before computing anything.
    let rows = report::samples(table, attacked, rows, setup.suppress)?;
    let mut report: AuditReport = match attacked {
        None => audit::report(table, settings, &options)?,
        Some(attacked) => audit::report_attacked(attacked, settings, &options)?,
    };
    if let Some(depth) = args.scan {
        scan_into(&mut report, table, depth, args, quiet)?;
    }
    if signals::interrupted() {
        output::tell("interrupted: nothing was written");
        return Ok(signals::INTERRUPTED);
    }
    // Render every output before writing any.
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

/// Targets of all outputs; no target is an input, and no two are the same.
struct Targets {
    out: Option<Target>,
    chart: Option<Target>,
    impact: Option<Target>,
}

fn targets(args: &Audit, samples: Detail) -> Result<Targets, Failure> {
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
    // The rows file exists only if rows are requested.
    let rows = beside.filter(|_| samples != Detail::None).map(Target::File);
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

/// Table to audit, or an attack report joined with its groups.
enum Audited {
    Table(Box<Table>),
    Attack(Box<Attacked>),
}

fn audited(args: &Audit, options: &Options) -> Result<Audited, Failure> {
    let Some(report) = &args.report else {
        let Some(path) = args.table.as_deref() else {
            return Err(Failure("expected a table of decisions".to_owned()));
        };
        return Ok(Audited::Table(Box::new(Table::open(path, options)?)));
    };
    let favourable = match options.favourable.as_slice() {
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
        Some(_) if options.groups.is_empty() => {
            return Err(Failure(
                "--groups: none given; expected columns of the table".to_owned(),
            ));
        }
        Some(path) => Table::open(path, options)?,
        None => robustness::carried(&attack, options)?,
    };
    let joined = robustness::join(&attack, &groups, favourable, args.attack.as_deref())?;
    Ok(Audited::Attack(Box::new(joined)))
}

fn options(args: &Audit, setup: &Setup) -> Result<ReportOptions, Failure> {
    let by = setup.by;
    let requirements = args.metrics.iter().map(|m| {
        let requirement: Requirement = m.parse()?;
        Ok(Requirement { by, ..requirement })
    });
    let mut options = ReportOptions::default();
    options.requirements = requirements.collect::<Result<_, Failure>>()?;
    options.level = args.level;
    options.suppress = setup.suppress;
    Ok(options)
}

/// Scans every target for which the table has the columns, and adds the results to the report.
fn scan_into(
    report: &mut AuditReport,
    table: &Table,
    depth: usize,
    args: &Audit,
    quiet: bool,
) -> Result<(), Failure> {
    let mut settings = ScanSettings::default();
    settings.depth = depth;
    settings.min_n = args.scan_min_n;
    settings.draws = args.scan_draws;
    settings.seed = args.seed;
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
    let shown = TerminalProgress::counting(quiet, "permutations");
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

/// Writes the report, with its rows inside it or in a file beside it.
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

/// Returns the typed setup; an error if options contradict each other.
fn setup(args: &Audit) -> Result<Setup, Failure> {
    let mut setup = args.setup.read()?;
    setup.settings.seed = args.seed;
    let columns = &mut setup.columns;
    columns.groups_only = args.report.is_some();
    if args.id.is_some() {
        columns.id.clone_from(&args.id);
    }
    let problem = if columns.variant.is_none() && columns.groups.is_empty() && args.report.is_none()
    {
        "--groups: none given; expected columns of the table, or --paired ID,VARIANT"
    } else if args.table.is_none() && !columns.columns.is_empty() {
        "--columns: there is no table; expected one, or none of its columns"
    } else {
        return Ok(setup);
    };
    Err(Failure(problem.to_owned()))
}
