//! Options of an audit beside its table and requirements, each defined once for the command line and for policies.

use proofmark_domain::option::{Form, Given, OptionEntry, Options as _};

use crate::report::Detail;
use crate::{AuditError, By, Options, Settings};

/// Settings of an audit.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Setup {
    /// Roles of the table's columns.
    pub columns: Options,
    /// Settings for measuring figures.
    pub settings: Settings,
    /// How figures are compared with requirements.
    pub by: By,
    /// Cells of fewer people than this are suppressed; 0 shows all.
    pub suppress: u64,
    /// How much of each row the report repeats.
    pub samples: Detail,
}

const COLUMNS: &str = "Columns of the table";
const GROUPS: &str = "Groups";
const MEASURING: &str = "Measuring";
const JUDGING: &str = "Judging";
const OUTPUT: &str = "Output";

/// Sets a field, or returns the error.
fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

/// Formats the error without the option's name, which the caller adds.
fn unnamed(error: AuditError) -> String {
    match error {
        AuditError::Option {
            value, expected, ..
        } => format!("{value}; expected {expected}"),
        other => other.to_string(),
    }
}

/// Reads values by name.
fn pairs(given: &Given) -> Result<Vec<(String, String)>, String> {
    let pairs = given.by_name()?.into_iter();
    pairs
        .map(|(name, value)| Ok((name, value.value()?)))
        .collect()
}

fn min_share(given: &Given) -> Result<f64, String> {
    match given.number()? {
        share if (0.0..1.0).contains(&share) => Ok(share),
        share => Err(format!(
            "expected a share from 0 to below 1, such as 0.02, found {share}"
        )),
    }
}

fn score_bins(given: &Given) -> Result<usize, String> {
    match given.count(1)? {
        bins if bins <= Settings::MAX_BINS => Ok(bins),
        bins => Err(format!(
            "expected a whole number of at most {}, found {bins}",
            Settings::MAX_BINS
        )),
    }
}

use Form::{Flag, Many, One};

impl proofmark_domain::option::Options for Setup {
    const ALL: &'static [OptionEntry<Self>] = &[
        OptionEntry::<Self>::new(
            Many,
            GROUPS,
            "groups",
            "COL[,COL…]",
            "Columns of sensitive attributes",
            |s, g| put(&mut s.columns.groups, g.names()),
        ),
        OptionEntry::<Self>::new(
            Many,
            GROUPS,
            "reference",
            "COL=V",
            "The group that others are compared with",
            |s, g| put(&mut s.settings.reference, pairs(g)),
        ),
        OptionEntry::<Self>::new(
            Many,
            GROUPS,
            "bins",
            "COL=F[,F…]",
            "Cut a numeric attribute at these values, such as age=25,45",
            |s, g| {
                let cuts = g.by_name()?.into_iter();
                let cuts = cuts.map(|(name, cuts)| Ok((name, cuts.numbers()?)));
                put(&mut s.columns.bins, cuts.collect())
            },
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            Many,
            GROUPS,
            "against_rest",
            "COL=V",
            "Compare one value of an attribute with all others",
            |s, g| put(&mut s.columns.against_rest, pairs(g)),
        ),
        OptionEntry::<Self>::new(
            One,
            GROUPS,
            "intersections",
            "N",
            "Also take up to this many attributes together",
            |s, g| put(&mut s.settings.intersections, g.count(1)),
        )
        .with_default(|s| s.settings.intersections.to_string()),
        OptionEntry::<Self>::new(
            One,
            GROUPS,
            "min_n",
            "N",
            "Minimum number of persons in a metric's denominator",
            |s, g| put(&mut s.settings.min_n, g.whole(0)),
        )
        .with_default(|s| s.settings.min_n.to_string()),
        OptionEntry::<Self>::new(
            One,
            GROUPS,
            "min_share",
            "F",
            "Minimum share of all persons that a group must have, such as 0.02",
            |s, g| put(&mut s.settings.min_share, min_share(g)),
        )
        .with_default(|s| s.settings.min_share.to_string()),
        OptionEntry::<Self>::new(
            One,
            GROUPS,
            "detail_groups",
            "N",
            "Most groups of an attribute for which each is compared with all together, the highest and the reference, \
             and for which the report has the parts of every figure",
            |s, g| put(&mut s.settings.detail_groups, g.count(0)),
        )
        .with_default(|s| s.settings.detail_groups.to_string()),
        OptionEntry::<Self>::new(
            One,
            GROUPS,
            "suppress",
            "K",
            "Suppress cells of fewer persons than this, and cells they could be computed from",
            |s, g| put(&mut s.suppress, g.whole(0)),
        )
        .with_default(|s| s.suppress.to_string()),
        OptionEntry::<Self>::new(
            One,
            COLUMNS,
            "decision",
            "COL",
            "Column of decisions",
            |s, g| put(&mut s.columns.decision, g.text().map(Some)),
        ),
        OptionEntry::<Self>::new(
            One,
            COLUMNS,
            "score",
            "COL",
            "Column of scores, greater for more likely positive",
            |s, g| put(&mut s.columns.score, g.text().map(Some)),
        ),
        OptionEntry::<Self>::new(
            One,
            COLUMNS,
            "threshold",
            "T",
            "A score at or above this is a favourable decision",
            |s, g| put(&mut s.columns.threshold, g.number().map(Some)),
        ),
        OptionEntry::<Self>::new(
            One,
            COLUMNS,
            "label",
            "COL",
            "Column of true labels",
            |s, g| put(&mut s.columns.label, g.text().map(Some)),
        ),
        OptionEntry::<Self>::new(
            One,
            COLUMNS,
            "target",
            "COL",
            "Column of the true values of a regression",
            |s, g| put(&mut s.columns.target, g.text().map(Some)),
        ),
        OptionEntry::<Self>::new(
            One,
            COLUMNS,
            "weights",
            "COL",
            "Column of weights",
            |s, g| put(&mut s.columns.weights, g.text().map(Some)),
        ),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "stratum",
            "COL[,COL…]",
            "Columns that decisions may depend on, for conditional parity and Mantel-Haenszel",
            |s, g| put(&mut s.columns.stratum, g.names()),
        ),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "features",
            "COL[,COL…]",
            "Numeric columns that make two persons alike, for consistency",
            |s, g| put(&mut s.columns.features, g.names()),
        ),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "paired",
            "ID,VARIANT",
            "Columns that make a paired table: the person, and the variant a row is of; each person once per variant",
            |s, g| match g.names()?.as_slice() {
                [id, variant] => {
                    s.columns.id = Some(id.clone());
                    s.columns.variant = Some(variant.clone());
                    Ok(())
                }
                given => Err(format!(
                    "expected ID,VARIANT: the column of persons and that of their variants, found {} names",
                    given.len()
                )),
            },
        ),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "where",
            "COL=V",
            "Keep rows of this value (also !=, <, <=, >, >=); several values of a column: any of them",
            |s, g| {
                let filters = g.texts()?.into_iter();
                let filters = filters.map(|text| text.parse().map_err(unnamed));
                put(&mut s.columns.filters, filters.collect())
            },
        ),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "columns",
            "A,B,…",
            "Names of the columns of a file without a header",
            |s, g| put(&mut s.columns.columns, g.names()),
        ),
        OptionEntry::<Self>::new(
            One,
            COLUMNS,
            "delimiter",
            "C",
            "Separator of the cells of a .csv",
            |s, g| put(&mut s.columns.delimiter, g.parsed()),
        )
        .with_default(|s| s.columns.delimiter.to_string()),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "favourable",
            "V",
            "A value of decisions and labels that is favourable; of an attack report a class",
            |s, g| put(&mut s.columns.favourable, g.values()),
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "unfavourable",
            "V",
            "A value of decisions and labels that is not; where there are several, state all of them",
            |s, g| put(&mut s.columns.unfavourable, g.values()),
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            Flag,
            COLUMNS,
            "others_unfavourable",
            "",
            "Treat every value that is not favourable (or positive) as unfavourable, however many there are",
            |s, g| put(&mut s.columns.others_unfavourable, g.truth()),
        ),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "positive",
            "V",
            "A value of labels that is positive, if not the favourable one; others are the unfavourable ones, or one other",
            |s, g| put(&mut s.columns.positive, g.values()),
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            Many,
            COLUMNS,
            "missing",
            "TEXT[,TEXT…]",
            "Texts that stand for a missing value in any column, whatever their case, instead of the usual ones (NA, null, \
             None, ? and their like); an empty cell always does",
            |s, g| put(&mut s.columns.missing, g.names()),
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            Many,
            MEASURING,
            "range",
            "score=LO,HI",
            "Range of scores or true values (`target`); a mean of values without a range has no interval",
            |s, g| {
                for (column, ends) in g.by_name()? {
                    let ends = ends.range().map_err(|e| format!("{column}: {e}"))?;
                    s.settings.state_range(&column, ends).map_err(unnamed)?;
                }
                Ok(())
            },
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            One,
            MEASURING,
            "neighbours",
            "K",
            "Neighbours that consistency compares a person with",
            |s, g| put(&mut s.settings.neighbours, g.count(1)),
        )
        .with_default(|s| s.settings.neighbours.to_string()),
        OptionEntry::<Self>::new(
            One,
            MEASURING,
            "alpha",
            "F",
            "The alpha of generalised entropy",
            |s, g| put(&mut s.settings.alpha, g.number()),
        )
        .with_default(|s| s.settings.alpha.to_string()),
        OptionEntry::<Self>::new(
            One,
            MEASURING,
            "score_bins",
            "N",
            "Bins of the scores, for calibration; at most 1000",
            |s, g| put(&mut s.settings.bins, score_bins(g)),
        )
        .with_default(|s| s.settings.bins.to_string()),
        OptionEntry::<Self>::new(
            One,
            JUDGING,
            "judge",
            "BY",
            "Compare the tolerance with the `interval`, or with the value alone (`point`) as published point rules do",
            |s, g| put(&mut s.by, g.word(&By::ALL.map(|by| (by.as_str(), by)))),
        )
        .with_default(|s| s.by.as_str().to_owned()),
        OptionEntry::<Self>::new(
            One,
            OUTPUT,
            "samples",
            "DETAIL",
            "Rows in the report: `none`, their ids (`ids`), or everything that was audited of them (`full`)",
            |s, g| {
                let words = Detail::ALL.map(|detail| (detail.as_str(), detail));
                put(&mut s.samples, g.word(&words))
            },
        )
        .with_default(|s| s.samples.as_str().to_owned()),
    ];
}

impl Setup {
    /// Returns the names of the options.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|e| e.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The default that is shown equals the default that applies without the option.
    #[test]
    fn a_default_that_is_typed_changes_nothing() {
        let plain = Setup::default();
        for entry in Setup::ALL {
            if let Some(default) = entry.default {
                let mut setup = Setup::default();
                let typed = Given::Typed(vec![default(&plain)]);
                (entry.set)(&mut setup, &typed).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
                assert_eq!(setup, plain, "{}", entry.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_flags_take_no_value() {
        let names: BTreeSet<&str> = Setup::names().collect();
        assert_eq!(names.len(), Setup::ALL.len());
        for entry in Setup::ALL {
            assert_eq!(entry.form == Flag, entry.value.is_empty(), "{}", entry.name);
        }
    }
}
