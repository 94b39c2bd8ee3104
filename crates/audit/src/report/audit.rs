//! An audit: its subject, its figures, and the report on them.

use std::borrow::Cow;
use std::collections::HashMap;

use proofmark_stats::benjamini_hochberg;

use super::build::{Writer, is_rate};
use super::suppress::Hidden;
use super::{AttackFacts, AuditReport, PairFacts, attack};
use crate::judge::{check_level, intervals};
use crate::metric::{self, Need};
use crate::robustness::Attacked;
use crate::{
    AuditError, Figure, Groups, Judgement, Measured, Requirement, Settings, Table, judge, measure,
};

/// Confidence level of the interval that each figure has on its own.
const SHOWN: f64 = 0.95;

/// Inputs of a report beside the table and the settings.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReportOptions {
    /// Requirements, judged as one family.
    pub requirements: Vec<Requirement>,
    /// Joint confidence level of the requirements, between 0 and 1; default 0.95.
    pub level: f64,
    /// Cells of fewer people than this are suppressed; default 0, which shows all.
    pub suppress: u64,
    /// Version of proofmark that writes the report.
    pub version: String,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            requirements: Vec::new(),
            level: SHOWN,
            suppress: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Measures and judges a table and returns the report.
pub fn report(
    table: &Table,
    settings: &Settings,
    options: &ReportOptions,
) -> Result<AuditReport, AuditError> {
    let subject = Subject::new(table, options);
    Audit::measure(&subject, settings, options)?.report(0)
}

/// Measures and judges samples clean and under attack. Figures that rest on decisions appear twice: an attribute `sex`
/// has a twin `sex under attack`, and a requirement on such a metric applies to both.
pub fn report_attacked(
    attacked: &Attacked,
    settings: &Settings,
    options: &ReportOptions,
) -> Result<AuditReport, AuditError> {
    let subject = Subject::attacked(attacked, options);
    Audit::measure(&subject, settings, options)?.report(0)
}

/// The rows of a table that are audited.
#[derive(Debug)]
pub struct Subject<'a> {
    table: Cow<'a, Table>,
    attacked: Option<&'a Attacked>,
}

impl<'a> Subject<'a> {
    /// Audits a table.
    pub fn new(table: &'a Table, options: &ReportOptions) -> Self {
        // Suppressed counts must not be recoverable by subtracting tables with different rows, and pairs need complete
        // rows: in both cases, incomplete rows are dropped.
        let one_for_all = options.suppress > 1 || table.variant().is_some();
        let complete = one_for_all
            .then(|| table.complete(&Need::OF_ROWS))
            .flatten();
        Self {
            table: complete.map_or(Cow::Borrowed(table), |c| Cow::Owned(c.0)),
            attacked: None,
        }
    }

    /// Audits samples clean and under attack.
    pub fn attacked(attacked: &'a Attacked, options: &ReportOptions) -> Self {
        Self {
            attacked: Some(attacked),
            ..Self::new(&attacked.clean, options)
        }
    }
}

/// A measured audit that is not yet judged: a policy that gates several tables judges all their figures together.
#[derive(Debug)]
pub struct Audit<'a> {
    subject: &'a Subject<'a>,
    settings: &'a Settings,
    options: ReportOptions,
    measured: Measured<'a>,
}

impl<'a> Audit<'a> {
    /// Measures all figures. Refuses a requirement without a figure.
    pub fn measure(
        subject: &'a Subject<'a>,
        settings: &'a Settings,
        options: &ReportOptions,
    ) -> Result<Self, AuditError> {
        let table = subject.table.as_ref();
        let options = ReportOptions {
            requirements: checked(table, options)?,
            ..options.clone()
        };
        let mut measured = measure(table, settings)?;
        if let Some(attacked) = subject.attacked {
            attack::extend(&mut measured, attacked, settings)?;
        }
        for requirement in &options.requirements {
            if !measured.figures.iter().any(|f| requirement.gates(f)) {
                return Err(AuditError::Option {
                    option: "metric",
                    value: format!("`{requirement}` has no figure here"),
                    expected: what_has_figures(requirement, &measured),
                });
            }
        }
        Ok(Self {
            subject,
            settings,
            options,
            measured,
        })
    }

    /// Returns the number of figures that are judged together by their intervals.
    pub fn family(&self) -> usize {
        family(&self.judged(0))
    }

    fn judged(&self, elsewhere: usize) -> Vec<Judgement> {
        let options = &self.options;
        judge(
            &self.measured.figures,
            &options.requirements,
            options.level,
            elsewhere,
        )
    }

    /// Judges and reports. `elsewhere` is the number of figures of the same family in other audits.
    pub fn report(&self, elsewhere: usize) -> Result<AuditReport, AuditError> {
        let (table, settings, options) =
            (self.subject.table.as_ref(), self.settings, &self.options);
        let measured = &self.measured;
        let attacked = self.subject.attacked;
        let mut judged = self.judged(elsewhere);
        let shown = if options.level.to_bits() == SHOWN.to_bits() {
            judged.iter().map(|j| j.interval).collect()
        } else {
            intervals(&measured.figures, SHOWN)
        };
        let hidden = Hidden::new(
            options.suppress,
            table,
            attacked.map(|a| &a.attacked),
            &measured.groupings,
            &measured.figures,
            settings.intersections,
        );
        if options.suppress > 1 {
            adjust_among_shown(&mut judged, &measured.figures, &hidden);
        }
        hidden.refuse_nothing_left(table, &measured.groupings)?;
        let mut rates: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (at, figure) in measured.figures.iter().enumerate() {
            if let (true, [group]) = (is_rate(figure), figure.groups.as_slice()) {
                let of = rates.entry((figure.attribute.as_str(), group.as_str()));
                of.or_default().push(at);
            }
        }
        let writer = Writer {
            rates,
            detail: settings.detail_groups,
            attack: attacked.map(AttackFacts::new),
            pairs: PairFacts::new(table, hidden.pairs())?,
            family: family(&judged) + elsewhere,
            measured,
            judged: &judged,
            shown: &shown,
            hidden: &hidden,
            options,
            seed: settings.seed,
        };
        Ok(writer.write(table, settings))
    }
}

/// Returns the number of figures judged by their intervals; each one widens the intervals of all.
fn family(judged: &[Judgement]) -> usize {
    let together = |j: &&Judgement| j.rulings.iter().any(|r| r.interval.is_some());
    judged.iter().filter(together).count()
}

/// Adjusts the exploratory p-values again among the shown figures, because an adjusted p-value depends on every p-value
/// of its family, hidden ones included.
fn adjust_among_shown(judged: &mut [Judgement], figures: &[Figure], hidden: &Hidden) {
    let exploratory = |at: &usize| judged[*at].is_exploratory() && !hidden.figure(&figures[*at]);
    let places: Vec<usize> = (0..figures.len()).filter(exploratory).collect();
    let of = |at: &usize| judged[*at].p_value.unwrap_or(f64::NAN);
    let p: Vec<f64> = places.iter().map(of).collect();
    for (at, adjusted) in places.into_iter().zip(benjamini_hochberg(&p)) {
        judged[at].p_adjusted = Some(adjusted).filter(|p| !p.is_nan());
    }
}

fn what_has_figures(requirement: &Requirement, measured: &Measured<'_>) -> String {
    let attributes = || measured.groupings.iter().map(Groups::attribute);
    match &requirement.attribute {
        Some(given) if attributes().all(|a| a != given) => {
            let hint = AuditError::hint(given, attributes());
            format!("an attribute of this audit for `{given}`{hint}")
        }
        _ if requirement.metric.ends_with("_to_reference") => {
            "a reference group for an attribute".to_owned()
        }
        _ => "a metric of these groups".to_owned(),
    }
}

/// Returns the requirements under the metrics' own ids. Refuses a requirement that can never be judged, or a second one
/// on the same metric and attribute.
fn checked(table: &Table, options: &ReportOptions) -> Result<Vec<Requirement>, AuditError> {
    let wrong = |value: String, expected: &str| {
        Err(AuditError::Option {
            option: "metric",
            value,
            expected: expected.to_owned(),
        })
    };
    check_level(options.level)?;
    let mut all: Vec<Requirement> = Vec::new();
    for requirement in &options.requirements {
        let entry = metric::find(&requirement.metric)?;
        entry.require(table)?;
        let requirement = requirement.checked()?;
        if all.iter().any(|r| {
            r.metric == requirement.metric
                && r.attribute == requirement.attribute
                && r.by == requirement.by
        }) {
            return wrong(
                format!("`{requirement}`: a second requirement on the metric"),
                "one",
            );
        }
        all.push(requirement);
    }
    Ok(all)
}
