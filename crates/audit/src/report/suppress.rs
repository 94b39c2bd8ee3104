//! What a report that is to be shared does not show.
//!
//! A count below `k` is not shown, nor what it could be computed from: the figures that rest on it, the other cells of
//! its confusion matrix, and the same figure of all together. Groups are hidden until those hidden together hold `k`
//! persons, so that the total gives none of them away.
//!
//! **When it fails.** Several attributes of one table, and several reports of it, can still be subtracted from each
//! other; a tolerance that fails says that much about the groups.

use std::collections::BTreeSet;

use super::attack::under_attack;
use crate::metric::{self, Need};
use crate::{AuditError, Cell, Coded, Comparison, Estimate, Figure, Groups, Reason, Table};

/// The name of all groups together in a figure.
pub(super) const OVERALL: &str = "overall";

type Key = (String, String, String);

/// What is hidden.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    k: u64,
    groups: BTreeSet<(String, String)>,
    rates: BTreeSet<Key>,
    /// Attributes of which nothing is shown.
    whole: BTreeSet<String>,
    /// Figures of the table as a whole that are hidden, by metric.
    of_table: BTreeSet<&'static str>,
}

impl Hidden {
    pub(super) fn new(k: u64, groupings: &[Groups<'_>], figures: &[Figure]) -> Self {
        let mut hidden = Self {
            k,
            ..Self::default()
        };
        if k < 2 {
            return hidden;
        }
        for grouping in groupings {
            hidden.small_groups(grouping);
        }
        let single = |f: &&Figure| f.comparison == Comparison::Group && f.value.is_ok();
        let mut metrics = BTreeSet::new();
        for figure in figures.iter().filter(single) {
            let grouping = groupings.iter().find(|g| g.attribute() == figure.attribute);
            let Some(group) = figure.groups.first() else {
                continue;
            };
            let cell = grouping
                .and_then(|g| g.groups().iter().find(|one| one.name == *group))
                .map(|g| &g.cell);
            if hidden.says_too_much(figure, group, cell) {
                hidden.rates.insert(key(figure, group, figure.metric));
                metrics.insert(figure.metric);
                if figure.metric == "attack_success_rate" {
                    // Right without attack less robust is broken; so is what the decisions under attack lack.
                    hidden.rates.insert(key(figure, group, "robust_accuracy"));
                    metrics.insert("robust_accuracy");
                    hidden.whole.insert(under_attack(&figure.attribute));
                    hidden.whole.insert(under_attack(""));
                }
            }
        }
        hidden.pairs(figures);
        for figure in figures {
            if figure.comparison == Comparison::Overall && metrics.contains(figure.metric) {
                hidden.rates.insert(key(figure, OVERALL, figure.metric));
            }
        }
        hidden
    }

    /// An intersection of small groups may well be hidden as a whole; an attribute that was asked for may not.
    pub(super) fn refuse_nothing_left(
        &self,
        table: &Table,
        groupings: &[Groups<'_>],
    ) -> Result<(), AuditError> {
        for attribute in table.attributes().iter().map(Coded::name) {
            let Some(grouping) = groupings.iter().find(|g| g.attribute() == attribute) else {
                continue;
            };
            if grouping
                .groups()
                .iter()
                .all(|g| self.group(attribute, &g.name))
            {
                let sizes = grouping.groups().iter().map(|g| g.cell.all().n);
                return Err(AuditError::Option {
                    option: "suppress",
                    value: format!(
                        "cells below {} leave no group of `{attribute}` (the largest has {} members)",
                        self.k,
                        sizes.max().unwrap_or(0)
                    ),
                    expected: "a smaller number, or fewer and larger groups".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// A gap between variants is a difference of flips, and hidden with them.
    fn pairs(&mut self, figures: &[Figure]) {
        let flips = figures
            .iter()
            .filter(|f| f.metric == "counterfactual_flip_rate");
        if flips.into_iter().any(|f| self.small_parts(f)) {
            self.of_table
                .extend(["counterfactual_flip_rate", "counterfactual_gap"]);
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
        let mut together = if unknown < self.k { unknown } else { 0 };
        for (n, name) in sizes {
            if n >= self.k && (together == 0 || together >= self.k) {
                break;
            }
            together += n;
            let attribute = grouping.attribute().to_owned();
            self.groups.insert((attribute, name.to_owned()));
        }
    }

    fn says_too_much(&self, figure: &Figure, group: &str, cell: Option<&Cell>) -> bool {
        if self.group(&figure.attribute, group) {
            return true;
        }
        let of_matrix = metric::find(figure.metric).is_ok_and(|e| {
            [Need::Decision, Need::Label]
                .iter()
                .all(|n| e.needs.contains(n))
        });
        if of_matrix && cell.is_some_and(|c| self.matrix(c)) {
            return true;
        }
        self.small_parts(figure)
    }

    fn small_parts(&self, figure: &Figure) -> bool {
        let parts = figure.basis.families.iter().flat_map(|f| &f.parts);
        parts.into_iter().any(|p| self.small(&p.estimate))
    }

    fn small(&self, estimate: &Estimate) -> bool {
        match estimate {
            Estimate::Share(s) | Estimate::Smoothed(s, _) => {
                let others = s.denominator.n.saturating_sub(s.numerator.n);
                self.few(s.numerator.n) || self.few(others)
            }
            Estimate::Folded(_) | Estimate::Mean(_) => self.few(estimate.denominator().n),
        }
    }

    /// Whether so many are too few to be shown.
    pub(super) fn few(&self, n: u64) -> bool {
        self.k > 1 && n < self.k
    }

    /// The same where nobody is no secret.
    pub(super) fn some_but_few(&self, n: u64) -> bool {
        n > 0 && self.few(n)
    }

    /// Whether a cell of the confusion matrix is too small for the matrix to be shown.
    pub(super) fn matrix(&self, cell: &Cell) -> bool {
        [cell.tp, cell.fp, cell.fn_, cell.tn]
            .iter()
            .any(|c| self.few(c.n))
    }

    /// Whether the group's counts are hidden.
    pub(super) fn group(&self, attribute: &str, group: &str) -> bool {
        self.groups
            .contains(&(attribute.to_owned(), group.to_owned()))
    }

    /// The groups hidden of an attribute.
    pub(super) fn groups_of(&self, attribute: &str) -> Vec<String> {
        let of = self.groups.iter().filter(|g| g.0 == attribute);
        of.map(|g| g.1.clone()).collect()
    }

    /// Whether nothing of the attribute is shown.
    pub(super) fn whole(&self, attribute: &str) -> bool {
        self.whole.contains(attribute)
    }

    /// Whether the group's rate is hidden.
    pub(super) fn rate(&self, attribute: &str, group: &str, rate: &str) -> bool {
        if self.whole(attribute) {
            return true;
        }
        let key = (attribute.to_owned(), group.to_owned(), rate.to_owned());
        self.rates.contains(&key)
    }

    /// Whether a comparison is hidden, as a rate or a group it is made of is. The value of one that names its groups is
    /// theirs alone; one that names none is made of all.
    pub(super) fn figure(&self, figure: &Figure) -> bool {
        if self.whole(&figure.attribute) || self.of_table.contains(figure.metric) {
            return true;
        }
        let named = |name: &String| figure.groups.is_empty() || figure.groups.contains(name);
        figure.basis.families.iter().any(|family| {
            let parts = family.parts.iter().chain(&family.against);
            parts.into_iter().any(|p| {
                named(&p.name)
                    && (self.rate(&figure.attribute, &p.name, family.rate)
                        || self.group(&figure.attribute, &p.name)
                        || self.small(&p.estimate))
            })
        })
    }

    /// Why there is no value, without saying how few too few are.
    pub(super) fn reason(&self, reason: &Reason) -> String {
        match reason {
            Reason::TooFew { n, min_n } if self.some_but_few(*n) => {
                format!(
                    "too few in the denominator, fewer than {}",
                    self.k.max(*min_n)
                )
            }
            _ => reason.to_string(),
        }
    }
}

fn key(figure: &Figure, group: &str, rate: &str) -> Key {
    (figure.attribute.clone(), group.to_owned(), rate.to_owned())
}
