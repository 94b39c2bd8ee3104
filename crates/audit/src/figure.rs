//! A figure: one number of one metric, or why there is none, and what an interval on it needs.

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
    /// Fewer in the denominator than the policy asks for, or nobody.
    TooFew {
        /// Those there are.
        n: u64,
        /// Those there should be.
        min_n: u64,
    },
    /// The group is a smaller share of all than the policy asks for.
    SmallShare {
        /// Its members.
        n: u64,
        /// Its share of all.
        share: f64,
        /// The share it should have.
        min_share: f64,
    },
    /// Fewer than two groups have an estimate.
    NoTwoGroups {
        /// Groups that have one.
        left: usize,
    },
    /// The rate that is divided by is 0.
    DividesByZero,
    /// The overall figure or the reference group has no estimate.
    NothingToCompareWith,
    /// Anything else, in words.
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
    /// The variance of the estimate; none where one person is all there is.
    pub variance: Option<f64>,
    /// The smallest of the denominators it rests on.
    pub denominator: Tally,
    /// What it cannot leave.
    pub range: Interval,
    /// The samples it is a sum of means of, each apart from the others; mostly it is the mean of one. None where nothing
    /// is known of what the values cannot leave: there are no limits then.
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

/// A mean of absolute values that are themselves estimated: too large by chance, never too small on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Folded {
    /// The estimate, at least 0.
    pub value: f64,
    /// Its variance, were the signs known.
    pub variance: f64,
    /// The most that chance adds to it.
    pub noise: Noise,
    /// What it rests on.
    pub denominator: Tally,
}

/// The weighted mean over those rows for which `value` gives one, with its variance; no value can leave `range`.
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

/// The mean of values with weights above 0, none above `heaviest`; none of nothing.
pub(crate) fn mean(values: &[(f64, f64)], range: Interval, heaviest: f64) -> Option<Mean> {
    let mut denominator = Tally::default();
    for (_, weight) in values {
        denominator.count(*weight);
    }
    // From the first: values that are all the same have that very value as their mean, and no variance.
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

/// The mean of counted values, none of which weighs more than `heaviest`.
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

/// The one sample of a mean.
fn alone(values: Option<Histogram>) -> Vec<Sample> {
    let sample = |values| Sample {
        factor: 1.0,
        values,
    };
    values.map(sample).into_iter().collect()
}

/// A rate that is part of a sum.
pub(crate) fn sample(factor: f64, share: Share) -> Option<Sample> {
    let (some, all) = (share.numerator, share.denominator);
    let n = effective_size_of_rate((some.weight, some.square), (all.weight, all.square))?;
    let others = (all.weight - some.weight).max(0.0);
    let values = Histogram::new(UNIT, [(1.0, some.weight), (0.0, others)], n)?;
    Some(Sample { factor, values })
}

/// The variance of a weighted mean from `sum of (w (v - mean))^2`; none from fewer than two.
pub(crate) fn variance(squares: f64, denominator: Tally) -> Option<f64> {
    let n = denominator.n as f64;
    (n > 1.0).then(|| squares / denominator.weight.powi(2) * n / (n - 1.0))
}

/// What one group's estimate is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimate {
    /// A proportion.
    Share(Share),
    /// A proportion drawn towards one half by so many pseudo-counts.
    Smoothed(Share, f64),
    /// A mean of absolute values.
    Folded(Folded),
    /// A mean, or a sum of means.
    Mean(Mean),
    /// The square root of one.
    Root(Mean),
    /// What is normal but for its variance.
    Normal(Mean),
}

impl Estimate {
    /// Its value; none where nobody is in the denominator.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Share(share) => share.value(),
            Self::Smoothed(share, concentration) => share.smoothed(*concentration),
            Self::Folded(folded) => Some(folded.value),
            Self::Mean(mean) | Self::Normal(mean) => Some(mean.value),
            Self::Root(mean) => Some(mean.value.sqrt()),
        }
    }

    /// What it rests on.
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
    /// The group's place among its [`crate::Groups`]; none for all together.
    pub group: Option<usize>,
    /// Its name, `overall` for all together.
    pub name: String,
    /// Its estimate.
    pub estimate: Estimate,
}

impl Part {
    /// The value of the estimate, which [`crate::metric`] has made sure of.
    pub fn value(&self) -> f64 {
        self.estimate.value().unwrap_or(f64::NAN)
    }
}

/// How parts make a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The part itself.
    Plain,
    /// The first less what it is compared with; between groups, the largest less the smallest.
    Difference,
    /// The same without its sign; of several parts the largest.
    Distance,
    /// The first over what it is compared with; between groups, the smallest over the largest.
    Ratio,
    /// The same or its inverse, whichever is at most 1; of several parts the smallest.
    Closeness,
    /// The exponential of the part, which is the logarithm of a ratio and bears its variance.
    Exponential,
    /// The same or its inverse, whichever is at most 1; of several parts the smallest.
    ExponentialCloseness,
    /// Persons of the group times what it is compared with less the group's rate; of several parts the largest.
    Persons,
    /// Of several parts the largest, with its sign.
    Largest,
    /// The logarithm of the largest over the smallest part, in the family where that is most.
    LogRatio,
    /// The same of the first half of the families less that of the second.
    LogRatioDifference,
    /// The mean of the first family's parts, each with the sign of its group's contrast in the second: minus where that
    /// is not positive.
    Leaning,
    /// The generalised entropy of benefits, from the share of errors and, of those, the share of undeserved favours.
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

/// How the families of a figure become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// The largest.
    Largest,
    /// The smallest.
    Smallest,
    /// Their mean, group by group: a sign or an inverse is dropped, and the farthest group taken, only after it.
    Mean,
}

/// One rate over the groups that a figure compares.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The rate: `tpr`.
    pub rate: &'static str,
    /// The groups that have an estimate.
    pub parts: Vec<Part>,
    /// What each is compared with; none if with each other. All together contains every group.
    pub against: Option<Part>,
}

impl Family {
    /// Groups that are compared with each other, or not at all.
    pub fn among(rate: &'static str, parts: Vec<Part>) -> Self {
        Self {
            rate,
            parts,
            against: None,
        }
    }
}

/// What a figure is made of: all that an interval can be computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis {
    /// How parts make a number.
    pub form: Form,
    /// How families make the figure; there is mostly one family.
    pub combine: Combine,
    /// The rates; none where the figure has no value.
    pub families: Vec<Family>,
}

impl Basis {
    /// Of a figure without value.
    pub fn nothing() -> Self {
        Self::several(Form::Plain, Vec::new())
    }

    /// Families of which the form says how they make the figure.
    pub fn several(form: Form, families: Vec<Family>) -> Self {
        Self {
            form,
            combine: Combine::Largest,
            families,
        }
    }

    /// One family.
    pub fn of(form: Form, family: Family) -> Self {
        Self::several(form, vec![family])
    }
}

/// What a figure compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// One group, for itself.
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
    /// Whether a policy that names the metric means this figure.
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
    /// Its members.
    pub persons: u64,
    /// Why.
    pub reason: Reason,
}

/// One number of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The metric's id.
    pub metric: &'static str,
    /// The attribute, or attributes joined by ` & `; empty for the table as a whole.
    pub attribute: String,
    /// What is compared.
    pub comparison: Comparison,
    /// The groups compared: the first less (over) the second.
    pub groups: Vec<String>,
    /// The value, or why there is none. Never a stand-in such as 0, 1 or 10.
    pub value: Result<f64, Reason>,
    /// Persons in the denominators of those groups.
    pub n: Vec<u64>,
    /// What it is made of.
    pub basis: Basis,
    /// Groups it leaves out.
    pub left_out: Arc<[LeftOut]>,
    /// Persons left out: members of those groups, and those whose group is unknown.
    pub persons_left_out: u64,
    /// Persons in all.
    pub persons: u64,
}

impl Figure {
    /// The value, if there is one.
    pub fn value(&self) -> Option<f64> {
        self.value.as_ref().ok().copied()
    }

    /// The share of persons it leaves out.
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

    /// Rows of weight 1 and 2 where the heaviest weighs 4, by rows and by counts.
    #[test]
    fn what_rows_weigh_is_kept_in_parts_of_the_heaviest() {
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

    /// A row that a metric leaves out could have come with another label.
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
