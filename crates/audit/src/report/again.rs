//! Judging a report again: by another tolerance, or together with other tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{AuditReport, Metric, RequirementResult, attack};
use crate::judge::check_level;
use crate::{AuditError, By, Comparison, Figure, Reason, Requirement, judge, metric};

impl AuditReport {
    /// Returns the number of figures that these requirements judge together by their intervals.
    pub fn family(&self, requirements: &[Requirement]) -> Result<usize, AuditError> {
        let judged = self.judged_again(requirements, self.settings.level, None)?;
        Ok(family_of(&judged))
    }

    /// Judges the report's headlines against requirements, as [`super::report()`] does for a table. `elsewhere` is the
    /// number of figures of the same family in other reports.
    ///
    /// A report that suppresses cells does not contain the parts of its figures, so its stored gates are returned. They
    /// must have the same requirements, level and family; if `elsewhere` is `None`, only the requirements are checked.
    pub fn judged_again(
        &self,
        requirements: &[Requirement],
        level: f64,
        elsewhere: Option<usize>,
    ) -> Result<Vec<RequirementResult>, AuditError> {
        check_level(level)?;
        let requirements: Vec<Requirement> = requirements
            .iter()
            .map(Requirement::checked)
            .collect::<Result<_, _>>()?;
        if self.settings.suppress > 1 {
            return self.taken_over(&requirements, level, elsewhere);
        }
        let gates = |r: &Requirement, m: &Metric| {
            m.headline
                && r.metric == m.metric
                && r.attribute.as_ref().is_none_or(|a| *a == m.attribute)
        };
        if let Some(missing) = requirements
            .iter()
            .find(|r| !self.metrics.iter().any(|m| gates(r, m)))
        {
            return Err(AuditError::Report(format!(
                "it has no figure for `{missing}`"
            )));
        }
        let gated = |m: &&Metric| requirements.iter().any(|r| gates(r, m));
        let figures: Vec<Figure> = self
            .metrics
            .iter()
            .filter(gated)
            .map(|m| {
                self.refuse_without_basis(m)?;
                figure(self, m)
            })
            .collect::<Result<_, _>>()?;
        let mut gates = Vec::new();
        let judged = judge(&figures, &requirements, level, elsewhere.unwrap_or(0));
        for (figure, judgement) in figures.iter().zip(&judged) {
            for ruling in &judgement.rulings {
                let requirement = &requirements[ruling.requirement];
                let judged = ruling.interval.is_some();
                let (verdict, distrust) =
                    attack::ruled(self.attack.as_ref(), figure, ruling.verdict);
                let why = self.why(figure, requirement.by == By::Interval && !judged);
                gates.push(RequirementResult {
                    requirement: requirement.to_string(),
                    metric: figure.metric.to_owned(),
                    attribute: figure.attribute.clone(),
                    judge: requirement.by.as_str().to_owned(),
                    value: figure.value(),
                    interval: ruling.interval,
                    family: judged,
                    verdict,
                    needed: ruling.needed,
                    reason: distrust.or(why),
                });
            }
        }
        Ok(gates)
    }

    fn taken_over(
        &self,
        requirements: &[Requirement],
        level: f64,
        elsewhere: Option<usize>,
    ) -> Result<Vec<RequirementResult>, AuditError> {
        let is = |g: &RequirementResult, r: &Requirement| {
            g.requirement == r.to_string() && g.judge == r.by.as_str()
        };
        if let Some(missing) = requirements
            .iter()
            .find(|r| !self.gates.iter().any(|g| is(g, r)))
        {
            return Err(AuditError::Report(format!(
                "it suppresses cells, and was not asked for `{missing}`: audit the table again"
            )));
        }
        let is_required = |g: &&RequirementResult| requirements.iter().any(|r| is(g, r));
        let gates: Vec<RequirementResult> =
            self.gates.iter().filter(is_required).cloned().collect();
        let Some(elsewhere) = elsewhere else {
            return Ok(gates);
        };
        let family = family_of(&gates) + elsewhere;
        // JSON text keeps seventeen digits, but not every JSON reader does.
        let same_level = (self.settings.level - level).abs() <= 1e-12;
        if same_level && self.settings.family == family as u64 {
            Ok(gates)
        } else {
            Err(AuditError::Report(format!(
                "it suppresses cells, and was judged at {} with {} figures together; asked for is {level} with {family}: audit the table again",
                self.settings.level, self.settings.family
            )))
        }
    }

    /// Refuses a figure whose parts are not stored: with many groups, a report stores the parts of gated figures only.
    fn refuse_without_basis(&self, metric: &Metric) -> Result<(), AuditError> {
        let own = self
            .attributes
            .iter()
            .find(|a| a.attribute == metric.attribute);
        let detail = self.settings.measured.detail_groups as u64;
        if metric.value.is_none()
            || metric.basis.is_some()
            || own.is_none_or(|a| a.groups <= detail)
        {
            return Ok(());
        }
        Err(AuditError::Report(format!(
            "it does not tell what `{}` of `{}` is made of, as nothing gated it and there are more than {detail} groups: \
             audit the table again with that requirement, or with more `detail_groups`",
            metric.metric, metric.attribute
        )))
    }

    /// Returns why there is nothing to judge.
    fn why(&self, figure: &Figure, unjudged: bool) -> Option<String> {
        let own = |m: &&Metric| {
            m.headline && m.metric == figure.metric && m.attribute == figure.attribute
        };
        let reason = self.metrics.iter().find(own).and_then(|m| m.reason.clone());
        reason.or_else(|| unjudged.then(|| super::no_interval(figure.metric)))
    }
}

/// Counts the figures that are judged together, each once.
fn family_of(gates: &[RequirementResult]) -> usize {
    let own = gates.iter().filter(|g| g.family);
    let figures: BTreeSet<(&str, &str)> = own
        .map(|g| (g.metric.as_str(), g.attribute.as_str()))
        .collect();
    figures.len()
}

/// Rebuilds the figure from a report, with everything that judging needs. Refuses a value that differs from what its
/// parts give, because a point rule would use the value and an interval the parts.
fn figure(report: &AuditReport, metric: &Metric) -> Result<Figure, AuditError> {
    /// Relative tolerance: JSON text keeps seventeen digits but not every JSON reader does, and sums round.
    const ROUNDING: f64 = 1e-9;
    let basis = match &metric.basis {
        Some(made_of) => report.basis(made_of)?,
        None => crate::Basis::nothing(),
    };
    if let Some(value) = metric.value {
        let made = basis.value();
        let same = |m: f64| (m - value).abs() <= ROUNDING * value.abs().max(1.0);
        if !made.is_some_and(same) {
            let of = if metric.attribute.is_empty() {
                String::new()
            } else {
                format!(" of `{}`", metric.attribute)
            };
            let made = made.map_or("nothing".to_owned(), |m| m.to_string());
            return Err(AuditError::Report(format!(
                "it tells {value} for `{}`{of}, and its parts make {made}: it was changed by hand",
                metric.metric
            )));
        }
    }
    Ok(Figure {
        metric: metric::find(&metric.metric)?.id,
        attribute: metric.attribute.clone(),
        comparison: Comparison::Whole,
        groups: metric.groups.clone(),
        // The report keeps the actual reason; see `why`.
        value: metric.value.ok_or(Reason::NothingToCompareWith),
        n: metric.n.clone(),
        basis,
        left_out: Arc::default(),
        persons_left_out: metric.persons_left_out.unwrap_or(0),
        persons: metric.persons.unwrap_or(0),
    })
}
