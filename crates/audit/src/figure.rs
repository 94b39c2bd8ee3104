//! A figure: one number of one metric or the reason why it is missing, with the inputs of its interval.

use std::fmt;
use std::sync::Arc;

use proofmark_domain::Interval;
use proofmark_stats::{Histogram, Noise, Sample, effective_size_of_rate};
use serde::{Deserialize, Serialize};

use crate::groups::percent;
use crate::metric::Rows;
use crate::{Share, Table, Tally};

/// Why a figure cannot be estimated.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// The denominator is empty or below the minimum of the policy.
    TooFew {
        /// Rows in the denominator.
        n: u64,
        /// Minimum required.
        min_n: u64,
    },
    /// The group's share of all rows is below the minimum of the policy.
    SmallShare {
        /// Rows of the group.
        n: u64,
        /// The group's share of all rows.
        share: f64,
        /// Minimum share required.
        min_share: f64,
    },
    /// Fewer than two groups have an estimate.
    NoTwoGroups {
        /// Number of groups with an estimate.
        left: usize,
    },
    /// The divisor of the ratio is 0.
    DividesByZero,
    /// The overall figure or the reference group has no estimate.
    NothingToCompareWith,
    /// Any other reason, in words.
    Undefined(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { n: 0, .. } => f.write_str("nobody in the denominator"),
            Self::TooFew { n, min_n } => write!(f, "{n} in the denominator, fewer than {min_n}"),
            Self::SmallShare {
                n,
                share,
                min_share,
            } => write!(
                f,
                "{n} are {:.2} % of all, less than {}",
                100.0 * share,
                percent(*min_share)
            ),
            Self::NoTwoGroups { left } => {
                write!(f, "{left} groups can be estimated, fewer than 2")
            }
            Self::DividesByZero => f.write_str("the rate divided by is 0"),
            Self::NothingToCompareWith => {
                f.write_str("what it is compared with cannot be estimated")
            }
            Self::Undefined(why) => f.write_str(why),
        }
    }
}

/// A mean-like estimate of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The estimate.
    pub value: f64,
    /// Variance of the estimate; `None` if it rests on a single row.
    pub variance: Option<f64>,
    /// The smallest of the denominators it rests on.
    pub denominator: Tally,
    /// Range of possible values.
    pub range: Interval,
    /// Independent samples; the estimate is the sum of their means, each times its factor (usually there is one
    /// sample). Empty if the range of the values is unknown: the estimate then has no limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// Any number.
pub(crate) const LINE: Interval = Interval {
    low: f64::NEG_INFINITY,
    high: f64::INFINITY,
};

/// Any number of at least 0.
pub(crate) const POSITIVE: Interval = Interval {
    low: 0.0,
    high: f64::INFINITY,
};

/// From 0 to 1.
pub(crate) const UNIT: Interval = Interval {
    low: 0.0,
    high: 1.0,
};

/// From -1 to 1.
pub(crate) const SIGNED_UNIT: Interval = Interval {
    low: -1.0,
    high: 1.0,
};

/// A mean of absolute values that are themselves estimated. Chance biases it upwards, never downwards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Folded {
    /// The estimate, at least 0.
    pub value: f64,
    /// Its variance if the signs were known.
    pub variance: f64,
    /// Upper bound on what chance adds to it.
    pub noise: Noise,
    /// Rows it rests on.
    pub denominator: Tally,
}

/// Returns the weighted mean over the rows for which `value` returns one, with its variance. All values must lie in
/// `range`. Fails if no row has a value.
pub(crate) fn mean_of(
    rows: Rows<'_>,
    range: Interval,
    value: impl Fn(&Table, usize) -> Option<f64>,
) -> Result<Mean, Reason> {
    let weighted = rows.weighted();
    let values: Vec<(f64, f64)> = weighted
        .filter_map(|(row, weight)| Some((value(rows.table, row)?, weight)))
        .collect();
    let heaviest = rows.table.heaviest();
    mean(&values, range, heaviest).ok_or(Reason::TooFew { n: 0, min_n: 1 })
}

/// Returns the mean of values with weights above 0 and at most `heaviest`; `None` if there are no values.
pub(crate) fn mean(values: &[(f64, f64)], range: Interval, heaviest: f64) -> Option<Mean> {
    let mut denominator = Tally::default();
    for (_, weight) in values {
        denominator.count(*weight);
    }
    // Sums differences from the first value, so that the mean of equal values is exactly that value, with variance 0.
    let first = values.first()?.0;
    let sum: f64 = values.iter().map(|(v, w)| w * (v - first)).sum();
    let value = first + sum / denominator.weight;
    let squares: f64 = values.iter().map(|(v, w)| (w * (v - value)).powi(2)).sum();
    let rows = values.iter().map(|(v, weight)| {
        let part = weight / heaviest;
        (*v, part, part * part)
    });
    Some(Mean {
        value,
        variance: variance(squares, denominator),
        denominator,
        range,
        samples: alone(Histogram::weighted(range, rows)),
    })
}

/// Returns the mean of counted values, with no row heavier than `heaviest`.
pub(crate) fn mean_of_counts(
    values: &[(f64, Tally)],
    denominator: Tally,
    range: Interval,
    heaviest: f64,
) -> Mean {
    let value = values.iter().map(|(v, t)| v * t.weight).sum::<f64>() / denominator.weight;
    let squares = values.iter().map(|(v, t)| t.square * (v - value).powi(2));
    let there = values.iter().filter(|(_, t)| t.n > 0);
    let counts = there.map(|(v, t)| (*v, t.weight / heaviest, t.square / heaviest / heaviest));
    Mean {
        value,
        variance: variance(squares.sum(), denominator),
        denominator,
        range,
        samples: alone(Histogram::weighted(range, counts)),
    }
}

/// Wraps the values of a mean as its only sample.
fn alone(values: Option<Histogram>) -> Vec<Sample> {
    let sample = |values| Sample {
        factor: 1.0,
        values,
    };
    values.map(sample).into_iter().collect()
}

/// Returns a rate as a sample of a sum; `None` if its denominator is empty.
pub(crate) fn sample(factor: f64, share: Share) -> Option<Sample> {
    let (some, all) = (share.numerator, share.denominator);
    let n = effective_size_of_rate((some.weight, some.square), (all.weight, all.square))?;
    let others = (all.weight - some.weight).max(0.0);
    let values = Histogram::new(UNIT, [(1.0, some.weight), (0.0, others)], n)?;
    Some(Sample { factor, values })
}

/// Returns the variance of a weighted mean from `sum of (w (v - mean))^2`; `None` for fewer than two rows.
pub(crate) fn variance(squares: f64, denominator: Tally) -> Option<f64> {
    let n = denominator.n as f64;
    (n > 1.0).then(|| squares / denominator.weight.powi(2) * n / (n - 1.0))
}

/// Estimate of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimate {
    /// A proportion.
    Share(Share),
    /// A proportion shrunk towards one half by this many pseudo-counts.
    Smoothed(Share, f64),
    /// A mean of absolute values.
    Folded(Folded),
    /// A mean, or a sum of means.
    Mean(Mean),
    /// The square root of a mean.
    Root(Mean),
    /// An estimate that is normal, with an estimated variance.
    Normal(Mean),
}

impl Estimate {
    /// Returns the estimated value; `None` if the denominator is empty.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Share(share) => share.value(),
            Self::Smoothed(share, concentration) => share.smoothed(*concentration),
            Self::Folded(folded) => Some(folded.value),
            Self::Mean(mean) | Self::Normal(mean) => Some(mean.value),
            Self::Root(mean) => Some(mean.value.sqrt()),
        }
    }

    /// Returns the denominator that the estimate rests on.
    pub fn denominator(&self) -> Tally {
        match self {
            Self::Share(share) | Self::Smoothed(share, _) => share.denominator,
            Self::Folded(folded) => folded.denominator,
            Self::Mean(mean) | Self::Root(mean) | Self::Normal(mean) => mean.denominator,
        }
    }
}

/// One group's part in a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Index of the group in its [`crate::Groups`]; `None` for all groups together.
    pub group: Option<usize>,
    /// Its name; `overall` for all groups together.
    pub name: String,
    /// Its estimate.
    pub estimate: Estimate,
}

impl Part {
    /// Returns the value of the estimate, which [`crate::metric`] guarantees to exist; NaN if it does not.
    pub fn value(&self) -> f64 {
        self.estimate.value().unwrap_or(f64::NAN)
    }
}

/// How a figure is computed from its parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The part itself.
    Plain,
    /// The first minus the part it is compared with; between groups, the largest minus the smallest.
    Difference,
    /// The absolute difference; of several parts the largest.
    Distance,
    /// The first over the part it is compared with; between groups, the smallest over the largest.
    Ratio,
    /// The ratio or its inverse, whichever is at most 1; of several parts the smallest.
    Closeness,
    /// The exponential of the part, which holds the logarithm of a ratio and its variance.
    Exponential,
    /// The exponential or its inverse, whichever is at most 1; of several parts the smallest.
    ExponentialCloseness,
    /// Weight of the group times (rate compared with minus the group's rate); of several parts the largest.
    Persons,
    /// The largest of several parts, with its sign.
    Largest,
    /// The logarithm of the largest over the smallest part, in the family where it is largest.
    LogRatio,
    /// `LogRatio` of the first half of the families minus that of the second half.
    LogRatioDifference,
    /// The mean of the first family's parts, each with the sign of its group's contrast in the second family: minus if
    /// the contrast is not positive.
    Leaning,
    /// The generalised entropy of benefits, from the share of errors and the share of undeserved favours among the
    /// errors.
    Entropy {
        /// Its alpha.
        alpha: f64,
        /// Whether the figure is the root of twice the index.
        root: bool,
    },
    /// The generalised entropy between groups, from their mean benefits and weights.
    EntropyBetween {
        /// Its alpha.
        alpha: f64,
    },
}

/// How the families of a figure are combined into one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// The largest.
    Largest,
    /// The smallest.
    Smallest,
    /// Their mean, taken group by group before signs or inverses are dropped and the farthest group is chosen.
    Mean,
}

/// One rate over the groups that a figure compares.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Id of the rate, such as `tpr`.
    pub rate: &'static str,
    /// The groups that have an estimate.
    pub parts: Vec<Part>,
    /// What each part is compared with; `None` if the parts are compared with each other. The overall part contains
    /// every group.
    pub against: Option<Part>,
}

impl Family {
    /// Returns a family of groups that are compared with each other, or not at all.
    pub fn among(rate: &'static str, parts: Vec<Part>) -> Self {
        Self {
            rate,
            parts,
            against: None,
        }
    }
}

/// Components of a figure: everything its interval is computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis {
    /// How the parts become a number.
    pub form: Form,
    /// How the families are combined; usually there is only one.
    pub combine: Combine,
    /// The rates; empty if the figure has no value.
    pub families: Vec<Family>,
}

impl Basis {
    /// Returns the basis of a figure without a value.
    pub fn nothing() -> Self {
        Self::several(Form::Plain, Vec::new())
    }

    /// Returns a basis of families whose combination is determined by the form.
    pub fn several(form: Form, families: Vec<Family>) -> Self {
        Self {
            form,
            combine: Combine::Largest,
            families,
        }
    }

    /// Returns a basis of one family.
    pub fn of(form: Form, family: Family) -> Self {
        Self::several(form, vec![family])
    }
}

/// Kind of comparison that a figure makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// One group by itself.
    Group,
    /// All groups together.
    Overall,
    /// One group with another.
    Pair,
    /// One group with all together.
    GroupToOverall,
    /// One group with the reference.
    GroupToReference,
    /// One group with the group of the highest rate.
    GroupToHighest,
    /// The headline: all groups, the two furthest apart.
    Between,
    /// The headline: the group furthest from all together.
    MostToOverall,
    /// The headline: the group furthest from the reference.
    MostToReference,
    /// The headline: one number for the table or the grouping as a whole.
    Whole,
}

impl Comparison {
    /// Whether this is a headline: the figure that a policy on the metric refers to.
    pub fn is_headline(self) -> bool {
        matches!(
            self,
            Self::Between | Self::MostToOverall | Self::MostToReference | Self::Whole
        )
    }
}

/// A group that a figure leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// Its name.
    pub group: String,
    /// Number of its rows.
    pub persons: u64,
    /// Reason why it is left out.
    pub reason: Reason,
}

/// One number of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The metric's id.
    pub metric: &'static str,
    /// The attribute, or attributes joined by ` & `; empty for the table as a whole.
    pub attribute: String,
    /// Kind of comparison.
    pub comparison: Comparison,
    /// The groups compared: the first minus (or divided by) the second.
    pub groups: Vec<String>,
    /// The value, or why there is none. A missing value is never replaced by 0, 1 or 10.
    pub value: Result<f64, Reason>,
    /// Rows in the denominators of those groups.
    pub n: Vec<u64>,
    /// Components from which its interval is computed.
    pub basis: Basis,
    /// Groups it leaves out.
    pub left_out: Arc<[LeftOut]>,
    /// Rows left out: those of left-out groups, those whose group is unknown, those that lack a value the metric needs,
    /// and those not drawn. Ids in a paired table.
    pub persons_left_out: u64,
    /// Total number of rows; of ids in a paired table.
    pub persons: u64,
}

impl Figure {
    /// Returns the value, if there is one.
    pub fn value(&self) -> Option<f64> {
        self.value.as_ref().ok().copied()
    }

    /// Returns the share of rows left out; 0 if there are no rows.
    pub fn share_left_out(&self) -> f64 {
        if self.persons == 0 {
            return 0.0;
        }
        self.persons_left_out as f64 / self.persons as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of weight 1 and 2, given as rows and as counts, in a table whose heaviest row weighs 4.
    #[test]
    fn sample_weights_are_relative_to_the_heaviest_row() {
        let mut tallies = [Tally::default(); 2];
        (0..3).for_each(|_| tallies[0].count(1.0));
        (0..2).for_each(|_| tallies[1].count(2.0));
        let rows = [(0.0, 1.0), (1.0, 2.0), (0.0, 1.0), (1.0, 2.0), (0.0, 1.0)];
        let counts = [(0.0, tallies[0]), (1.0, tallies[1])];
        let by_rows = mean(&rows, UNIT, 4.0).expect("some");
        let by_counts = mean_of_counts(&counts, tallies[0] + tallies[1], UNIT, 4.0);
        for mean in [by_rows, by_counts] {
            assert!((mean.value - 4.0 / 7.0).abs() < 1e-15);
            let told = serde_json::to_value(&mean.samples[0].values).expect("plain");
            assert_eq!(
                told,
                serde_json::json!({
                    "range": [0.0, 1.0], "counts": [[0, 3.0], [32, 2.0]], "weights": [0.25, 0.5]
                })
            );
        }
    }

    /// Rows that a metric leaves out count too: they could have had another label.
    #[test]
    fn the_heaviest_row_is_that_of_the_whole_table() {
        let table = crate::Columns::new("t")
            .weights([1.0, 5.0, 2.0])
            .attribute("a", ["x", "y", "x"])
            .build()
            .expect("fits");
        assert_eq!(table.heaviest(), 5.0);
        assert_eq!(table.take(&[0, 2]).heaviest(), 5.0);
        let plain = crate::Columns::new("t").attribute("a", ["x", "y"]).build();
        assert_eq!(plain.expect("fits").heaviest(), 1.0);
    }
}
