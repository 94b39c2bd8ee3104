use std::fmt::Write as _;
use std::sync::Arc;

use proofmark_audit::report::{AUDIT_SCHEMA, RequirementResult};
use proofmark_audit::{AuditError, AuditReport, By, Requirement, Setup};
use proofmark_domain::Verdict;
use serde_json::json;

use super::compare::percent;
use super::fit::same;
use super::{CheckKind, Measure, Task};
use crate::gate_report::{CheckResult, ComparisonResult};
use crate::judge::{Judging, NoRecord, Reason, Record};
use crate::policy::{DataEntry, Field, Policy, PolicyError, Section, hint};
use crate::resolved_plan::difference;

/// Task of a check of kind `bias`: a table of decisions. No model runs; the table holds decisions already made.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditTask {
    /// The table.
    pub data: DataEntry,
    /// How the table is read and measured.
    pub setup: Setup,
    /// The requirements: at least one, each on a different metric or attribute.
    pub require: Vec<Requirement>,
}

/// Registry entry of kind `bias`: differences between groups.
pub(super) const ENTRY: CheckKind = CheckKind {
    id: "bias",
    about: "differences between groups in a table of decisions",
    fields: || {
        ["data", "metrics"]
            .into_iter()
            .chain(Setup::names())
            .collect()
    },
    judging: &["judge", "samples"],
    read: |s, named| Ok(Arc::new(read(s, named.data)?)),
};

fn read(s: &Section<'_>, sets: &[DataEntry]) -> Result<AuditTask, PolicyError> {
    let mut setup: Setup = s.options()?;
    let require = requirements(&s.need("require")?, setup.by)?;
    if setup.columns.groups.is_empty() && setup.columns.variant.is_none() {
        return Err(s.error("missing field `groups`"));
    }
    setup.settings.metrics = s
        .maybe("metrics", |f| metrics(f, &require))?
        .unwrap_or_default();
    Ok(AuditTask {
        data: table(&s.need("data")?, sets)?,
        setup,
        require,
    })
}

impl Task for AuditTask {
    fn measure(&self) -> Measure<'_> {
        Measure::Audit(self)
    }

    fn requirement(&self) -> String {
        let all: Vec<String> = self.require.iter().map(ToString::to_string).collect();
        all.join(", ")
    }

    /// A waiver may name one attribute where the requirement covers all of them.
    fn waived(&self, field: &Field<'_>) -> Result<(String, bool), PolicyError> {
        let wrong = |e: AuditError| field.error(e.to_string());
        let given: Requirement = field.string()?.parse().map_err(wrong)?;
        let given = given.checked().map_err(wrong)?;
        let covers = |own: &Requirement| {
            everywhere(&given) == everywhere(own)
                && (own.attribute.is_none() || own.attribute == given.attribute)
        };
        let own = self.require.iter().any(covers);
        Ok((given.to_string(), own))
    }

    fn fits(&self, record: &Record, _policy: &Policy) -> Result<(), NoRecord> {
        fits(self, record.audit()?).map_err(NoRecord::Mismatched)
    }

    fn family(&self, record: &Record) -> usize {
        // `judge` reports a record that cannot be judged.
        let report = record.audit().ok();
        report.map_or(0, |r| r.family(&self.require).unwrap_or(0))
    }

    fn judge(
        &self,
        record: Record,
        judging: &mut Judging<'_, '_>,
    ) -> Result<CheckResult, NoRecord> {
        let report = record.audit()?;
        let level = judging.check.level;
        let wrong = |e: AuditError| NoRecord::Mismatched(e.to_string());
        let gates = report
            .judged_again(&self.require, level, Some(judging.elsewhere))
            .map_err(wrong)?;
        let mut results = Vec::new();
        let mut effects = Vec::new();
        for gate in &gates {
            let requirement: Requirement = gate.requirement.parse().map_err(wrong)?;
            let one = ComparisonResult {
                requirement: Requirement {
                    attribute: Some(gate.attribute.clone()).filter(|a| !a.is_empty()),
                    ..requirement.clone()
                }
                .to_string(),
                verdict: gate.verdict,
                observed: gate.value,
                ci: gate.interval,
                threshold: requirement.tolerance,
                n: report.table.rows,
                needed: gate.needed,
            };
            // A waiver may name every attribute, or one.
            let names = [
                one.requirement.clone(),
                gate.requirement.clone(),
                everywhere(&requirement),
            ];
            effects.push(judging.hold(gate.verdict, &names, || reason(gate, &one, level)));
            results.push(one);
        }
        Ok(judging.result(results, &effects, None))
    }
}

/// Returns the requirement over every attribute, as reports write it.
fn everywhere(requirement: &Requirement) -> String {
    let everywhere = Requirement {
        attribute: None,
        ..requirement.clone()
    };
    everywhere.to_string()
}

/// Checks that a report is the audit the check asks for; the error says what differs.
fn fits(task: &AuditTask, report: &AuditReport) -> Result<(), String> {
    same("schema", AUDIT_SCHEMA, &report.schema)?;
    let Some(origin) = &report.table.origin else {
        return Err("it does not say which file was audited".to_owned());
    };
    if let Some(digest) = &task.data.sha256 {
        same("table sha256", digest, &origin.sha256.to_ascii_lowercase())?;
    }
    let expected = json!({
        "columns": task.setup.columns,
        "settings": task.setup.settings,
        "suppress": task.setup.suppress,
    });
    let found = json!({
        "columns": origin.options,
        "settings": report.settings.measured,
        "suppress": report.settings.suppress,
    });
    difference(&expected, &found).map_or(Ok(()), |d| Err(d.to_string()))
}

/// Says why a requirement does not hold, and what to do.
fn reason(gate: &RequirementResult, one: &ComparisonResult, level: f64) -> Reason {
    let mut message = match one.observed {
        Some(value) => format!("{} is {value:.3}", gate.metric),
        None => gate.metric.clone(),
    };
    if !gate.attribute.is_empty() {
        let _ = write!(message, " over {}", gate.attribute);
    }
    if let Some(ci) = one.ci {
        let level = percent(level);
        let _ = write!(
            message,
            ", [{:.3}, {:.3}] at {level} % jointly over all figures of the bias checks",
            ci.low, ci.high
        );
    }
    let remediation = if gate.verdict == Verdict::Fail {
        "find out why the groups differ and fix it, or state a tolerance that can be met"
    } else {
        "audit more rows, or merge small groups"
    };
    let why = match (gate.verdict, gate.needed) {
        _ if gate.reason.is_some() => gate.reason.clone().unwrap_or_default(),
        (Verdict::Fail, _) if one.ci.is_none() => {
            format!("{} does not hold of the value alone", one.requirement)
        }
        (Verdict::Fail, _) => format!("the whole interval is beyond {}", one.threshold),
        (_, Some(n)) => format!(
            "{} lies inside the interval; about {n} further rows would settle it",
            one.threshold
        ),
        (_, None) => format!(
            "{} lies inside the interval, and no number of further rows like these would settle it",
            one.threshold
        ),
    };
    Reason {
        message: format!("{message}; {why}"),
        remediation,
    }
}

/// Finds the `[[data]]` entry of the table. Refuses options that only apply to data that models are attacked on.
fn table(field: &Field<'_>, sets: &[DataEntry]) -> Result<DataEntry, PolicyError> {
    let name = field.string()?;
    let Some(entry) = sets.iter().find(|e| e.name == name) else {
        let names: Vec<&str> = sets.iter().map(|e| e.name.as_str()).collect();
        return Err(field.error(format!(
            "no [[data]] is called `{name}`{}",
            hint(name, &names)
        )));
    };
    let stray = [
        ("meta", entry.meta.is_some()),
        (
            "bounds",
            entry.options.bounds.is_some() || !entry.options.array_bounds.is_empty(),
        ),
        ("units", entry.options.units.is_some()),
        ("classes", entry.options.classes.is_some()),
        ("arrays", entry.options.arrays.is_some()),
        ("labels_file", entry.options.labels.is_some()),
        ("label_column", entry.options.label_column.is_some()),
        ("delimiter", entry.options.delimiter != Default::default()),
        (
            "resize, crop or color",
            entry.options.images != Default::default(),
        ),
        ("limit", entry.limit.is_some()),
        ("range", entry.range.is_some()),
        ("seed", entry.seed.is_some()),
    ];
    match stray.iter().find(|s| s.1) {
        None => Ok(entry.clone()),
        Some((what, _)) => Err(field.error(format!(
            "[[data]] `{name}` has {what}, which a table of decisions does not take; use `where` in the check to choose rows"
        ))),
    }
}

/// Parses `REQUIREMENT { ("," | "and") REQUIREMENT }`; a comma inside brackets is part of an attribute's name.
fn requirements(field: &Field<'_>, by: By) -> Result<Vec<Requirement>, PolicyError> {
    let mut all: Vec<Requirement> = Vec::new();
    for (at, part) in parts(field.string()?) {
        let wrong = |e: AuditError| {
            let text = e.to_string();
            let text = text.strip_prefix("metric: ").unwrap_or(&text);
            field.error_inside(at, part.len().max(1), text)
        };
        let parsed: Requirement = part.parse().map_err(wrong)?;
        let requirement = Requirement {
            by,
            ..parsed.checked().map_err(wrong)?
        };
        let same = |r: &Requirement| {
            r.metric == requirement.metric && r.attribute == requirement.attribute
        };
        if all.iter().any(same) {
            return Err(field.error_inside(
                at,
                part.len(),
                format!("`{requirement}` is a second requirement on the metric; expected one"),
            ));
        }
        all.push(requirement);
    }
    Ok(all)
}

/// Splits a text into its requirements, each with its byte offset.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut all = Vec::new();
    let (mut start, mut depth, mut in_quotes) = (0, 0_usize, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if depth > 0 => in_quotes = !in_quotes,
            _ if in_quotes => {}
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                all.push((start, at));
                start = at + 1;
            }
            c if depth == 0 && c.is_whitespace() => {
                let rest = &text[at + c.len_utf8()..];
                if rest.starts_with("and") && rest[3..].starts_with(char::is_whitespace) {
                    all.push((start, at));
                    start = at + c.len_utf8() + 3;
                }
            }
            _ => {}
        }
    }
    all.push((start, text.len()));
    let trimmed = |(from, to): (usize, usize)| {
        let raw = &text[from..to];
        (from + raw.len() - raw.trim_start().len(), raw.trim())
    };
    all.into_iter().map(trimmed).collect()
}

/// Returns the metrics to measure: the required ones, then the listed ones.
fn metrics(field: &Field<'_>, require: &[Requirement]) -> Result<Vec<String>, PolicyError> {
    let mut all: Vec<String> = require.iter().map(|r| r.metric.clone()).collect();
    for item in items(field)? {
        let entry =
            proofmark_audit::metric::find(&item.text()?).map_err(|e| item.error(e.to_string()))?;
        all.push(entry.id.to_owned());
    }
    Ok(all)
}

fn items<'a>(field: &Field<'a>) -> Result<Vec<Field<'a>>, PolicyError> {
    if field.node.get_ref().is_str() {
        Ok(vec![field.clone()])
    } else {
        field.items()
    }
}
