//! Suppression of small counts in a report that is to be shared.
//!
//! A count below `k` is not shown, nor anything it could be computed from. One question decides: for which kinds does a
//! set of rows have a count that is too small ([`Counts::few`])? It is asked of every group, of the rows whose group is
//! unknown, and of every subgroup of a scan.
//!
//! * **One attribute.** Groups are hidden until the hidden groups together hold at least `k` people and more people
//!   than groups, so that the total reveals none of them. For a shown group, a kind of counts (decisions, labels, both
//!   together and so on) is hidden with everything that rests on it. If any group hides a kind, every total and every
//!   comparison of all groups that depends on the kind is hidden, including its interval and p-value; two shown groups
//!   are still compared.
//! * **Several attributes.** Sums over one attribute give the totals of the others, so a kind that one group hides is
//!   hidden everywhere. An attribute with a group that is too small is not shown at all.
//! * **Intersections** are all shown or, if one has a count that is too small, none is.
//!
//! **When it fails.** Attributes that derive from one another (a region and its country), and several reports of one
//! table, can be subtracted from each other. Cells of more columns than the report combines are not checked. A verdict
//! is one bit about its figure.

use std::collections::BTreeSet;

use super::attack::under_attack;
use super::counts::{Counts, Kind};
use crate::metric::{self, Need};
use crate::{AuditError, Comparison, Estimate, Figure, Groups, Reason, Table, UNKNOWN};

/// Name of all groups together in a figure.
pub(super) const OVERALL: &str = "overall";

/// The hidden groups, kinds and groupings of a report.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    k: u64,
    /// Names of attributes and intersections without an attack; a twin under attack is hidden with its own.
    clean: BTreeSet<String>,
    /// Groups of which nothing is shown, not even their size, by attribute.
    groups: BTreeSet<(String, String)>,
    /// Hidden kinds of groups that are shown.
    counts: BTreeSet<(String, String, Kind)>,
    /// Groupings of which nothing is shown.
    whole: BTreeSet<String>,
    /// Kinds of which something is hidden, so that every total is hidden too.
    kinds: BTreeSet<Kind>,
    /// Whether a kind hidden for one group is still shown for others, which holds only with a single attribute.
    alone: bool,
    /// Whether the flips of a paired table are hidden, and (in `shifts`) its score shifts.
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

    /// Hides whatever must be hidden of an attribute. Returns whether anything was.
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

    /// Returns the kinds for which a group has a count below `k`, in its rows or in what its own figures rest on.
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

    /// Returns the kind of information a figure carries; everything an attack changes is [`Kind::Joint`].
    fn kind(&self, figure: &Figure) -> Kind {
        if self.base(&figure.attribute) == figure.attribute {
            Kind::of(figure.metric)
        } else {
            Kind::Joint
        }
    }

    /// Returns the attribute whose twin under attack this is, or the attribute itself.
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
            // If there are only as many people as groups, each group has one member.
            if n >= self.k && (hidden == 0 || (together >= self.k && together > hidden)) {
                break;
            }
            together += n;
            hidden += 1;
            let attribute = grouping.attribute().to_owned();
            self.groups.insert((attribute, name.to_owned()));
        }
    }

    /// Refuses a report in which every group of every attribute is hidden. A hidden intersection, or one hidden
    /// attribute of several, is fine.
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

    /// Whether the total over all groups of the attribute is hidden for a kind.
    pub(super) fn total(&self, attribute: &str, kind: Kind) -> bool {
        self.whole.contains(self.base(attribute)) || self.kinds.contains(&kind)
    }

    /// Whether nothing of the group is shown, not even its size.
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

    /// Returns the kind of information that counts of favourable decisions carry.
    pub(super) fn kind_of_decisions(&self, attribute: &str) -> Kind {
        if self.base(attribute) == attribute {
            Kind::Decision
        } else {
            Kind::Joint
        }
    }

    /// Whether the ids and flips of a paired table are hidden.
    pub(super) fn pairs(&self) -> bool {
        self.pairs
    }

    /// Whether anything of the attribute is hidden.
    pub(super) fn anything(&self, attribute: &str) -> bool {
        !self.kinds.is_empty() || self.whole.contains(self.base(attribute))
    }

    /// Whether a figure is hidden, with its interval and everything else about it.
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

    /// Returns why there is no value, without a count below `k`.
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
