//! What can be typed after `audit`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use proofmark::audit::report::Detail;
use proofmark::audit::{By, ScanSettings, Settings};
use proofmark::domain::Delimiter;

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Every figure has an interval; figures with a --metric are judged together at --level, all others decide nothing. A \
requirement that the table cannot settle is inconclusive, with about how many more rows would settle it. `proofmark \
list metrics` names the metrics. A name with a comma or a sign in it stands in quotes: --groups '\"a, b\",c', \
--where '\"a=b\"=x', --metric 'tpr_difference(\"a)\")<=0.1'. Favourable is 1, true or yes, unless --favourable says otherwise.

With --report, groups are compared clean and under attack. The samples' groups stand in TABLE, which needs no \
decisions, in a row per sample: found by --id, else by a column `id`, else by the row. Without TABLE they are those \
that the set had (arrays `group_*` of an .npz). Rates of decisions need a favourable class: class 1 of two, else \
--favourable CLASS. A requirement on such a rate is one on the clean decisions and on those under attack.

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
    /// A table of decisions, one row per person: .csv or .npz; with --report, of the samples' groups
    #[arg(required_unless_present = "report")]
    pub(crate) table: Option<PathBuf>,
    /// Columns of sensitive attributes
    #[arg(
        long,
        value_name = "COL[,COL…]",
        required_unless_present_any = ["paired", "report"],
        value_parser = names, help_heading = "Groups")]
    pub(crate) groups: Vec<Names>,
    /// An attack report (JSON): which groups are easier to attack
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
    /// Columns that make a paired table: the person, and the variant a row is of; each person once per variant
    #[arg(
        long,
        value_name = "ID,VARIANT",
        value_parser = names,
        conflicts_with_all = ["groups", "id"], help_heading = "Columns of the table")]
    pub(crate) paired: Vec<Names>,
    /// Column of row ids; the row, from 0, if absent
    #[arg(long, value_name = "COL", help_heading = "Columns of the table")]
    pub(crate) id: Option<String>,
    /// Column of decisions
    #[arg(long, value_name = "COL", help_heading = "Columns of the table")]
    pub(crate) decision: Option<String>,
    /// Column of scores, greater for more likely positive
    #[arg(long, value_name = "COL", help_heading = "Columns of the table")]
    pub(crate) score: Option<String>,
    /// A score at or above this is a favourable decision
    #[arg(
        long,
        value_name = "T",
        requires = "score",
        conflicts_with = "decision",
        help_heading = "Columns of the table"
    )]
    pub(crate) threshold: Option<f64>,
    /// Column of true labels
    #[arg(long, value_name = "COL", help_heading = "Columns of the table")]
    pub(crate) label: Option<String>,
    /// Column of the true values of a regression
    #[arg(long, value_name = "COL", help_heading = "Columns of the table")]
    pub(crate) target: Option<String>,
    /// Column of weights
    #[arg(long, value_name = "COL", help_heading = "Columns of the table")]
    pub(crate) weights: Option<String>,
    /// Columns that decisions may depend on: conditional parity and Mantel-Haenszel
    #[arg(
        long,
        value_name = "COL[,COL…]",
        value_parser = names,
        help_heading = "Columns of the table"
    )]
    pub(crate) stratum: Vec<Names>,
    /// Columns of numbers that make two persons alike: consistency
    #[arg(
        long,
        value_name = "COL[,COL…]",
        value_parser = names,
        help_heading = "Columns of the table"
    )]
    pub(crate) features: Vec<Names>,
    /// Neighbours that consistency compares a person with
    #[arg(
        long,
        value_name = "K",
        default_value_t = Settings::default().neighbours,
        help_heading = "Measuring"
    )]
    pub(crate) neighbours: usize,
    /// What scores or true values (`target`) cannot leave: means of what has no range have no interval
    #[arg(
        long,
        value_name = "score=LO,HI",
        allow_hyphen_values = true,
        help_heading = "Measuring"
    )]
    pub(crate) range: Vec<String>,
    /// The alpha of generalised entropy
    #[arg(
        long,
        value_name = "F",
        default_value_t = Settings::default().alpha,
        help_heading = "Measuring"
    )]
    pub(crate) alpha: f64,
    /// Bins of the scores, for calibration; at most 1000
    #[arg(
        long,
        value_name = "N",
        default_value_t = Settings::default().bins,
        help_heading = "Measuring"
    )]
    pub(crate) score_bins: usize,
    /// The group that others are compared with
    #[arg(long, value_name = "COL=V", help_heading = "Groups")]
    pub(crate) reference: Vec<String>,
    /// Cut a numeric attribute at these values
    #[arg(
        long,
        value_name = "COL=F[,F…]",
        allow_hyphen_values = true,
        help_heading = "Groups"
    )]
    pub(crate) bins: Vec<String>,
    /// Keep rows of this value (also !=, <, <=, >, >=); several values of a column: any of them
    #[arg(
        long = "where",
        value_name = "COL=V",
        help_heading = "Columns of the table"
    )]
    pub(crate) filters: Vec<String>,
    /// One value of an attribute against all others
    #[arg(long, value_name = "COL=V", help_heading = "Groups")]
    pub(crate) against_rest: Vec<String>,
    /// Names of the columns of a file without a header
    #[arg(
        long,
        value_name = "A,B,…",
        value_parser = names,
        requires = "table",
        help_heading = "Columns of the table"
    )]
    pub(crate) columns: Vec<Names>,
    /// What stands between the cells of a .csv
    #[arg(
        long,
        value_name = "C",
        default_value = ",",
        help_heading = "Columns of the table"
    )]
    pub(crate) delimiter: Delimiter,
    /// A value of decisions and labels that is favourable; with --report a class
    #[arg(
        long,
        value_name = "V",
        allow_hyphen_values = true,
        help_heading = "Columns of the table"
    )]
    pub(crate) favourable: Vec<String>,
    /// A value of decisions and labels that is not; where there are several, state all of them
    #[arg(
        long,
        value_name = "V",
        allow_hyphen_values = true,
        help_heading = "Columns of the table"
    )]
    pub(crate) unfavourable: Vec<String>,
    /// Every value that is not favourable (or positive) is unfavourable, however many there are
    #[arg(
        long,
        conflicts_with = "unfavourable",
        help_heading = "Columns of the table"
    )]
    pub(crate) others_unfavourable: bool,
    /// Texts that stand for a missing value in any column, whatever their case, instead of the usual ones (NA, null, None, ?
    /// and their like); an empty cell always does
    #[arg(
        long,
        value_name = "TEXT[,TEXT…]",
        value_parser = names,
        allow_hyphen_values = true,
        help_heading = "Columns of the table"
    )]
    pub(crate) missing: Vec<Names>,
    /// A value of labels that is positive, if not that of --favourable; others are those of --unfavourable, or one other
    #[arg(
        long,
        value_name = "V",
        allow_hyphen_values = true,
        help_heading = "Columns of the table"
    )]
    pub(crate) positive: Vec<String>,
    /// A requirement: exit 1 if it is missed, 3 if the table cannot tell
    #[arg(long = "metric", value_name = "ID<=F|ID>=F", help_heading = "Judging")]
    pub(crate) metrics: Vec<String>,
    /// Hold the interval against the tolerance, or the value alone as published point rules do
    #[arg(long, value_parser = PossibleValuesParser::new(By::ALL.map(By::as_str)).try_map(|word| word.parse::<By>()), default_value = "interval", help_heading = "Judging")]
    pub(crate) judge: By,
    /// Also take up to this many attributes together
    #[arg(long, value_name = "N", default_value_t = Settings::default().intersections, help_heading = "Groups")]
    pub(crate) intersections: usize,
    /// Least persons in a metric's own denominator
    #[arg(long, value_name = "N", default_value_t = Settings::default().min_n, help_heading = "Groups")]
    pub(crate) min_n: u64,
    /// Least share of all that a group must be, such as 0.02
    #[arg(long, value_name = "F", default_value_t = Settings::default().min_share, help_heading = "Groups")]
    pub(crate) min_share: f64,
    /// Groups of an attribute up to which each is compared with all together, the highest and the reference, and up to which
    /// the report tells what every figure is made of
    #[arg(long, value_name = "N", default_value_t = Settings::default().detail_groups, help_heading = "Groups")]
    pub(crate) detail_groups: usize,
    /// Scan for subgroups that nobody named, made of up to DEPTH of the groups' columns (2 if not said): decides nothing
    #[arg(
        long,
        value_name = "DEPTH",
        num_args = 0..=1,
        default_missing_value = "2",
        conflicts_with = "paired", help_heading = "Measuring")]
    pub(crate) scan: Option<usize>,
    /// Least persons in a subgroup of the scan, and outside it
    #[arg(
        long,
        value_name = "N",
        default_value_t = ScanSettings::default().min_n,
        help_heading = "Measuring"
    )]
    pub(crate) scan_min_n: u64,
    /// Random deals that the scan is compared with
    #[arg(
        long,
        value_name = "N",
        default_value_t = ScanSettings::default().draws,
        help_heading = "Measuring"
    )]
    pub(crate) scan_draws: u32,
    /// Seed of everything drawn at random
    #[arg(
        long,
        value_name = "S",
        default_value_t = Settings::default().seed,
        help_heading = "Measuring"
    )]
    pub(crate) seed: u64,
    /// Confidence of all requirements together
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
    /// Write a table of impact ratios per category here (CSV), and show it: persons, selected, rate, ratio to the highest rate
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) impact_table: Option<PathBuf>,
    /// Write a chart of the groups' rates here (SVG)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) chart: Option<PathBuf>,
    /// Show no cell of fewer than this many persons, nor what gives it away
    #[arg(long, value_name = "K", default_value_t = 0, help_heading = "Groups")]
    pub(crate) suppress: u64,
    /// Rows that the report repeats: none, what they are called, or all that was audited of them
    #[arg(long, value_parser = PossibleValuesParser::new(Detail::ALL.map(Detail::as_str)).try_map(|word| word.parse::<Detail>()), default_value = "none", help_heading = "Output")]
    pub(crate) samples: Detail,
}

/// Names separated by commas, those in quotes whatever is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// The names of an option that may be given several times.
    pub(crate) fn all(given: &[Self]) -> Vec<String> {
        given.iter().flat_map(|n| n.0.iter().cloned()).collect()
    }
}

fn names(text: &str) -> Result<Names, String> {
    proofmark::audit::names(text).map(Names)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        audit: Audit,
    }

    fn typed(more: &[&str]) -> Audit {
        let always = ["audit", "t.csv", "--groups", "sex"];
        Typed::parse_from(always.iter().chain(more)).audit
    }

    #[test]
    fn words_are_those_of_the_library() {
        for by in By::ALL {
            assert_eq!(typed(&["--judge", by.as_str()]).judge, by);
        }
        for detail in Detail::ALL {
            assert_eq!(typed(&["--samples", detail.as_str()]).samples, detail);
        }
        let plain = typed(&[]);
        assert_eq!(
            (plain.judge, plain.samples),
            (By::default(), Detail::default())
        );
    }
}
