//! Arguments of `audit`.

use std::path::PathBuf;

use clap::Args;
use proofmark::audit::{ScanSettings, Settings, Setup};

use super::Typed;

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Every figure has an interval; figures with a --metric are judged together at --level, others never change the verdict. \
A requirement that the table cannot settle is inconclusive, with about how many more rows would settle it. `proofmark \
list metrics` names the metrics. Quote a name that contains a comma or a sign: --groups '\"a, b\",c', \
--where '\"a=b\"=x', --metric 'tpr_difference(\"a)\")<=0.1'. \
Favourable values are 1, true and yes, unless --favourable says otherwise.

With --report, groups are compared clean and under attack. TABLE holds the samples' groups, one row per \
sample, and needs no decisions; rows are matched by --id, else by a column `id`, else by row number. Without TABLE the \
groups are those of the data set (arrays `group_*` of an .npz). Rates of decisions need a favourable class: class 1 of \
two, else --favourable CLASS. A requirement on such a rate applies to the clean decisions and to those under attack.

Examples:
  proofmark audit loans.csv --groups sex,race --decision approved
  proofmark audit loans.csv --groups age --bins age=25,45 --decision approved --metric 'impact_ratio>=0.8'
  proofmark audit scores.csv --groups race --score risk --threshold 5 --label recid --metric 'fpr_difference<=0.1'
  proofmark audit hires.csv --groups sex,race --intersections 2 --decision hired --min-share 0.02 --impact-table -
  proofmark audit adult.data --columns age,work,sex,income --groups sex --decision income --favourable '>50K'
  proofmark audit loans.csv --groups sex --decision approved --suppress 10 --out report.json --chart rates.svg
  proofmark audit loans.csv --groups sex,race,age --bins age=25,45 --decision approved --scan 3
  proofmark audit twins.csv --paired person,sex --decision approved --metric 'counterfactual_flip_rate<=0.02'
  proofmark audit people.csv --report attack.json --groups sex --metric 'robust_accuracy_difference<=0.1'"
)]
pub(crate) struct Audit {
    /// Table of decisions, one row per person: .csv or .npz; with --report, a table of the samples' groups
    #[arg(required_unless_present = "report")]
    pub(crate) table: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) setup: Typed<Setup>,
    /// Attack report (JSON), to compare how easily groups are attacked
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "decision", "score", "threshold", "label", "target", "stratum", "features", "paired", "positive",
            "unfavourable",
        ], help_heading = "Attack reports")]
    pub(crate) report: Option<PathBuf>,
    /// Only this run of the attack report, by its key; all but probes if absent
    #[arg(
        long,
        value_name = "KEY",
        requires = "report",
        help_heading = "Attack reports"
    )]
    pub(crate) attack: Option<String>,
    /// Column of row ids; if absent, the row number, counted from 0
    #[arg(
        long,
        value_name = "COL",
        conflicts_with = "paired",
        help_heading = "Columns of the table"
    )]
    pub(crate) id: Option<String>,
    /// Requirement: exit 1 if it is missed, 3 if it is inconclusive
    #[arg(long = "metric", value_name = "ID<=F|ID>=F", help_heading = "Judging")]
    pub(crate) metrics: Vec<String>,
    /// Scan for subgroups formed from up to DEPTH of the group columns (2 if not given); never changes the verdict
    #[arg(
        long,
        value_name = "DEPTH",
        num_args = 0..=1,
        default_missing_value = "2",
        conflicts_with = "paired", help_heading = "Measuring")]
    pub(crate) scan: Option<usize>,
    /// Minimum size of a subgroup in the scan, and of the remaining rows
    #[arg(
        long,
        value_name = "N",
        default_value_t = ScanSettings::default().min_n,
        help_heading = "Measuring"
    )]
    pub(crate) scan_min_n: u64,
    /// Permutations for the scan's p-value
    #[arg(
        long,
        value_name = "N",
        default_value_t = ScanSettings::default().draws,
        help_heading = "Measuring"
    )]
    pub(crate) scan_draws: u32,
    /// Seed of every random number
    #[arg(
        long,
        value_name = "S",
        default_value_t = Settings::default().seed,
        help_heading = "Measuring"
    )]
    pub(crate) seed: u64,
    /// Joint confidence level of all requirements
    #[arg(
        long,
        value_name = "F",
        default_value_t = 0.95,
        help_heading = "Judging"
    )]
    pub(crate) level: f64,
    /// Write the report here (JSON); - for standard output, as for the other outputs
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Write impact ratios per category to this file (CSV), and show them: rows, rows selected, rate, ratio to the
    /// highest rate
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) impact_table: Option<PathBuf>,
    /// Write a chart of the groups' rates here (SVG)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) chart: Option<PathBuf>,
}
