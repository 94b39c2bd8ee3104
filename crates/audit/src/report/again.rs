//! Judging a report again: by another tolerance, or together with other tables.

use std::collections::BTreeSet;

use super::{AuditReport, Ends, Gate, Metric, attack};
use crate::{AuditError, By, Comparison, Figure, Reason, Requirement, judge, metric};

impl AuditReport {
    /// How many of its figures these requirements judge together by their intervals.
    pub fn family(&self, requirements: &[Requirement]) -> Result<usize, AuditError> {
        let judged = self.judged_again(requirements, self.settings.level, None)?;
        Ok(family_of(&judged))
    }

    /// Holds its headlines against requirements, as [`super::report()`] held those of the table; `elsewhere` counts the
    /// figures of the same family in other reports.
    ///
    /// What a report suppresses cannot be computed again. Its gate is taken over, and must be of the same requirement,
    /// level and family; with `elsewhere` none it is taken over as it is.
    pub fn judged_again(
        &self,
        requirements: &[Requirement],
        level: f64,
        elsewhere: Option<usize>,
    ) -> Result<Vec<Gate>, AuditError> {
        let requirements = &requirements
            .iter()
            .map(Requirement::checked)
            .collect::<Result<Vec<_>, _>>()?;
        let mut figures = Vec::new();
        let mut secret = Vec::new();
        for requirement in requirements {
            let mut any = false;
            for metric in self.metrics.iter().filter(|m| m.headline) {
                let figure = figure(metric)?;
                if !requirement.gates(&figure) {
                    continue;
                }
                any = true;
                if metric.is_suppressed() {
                    secret.push((requirement, figure));
                } else if !figures.contains(&figure) {
                    figures.push(figure);
                }
            }
            if !any {
                return Err(AuditError::Report(format!(
                    "it has no figure for `{requirement}`"
                )));
            }
        }
        let taken = secret
            .iter()
            .map(|(requirement, figure)| self.suppressed(requirement, figure))
            .collect::<Result<Vec<Gate>, _>>()?;
        let hidden = family_of(&taken);
        let together = elsewhere.unwrap_or(0) + hidden;
        let mut gates = Vec::new();
        let judged = judge(&figures, requirements, level, together);
        for (figure, judgement) in figures.iter().zip(&judged) {
            for ruling in &judgement.rulings {
                let requirement = &requirements[ruling.requirement];
                let judged = ruling.interval.is_some();
                let (verdict, distrust) =
                    attack::ruled(self.attack.as_ref(), figure, ruling.verdict);
                let why = self.why(figure, requirement.by == By::Interval && !judged);
                gates.push(Gate {
                    requirement: requirement.to_string(),
                    metric: figure.metric.to_owned(),
                    attribute: figure.attribute.clone(),
                    judge: requirement.by.as_str().to_owned(),
                    value: figure.value(),
                    interval: ruling.interval.map(Ends::from),
                    family: judged,
                    verdict,
                    needed: ruling.needed,
                    reason: distrust.or(why),
                });
            }
        }
        let family = family_of(&gates) + together;
        let same = self.settings.family == family as u64 && same_number(self.settings.level, level);
        if hidden > 0 && elsewhere.is_some() && !same {
            return Err(AuditError::Report(format!(
                "what it suppresses was judged at {} with {} figures together, and is asked for at {level} with {family}: audit the table again",
                self.settings.level, self.settings.family
            )));
        }
        gates.extend(taken);
        let order = |g: &Gate| {
            let own = |m: &Metric| m.metric == g.metric && m.attribute == g.attribute;
            self.metrics.iter().position(|m| m.headline && own(m))
        };
        gates.sort_by_key(order);
        Ok(gates)
    }

    fn suppressed(&self, requirement: &Requirement, figure: &Figure) -> Result<Gate, AuditError> {
        let text = requirement.to_string();
        let found = self.gates.iter().find(|g| {
            g.requirement == text
                && g.metric == figure.metric
                && g.attribute == figure.attribute
                && g.judge == requirement.by.as_str()
        });
        found.cloned().ok_or_else(|| {
            AuditError::Report(format!(
                "suppresses what `{text}` is about, and was not asked for it: audit the table again"
            ))
        })
    }

    /// Why there is nothing to judge.
    fn why(&self, figure: &Figure, unjudged: bool) -> Option<String> {
        let own = |m: &&Metric| {
            m.headline && m.metric == figure.metric && m.attribute == figure.attribute
        };
        let told = self.metrics.iter().find(own).and_then(|m| m.reason.clone());
        told.or_else(|| unjudged.then(|| super::NO_INTERVAL.to_owned()))
    }
}

/// Figures that are judged together, each once.
fn family_of(gates: &[Gate]) -> usize {
    let own = gates.iter().filter(|g| g.family);
    let figures: BTreeSet<(&str, &str)> = own
        .map(|g| (g.metric.as_str(), g.attribute.as_str()))
        .collect();
    figures.len()
}

fn same_number(a: f64, b: f64) -> bool {
    // Text keeps seventeen digits, but not every reader of JSON does.
    (a - b).abs() <= 1e-12
}

/// The figure that a report tells of; all that judging asks for.
fn figure(told: &Metric) -> Result<Figure, AuditError> {
    Ok(Figure {
        metric: metric::find(&told.metric)?.id,
        attribute: told.attribute.clone(),
        comparison: Comparison::Whole,
        groups: told.groups.clone(),
        // Which reason it was is for the report to tell.
        value: told.value.ok_or(Reason::NothingToCompareWith),
        n: told.n.clone(),
        basis: told.basis.clone().unwrap_or_else(crate::Basis::nothing),
        left_out: Vec::new(),
        persons_left_out: told.persons_left_out.unwrap_or(0),
        persons: told.persons.unwrap_or(0),
    })
}
