//! What can be typed after `audit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Every figure has an interval; figures with a --metric are judged together at --level, all others decide nothing. A
requirement that the table cannot settle is inconclusive, with about how many more rows would settle it. `proofmark list
metrics` names the metrics. Favourable is 1, true or yes, unless --favourable says otherwise.

Examples:
  proofmark audit loans.csv --groups sex,race --decision approved
  proofmark audit loans.csv --groups age --bins age=25,45 --decision approved --metric 'impact_ratio>=0.8'
  proofmark audit scores.csv --groups race --score risk --threshold 5 --label recid --metric 'fpr_difference<=0.1'
  proofmark audit adult.data --columns age,work,sex,income --groups sex --decision income --favourable '>50K'
  proofmark audit loans.csv --groups sex --decision approved --suppress 10 --out report.json --chart rates.svg"
)]
pub(crate) struct Audit {
    /// A table of decisions, one row per person: .csv or .npz
    pub(crate) table: PathBuf,
    /// Columns of sensitive attributes
    #[arg(
        long,
        value_name = "COL[,COL…]",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) groups: Vec<String>,
    /// Column of decisions
    #[arg(long, value_name = "COL")]
    pub(crate) decision: Option<String>,
    /// Column of scores, greater for more likely positive
    #[arg(long, value_name = "COL")]
    pub(crate) score: Option<String>,
    /// A score at or above this is a favourable decision
    #[arg(
        long,
        value_name = "T",
        requires = "score",
        conflicts_with = "decision"
    )]
    pub(crate) threshold: Option<f64>,
    /// Column of true labels
    #[arg(long, value_name = "COL")]
    pub(crate) label: Option<String>,
    /// Column of the true values of a regression
    #[arg(long, value_name = "COL")]
    pub(crate) target: Option<String>,
    /// Column of weights
    #[arg(long, value_name = "COL")]
    pub(crate) weights: Option<String>,
    /// Columns that decisions may depend on: conditional parity and Mantel-Haenszel
    #[arg(long, value_name = "COL[,COL…]", value_delimiter = ',')]
    pub(crate) stratum: Vec<String>,
    /// The group that others are compared with
    #[arg(long, value_name = "COL=V")]
    pub(crate) reference: Vec<String>,
    /// Cut a numeric attribute at these values
    #[arg(long, value_name = "COL=F[,F…]", allow_hyphen_values = true)]
    pub(crate) bins: Vec<String>,
    /// Keep rows of this value (also !=, <, <=, >, >=); several values of a column: any of them
    #[arg(long = "where", value_name = "COL=V")]
    pub(crate) filters: Vec<String>,
    /// Names of the columns of a file without a header
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// A value of decisions and labels that is favourable
    #[arg(long, value_name = "V", allow_hyphen_values = true)]
    pub(crate) favourable: Vec<String>,
    /// A value of labels that is positive, if not that of --favourable
    #[arg(long, value_name = "V", allow_hyphen_values = true)]
    pub(crate) positive: Vec<String>,
    /// A requirement: exit 1 if it is missed, 3 if the table cannot tell
    #[arg(long = "metric", value_name = "ID<=F|ID>=F")]
    pub(crate) metrics: Vec<String>,
    /// Hold the interval against the tolerance, or the value alone as published point rules do
    #[arg(long, value_enum, default_value = "interval")]
    pub(crate) judge: JudgeArg,
    /// Also take up to this many attributes together
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) intersections: usize,
    /// Least persons in a metric's own denominator
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) min_n: u64,
    /// Confidence of all requirements together
    #[arg(long, value_name = "F", default_value_t = 0.95)]
    pub(crate) level: f64,
    /// Write the report here (JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write a chart of the groups' rates here (SVG)
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
    /// Show no cell of fewer than this many persons, nor what gives it away
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) suppress: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JudgeArg {
    Interval,
    Point,
}
