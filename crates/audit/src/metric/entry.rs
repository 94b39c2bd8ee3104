//! Definition of a metric, and of the columns it needs.

use super::contrast::Last;
use crate::figure::{Folded, Mean};
use crate::{AuditError, Cell, Figure, Groups, Reason, Settings, Share, Table};

/// A column that a metric requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Decisions.
    Decision,
    /// Labels.
    Label,
    /// Scores.
    Score,
    /// Scores that all lie in `[0, 1]`.
    Probability,
    /// True values of a regression.
    Target,
    /// A stratum.
    Stratum,
    /// Features.
    Features,
    /// Row ids and variants.
    Pairs,
    /// Outcomes under attack.
    Outcome,
}

impl Need {
    /// Values that single rows may lack; those rows are left out of the metrics that need them.
    pub(crate) const OF_ROWS: [Self; 5] = [
        Self::Decision,
        Self::Label,
        Self::Score,
        Self::Target,
        Self::Features,
    ];

    /// Returns its description for messages: the column and the option that provides it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Decision => "decisions (`decision`, or `score` with `threshold`)",
            Self::Label => "labels (`label`)",
            Self::Score => "scores (`score`)",
            Self::Probability => "scores between 0 and 1 (`score`)",
            Self::Target => "true values (`target`)",
            Self::Stratum => "a stratum (`stratum`)",
            Self::Features => "features (`features`)",
            Self::Pairs => "pairs (`id` and `variant`)",
            Self::Outcome => "outcomes under attack (an attack report)",
        }
    }

    /// Whether the table has it.
    pub fn is_met(self, table: &Table) -> bool {
        match self {
            Self::Decision => table.decision().is_some(),
            Self::Label => table.label().is_some(),
            Self::Score => table.score().is_some(),
            Self::Probability => table.scores_are_probabilities(),
            Self::Target => table.target().is_some(),
            Self::Stratum => table.stratum().is_some(),
            Self::Features => !table.features().is_empty(),
            Self::Pairs => table.id().is_some() && table.variant().is_some(),
            Self::Outcome => table.outcome().is_some(),
        }
    }
}

/// The value a fair model would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ideal {
    /// No ideal: the rate of a group.
    None,
    /// 0, for a gap: the larger, the less fair.
    Zero,
    /// 1, for a ratio: the smaller, the less fair.
    One,
}

/// Rows of a table, for example those of one group or of all groups.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The table.
    pub table: &'a Table,
    /// The rows.
    pub rows: &'a [u32],
}

impl<'a> Rows<'a> {
    /// Iterates over row numbers with their weights; skips rows of weight 0.
    pub fn weighted(self) -> impl Iterator<Item = (usize, f64)> + 'a {
        let table = self.table;
        self.rows
            .iter()
            .map(|r| *r as usize)
            .map(move |r| (r, table.weight(r)))
            .filter(|(_, w)| *w > 0.0)
    }
}

/// How a statistic is computed.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// A proportion from the counts of a group.
    Cell(fn(&Cell) -> Share),
    /// A proportion counted row by row.
    Share(fn(Rows<'_>) -> Share),
    /// A mean of absolute values, from the rows of a group.
    Folded(fn(Rows<'_>, &Settings) -> Result<Folded, Reason>),
    /// A mean, from the rows of a group.
    Mean(fn(Rows<'_>, &Settings) -> Result<Mean, Reason>),
    /// The square root of a mean.
    Root(fn(Rows<'_>, &Settings) -> Result<Mean, Reason>),
}

/// One number per group.
#[derive(Clone, Copy)]
pub struct Statistic {
    /// Its id, from which the ids of its contrasts are built.
    pub id: &'static str,
    pub(crate) of: Of,
}

impl std::fmt::Debug for Statistic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statistic")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// How a statistic is contrasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contrast {
    /// No contrast: each group, and all groups together.
    Plain,
    /// Largest minus smallest.
    Difference,
    /// Smallest over largest.
    Ratio,
    /// Group minus all groups together.
    DifferenceToOverall,
    /// Group over all groups together.
    RatioToOverall,
    /// Group minus reference.
    DifferenceToReference,
    /// Group over reference.
    RatioToReference,
}

#[derive(Clone, Copy)]
pub(crate) enum Run {
    Contrast(&'static Statistic, Contrast),
    Groups(fn(&'static MetricEntry, &Groups<'_>, &Settings) -> Vec<Figure>),
    Table(fn(&'static MetricEntry, &Table, &Settings) -> Vec<Figure>),
}

/// A metric in the list.
#[derive(Clone, Copy)]
pub struct MetricEntry {
    /// Its id.
    pub id: &'static str,
    /// Alternative names.
    pub aliases: &'static [&'static str],
    /// Columns it requires.
    pub needs: &'static [Need],
    /// Its definition, as a formula.
    pub definition: &'static str,
    /// Meaning of the sign, or of the side of 1, of its figures.
    pub sign: &'static str,
    /// Its source in the literature.
    pub source: &'static str,
    /// The value a fair model would have.
    pub ideal: Ideal,
    pub(crate) run: Run,
}

impl std::fmt::Debug for MetricEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricEntry")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl MetricEntry {
    /// Returns the columns that it needs and the table lacks.
    pub fn missing(&self, table: &Table) -> Vec<Need> {
        let missing = self.needs.iter().copied().filter(|n| !n.is_met(table));
        missing.collect()
    }

    /// Fails with the names of the columns that it needs and the table lacks, if there are any.
    pub(crate) fn require(&self, table: &Table) -> Result<(), AuditError> {
        let missing = self.missing(table);
        if missing.is_empty() {
            return Ok(());
        }
        let needs: Vec<&str> = missing.iter().map(|n| n.describe()).collect();
        Err(AuditError::Needs {
            metric: self.id,
            needs: needs.join(" and "),
        })
    }

    /// Whether it applies to the table as a whole rather than to a grouping.
    pub fn is_of_table(&self) -> bool {
        matches!(self.run, Run::Table(_))
    }

    /// Returns its figures over one grouping; none if it applies to the table as a whole, or if the table lacks a
    /// column.
    pub fn figures(&'static self, groups: &Groups<'_>, settings: &Settings) -> Vec<Figure> {
        self.figures_after(groups, settings, &mut Last::default())
    }

    /// Returns the same, reusing the statistic computed last over the same grouping.
    pub(crate) fn figures_after(
        &'static self,
        groups: &Groups<'_>,
        settings: &Settings,
        last: &mut Last,
    ) -> Vec<Figure> {
        if !self.missing(groups.table()).is_empty() {
            return Vec::new();
        }
        match self.run {
            Run::Contrast(statistic, contrast) => {
                super::contrast::figures(self, statistic, contrast, groups, settings, last)
            }
            Run::Groups(run) => run(self, groups, settings),
            Run::Table(_) => Vec::new(),
        }
    }

    /// Returns its figures of a table as a whole; none if it applies to groupings, or if the table lacks a column.
    pub fn table_figures(&'static self, table: &Table, settings: &Settings) -> Vec<Figure> {
        match self.run {
            Run::Table(run) if self.missing(table).is_empty() => run(self, table, settings),
            _ => Vec::new(),
        }
    }
}

/// The entries of a statistic: itself and its six contrasts. The optional arguments are aliases of single entries.
macro_rules! entries {
    (
        $statistic:ident, $id:literal, needs: $needs:expr, definition: $definition:literal, source: $source:literal
        $(, plain: $plain:expr)?
        $(, difference: $difference:expr)?
        $(, ratio: $ratio:expr)?
        $(, difference_to_reference: $to_reference:expr)?
        $(, ratio_to_reference: $ratio_to_reference:expr)?
        $(,)?
    ) => {
        [
            $crate::metric::entry::entry!(
                $statistic, $id, "", Plain, $needs, $source, None, [$($plain)?],
                $definition, "none: one number per group"
            ),
            $crate::metric::entry::entry!(
                $statistic, $id, "_difference", Difference, $needs, $source, Zero, [$($difference)?],
                concat!("largest less smallest over the groups of ", $definition),
                "never negative; the groups named are the largest, then the smallest"
            ),
            $crate::metric::entry::entry!(
                $statistic, $id, "_ratio", Ratio, $needs, $source, One, [$($ratio)?],
                concat!("smallest over largest over the groups of ", $definition),
                "at most 1; the groups named are the smallest, then the largest"
            ),
            $crate::metric::entry::entry!(
                $statistic, $id, "_difference_to_overall", DifferenceToOverall, $needs, $source, Zero, [],
                concat!("group less all groups together of ", $definition, "; the headline is the farthest, unsigned"),
                "positive: the group has more than all together"
            ),
            $crate::metric::entry::entry!(
                $statistic, $id, "_ratio_to_overall", RatioToOverall, $needs, $source, One, [],
                concat!("group over all groups together of ", $definition, "; the headline is the farthest from 1, inverted if above it"),
                "above 1: the group has more than all together"
            ),
            $crate::metric::entry::entry!(
                $statistic, $id, "_difference_to_reference", DifferenceToReference, $needs, $source, Zero, [$($to_reference)?],
                concat!("group less reference group of ", $definition, "; the headline is the farthest, unsigned"),
                "positive: the group has more than the reference"
            ),
            $crate::metric::entry::entry!(
                $statistic, $id, "_ratio_to_reference", RatioToReference, $needs, $source, One, [$($ratio_to_reference)?],
                concat!("group over reference group of ", $definition, "; the headline is the farthest from 1, inverted if above it"),
                "above 1: the group has more than the reference"
            ),
        ]
    };
}

macro_rules! entry {
    (@aliases) => { &[] };
    (@aliases $aliases:expr) => { $aliases };
    (
        $statistic:ident, $id:literal, $tail:literal, $contrast:ident, $needs:expr, $source:literal, $ideal:ident,
        [$($aliases:expr)?], $definition:expr, $sign:literal
    ) => {
        $crate::metric::MetricEntry {
            id: concat!($id, $tail),
            aliases: $crate::metric::entry::entry!(@aliases $($aliases)?),
            needs: $needs,
            definition: $definition,
            sign: $sign,
            source: $source,
            ideal: $crate::metric::Ideal::$ideal,
            run: $crate::metric::Run::Contrast(&$statistic, $crate::metric::Contrast::$contrast),
        }
    };
}

/// The entries of a statistic that can have either sign: itself and its three differences.
macro_rules! differences {
    ($($all:tt)*) => {{
        const ALL: [$crate::metric::MetricEntry; 7] = $crate::metric::entry::entries!($($all)*);
        [ALL[0], ALL[1], ALL[3], ALL[5]]
    }};
}

pub(crate) use {differences, entries, entry};
