//! What a report that is to be shared does not show.
//!
//! A count below `k` is not shown, nor anything it could be computed from. One question decides: of which kinds does a
//! set of rows have a count that is too small ([`Counts::few`])? It is asked of every group, of the rows whose group is
//! unknown, and of every subgroup of a scan.
//!
//! * **One attribute.** Groups are hidden until those hidden together hold `k` persons and leave a choice, so that the
//!   total gives none of them away. Of a group that is shown, a kind of counts (decisions, labels, both together and so
//!   on) is hidden with all that rests on it. Where any group hides a kind, no total and no comparison of all groups
//!   tells of it, its interval and p-value included; two groups that are shown are still compared.
//! * **Several attributes.** Sums over one give the totals of the others, so a kind that one group hides is hidden
//!   everywhere. An attribute with a group too small is not shown at all.
//! * **Intersections** are all shown or, where one has a count too small, none.
//!
//! **When it fails.** Attributes that are made of one another (a region and its country), and several reports of one
//! table, can be subtracted from each other. Cells of more columns than the report combines are not looked at. A
//! verdict is one bit about its figure.

use std::collections::BTreeSet;

use super::attack::under_attack;
use super::counts::{Counts, Kind};
use crate::metric::{self, Need};
use crate::{AuditError, Comparison, Estimate, Figure, Groups, Reason, Table, UNKNOWN};

/// The name of all groups together in a figure.
pub(super) const OVERALL: &str = "overall";

/// What is hidden.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    k: u64,
    /// Attributes and intersections as the table has them: a twin under attack is hidden with its own.
    clean: BTreeSet<String>,
    /// Groups of which nothing is shown, not even how many they are, by attribute.
    groups: BTreeSet<(String, String)>,
    /// Kinds hidden of a group that is shown.
    counts: BTreeSet<(String, String, Kind)>,
    /// Groupings of which nothing is shown.
    whole: BTreeSet<String>,
    /// Kinds of which something is hidden, and therefore every total.
    kinds: BTreeSet<Kind>,
    /// Whether of a kind that is hidden somewhere other groups are still shown: there is but one attribute.
    alone: bool,
    /// Whether flips are hidden, and the shifts of scores.
    pairs: bool,
    shifts: bool,
}

impl Hidden {
    pub(super) fn new(
        k: u64,
        table: &Table,
        attacked: Option<&Table>,
        groupings: &[Groups<'_>],
        figures: &[Figure],
        intersections: usize,
    ) -> Self {
        let mut hidden = Self {
            k,
            ..Self::default()
        };
        if k < 2 {
            return hidden;
        }
        let counts = Counts::new(k, table, attacked);
        hidden.pairs = super::pairs::few(table, k);
        hidden.shifts = hidden.pairs || counts.graded();
        let twins: BTreeSet<String> = match attacked {
            Some(_) => groupings
                .iter()
                .map(|g| under_attack(g.attribute()))
                .collect(),
            None => BTreeSet::new(),
        };
        let names = groupings.iter().map(|g| g.attribute().to_owned());
        hidden.clean = names.filter(|name| !twins.contains(name)).collect();
        hidden.alone = table.attributes().len() == 1;
        let (attributes, crossed): (Vec<&Groups<'_>>, Vec<&Groups<'_>>) = groupings
            .iter()
            .filter(|g| hidden.clean.contains(g.attribute()))
            .partition(|g| is_attribute(table, g.attribute()));
        let mut any = false;
        for grouping in attributes {
            any |= hidden.attribute(&counts, grouping, figures);
        }
        let small = |g: &&Groups<'_>| {
            let mut of = (0..g.groups().len()).map(|at| hidden.few_of(&counts, g, at, figures));
            of.any(|few| !few.is_empty())
        };
        if any
            || !crossed.is_empty() && counts.few_together(intersections).next().is_some()
            || crossed.iter().any(small)
        {
            let names = crossed.iter().map(|g| g.attribute().to_owned());
            hidden.whole.extend(names);
        }
        hidden
    }

    /// Hides what is to be hidden of an attribute; whether there was anything.
    fn attribute(
        &mut self,
        counts: &Counts<'_>,
        grouping: &Groups<'_>,
        figures: &[Figure],
    ) -> bool {
        let name = grouping.attribute();
        let unknown = Self::of_unknown(counts, grouping);
        let few: Vec<BTreeSet<Kind>> = (0..grouping.groups().len())
            .map(|at| self.few_of(counts, grouping, at, figures))
            .collect();
        let of_size = unknown.contains(&Kind::Size) || few.iter().any(|f| f.contains(&Kind::Size));
        if of_size && !self.alone {
            self.whole.insert(name.to_owned());
            return true;
        }
        if of_size {
            self.small_groups(grouping);
            self.kinds.extend(Kind::ALL);
        }
        self.kinds.extend(few.iter().flatten().chain(&unknown));
        for (group, few) in grouping.groups().iter().zip(&few) {
            let each = few
                .iter()
                .map(|kind| (name.to_owned(), group.name.clone(), *kind));
            self.counts.extend(each);
        }
        !unknown.is_empty() || few.iter().any(|f| !f.is_empty())
    }

    fn of_unknown(counts: &Counts<'_>, grouping: &Groups<'_>) -> BTreeSet<Kind> {
        if grouping.unknown().n == 0 {
            return BTreeSet::new();
        }
        let of = grouping.of().iter().enumerate();
        let rows: Vec<u32> = of
            .filter(|(_, g)| **g == UNKNOWN)
            .map(|(row, _)| row as u32)
            .collect();
        counts.few(&rows)
    }

    /// Of which kinds a group has too few, by its rows and by what the figures of it alone rest on.
    fn few_of(
        &self,
        counts: &Counts<'_>,
        grouping: &Groups<'_>,
        at: usize,
        figures: &[Figure],
    ) -> BTreeSet<Kind> {
        let mut few = counts.few(grouping.rows(at));
        let name = &grouping.groups()[at].name;
        let attribute = grouping.attribute();
        let own = |f: &&Figure| {
            f.comparison == Comparison::Group
                && self.base(&f.attribute) == attribute
                && f.groups.first() == Some(name)
        };
        for figure in figures.iter().filter(own) {
            let parts = figure.basis.families.iter().flat_map(|f| &f.parts);
            let short = matches!(&figure.value, Err(Reason::TooFew { n, .. }) if *n < self.k);
            if short || parts.into_iter().any(|p| self.small(&p.estimate)) {
                few.insert(self.kind(figure));
            }
        }
        few
    }

    /// What a figure tells of: all that an attack changes belongs together.
    fn kind(&self, figure: &Figure) -> Kind {
        if self.base(&figure.attribute) == figure.attribute {
            Kind::of(figure.metric)
        } else {
            Kind::Joint
        }
    }

    /// The attribute that one under attack is a twin of.
    fn base<'n>(&self, attribute: &'n str) -> &'n str {
        match attribute.strip_suffix(super::UNDER_ATTACK) {
            Some(of) if !self.clean.contains(attribute) => of.trim_end(),
            _ => attribute,
        }
    }

    fn small(&self, estimate: &Estimate) -> bool {
        match estimate {
            Estimate::Share(s) | Estimate::Smoothed(s, _) => {
                let others = s.denominator.n.saturating_sub(s.numerator.n);
                s.numerator.n.min(others) < self.k
            }
            _ => estimate.denominator().n < self.k,
        }
    }

    fn small_groups(&mut self, grouping: &Groups<'_>) {
        let unknown = grouping.unknown().n;
        let mut sizes: Vec<(u64, &str)> = grouping
            .groups()
            .iter()
            .map(|g| (g.cell.all().n, g.name.as_str()))
            .collect();
        sizes.sort_unstable();
        let (mut together, mut hidden) = if unknown > 0 && unknown < self.k {
            (unknown, 1)
        } else {
            (0, 0)
        };
        for (n, name) in sizes {
            // As many persons as groups are one each.
            if n >= self.k && (hidden == 0 || (together >= self.k && together > hidden)) {
                break;
            }
            together += n;
            hidden += 1;
            let attribute = grouping.attribute().to_owned();
            self.groups.insert((attribute, name.to_owned()));
        }
    }

    /// An intersection of small groups may well be hidden as a whole, and one attribute of several; not all of them.
    pub(super) fn refuse_nothing_left(
        &self,
        table: &Table,
        groupings: &[Groups<'_>],
    ) -> Result<(), AuditError> {
        let attributes = groupings
            .iter()
            .filter(|g| is_attribute(table, g.attribute()));
        let mut left = attributes
            .clone()
            .flat_map(|g| g.groups().iter().map(move |one| (g, one)));
        let Some(first) = attributes.clone().next() else {
            return Ok(());
        };
        if left.any(|(g, one)| !self.group(g.attribute(), &one.name)) {
            return Ok(());
        }
        let attribute = first.attribute();
        let sizes = first.groups().iter().map(|g| g.cell.all().n);
        let most = sizes.max().unwrap_or(0);
        let (value, expected) = if attributes.count() > 1 {
            (
                format!(
                    "every attribute has a group below {}, or as few whose group is unknown",
                    self.k
                ),
                "a smaller number, fewer and larger groups, or one attribute at a time",
            )
        } else {
            (
                format!(
                    "cells below {} leave no group of `{attribute}` (the largest has {most} members)",
                    self.k
                ),
                "a smaller number, or fewer and larger groups",
            )
        };
        Err(AuditError::Option {
            option: "suppress",
            value,
            expected: expected.to_owned(),
        })
    }

    /// Whether what all groups of the attribute have together is hidden.
    pub(super) fn total(&self, attribute: &str, kind: Kind) -> bool {
        self.whole.contains(self.base(attribute)) || self.kinds.contains(&kind)
    }

    /// Whether nothing of the group is shown, not even how many they are.
    pub(super) fn group(&self, attribute: &str, group: &str) -> bool {
        let attribute = self.base(attribute);
        self.whole.contains(attribute)
            || self
                .groups
                .contains(&(attribute.to_owned(), group.to_owned()))
    }

    /// Whether a kind of counts of the group is hidden.
    pub(super) fn counts(&self, attribute: &str, group: &str, kind: Kind) -> bool {
        if self.group(attribute, group) {
            return true;
        }
        if !self.alone {
            return self.kinds.contains(&kind);
        }
        let key = (self.base(attribute).to_owned(), group.to_owned(), kind);
        self.counts.contains(&key)
    }

    /// What counts of favourable decisions tell of.
    pub(super) fn kind_of_decisions(&self, attribute: &str) -> Kind {
        if self.base(attribute) == attribute {
            Kind::Decision
        } else {
            Kind::Joint
        }
    }

    /// Whether ids and flips of a paired table are hidden.
    pub(super) fn pairs(&self) -> bool {
        self.pairs
    }

    /// Whether anything at all is hidden of the attribute.
    pub(super) fn anything(&self, attribute: &str) -> bool {
        !self.kinds.is_empty() || self.whole.contains(self.base(attribute))
    }

    /// Whether a figure is hidden, with its interval and all else that is said of it.
    pub(super) fn figure(&self, figure: &Figure) -> bool {
        if metric::find(figure.metric).is_ok_and(|e| e.needs.contains(&Need::Pairs)) {
            return if figure.metric == "counterfactual_score_shift" {
                self.shifts
            } else {
                self.pairs
            };
        }
        let (attribute, kind) = (&figure.attribute, self.kind(figure));
        match figure.comparison {
            Comparison::Group | Comparison::Pair | Comparison::GroupToReference => {
                let mut groups = figure.groups.iter();
                groups.any(|g| self.counts(attribute, g, kind))
            }
            _ => self.total(attribute, kind),
        }
    }

    /// Why there is no value, without saying how few too few are.
    pub(super) fn reason(&self, reason: &Reason) -> String {
        match reason {
            Reason::TooFew { n, min_n } if self.k > 1 && *n < self.k => {
                format!(
                    "too few in the denominator, fewer than {}",
                    self.k.max(*min_n)
                )
            }
            _ => reason.to_string(),
        }
    }
}

fn is_attribute(table: &Table, name: &str) -> bool {
    table.attributes().iter().any(|a| a.name() == name)
}
