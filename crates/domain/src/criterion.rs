//! What counts as success of an attack, as a user writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::VariantNames as _;

use crate::hint;

/// Meaning of the numbers that a model returns for a sample.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Outputs {
    /// One score per class; the highest wins.
    #[default]
    Classes,
    /// One score (logit) per label; each label applies or does not.
    Labels,
    /// Numbers that the model predicts.
    Values,
}

impl Outputs {
    /// Whether they are classes.
    pub const fn is_classes(self) -> bool {
        matches!(self, Self::Classes)
    }
}

/// One criterion: what a changed sample must do to count as a success of the attack.
///
/// Written `NAME`, `NAME=VALUE` or `NAME=VALUE:FIELD=VALUE`:
///
/// ```
/// use proofmark_domain::CriterionSpec;
/// let one: CriterionSpec = "regression=0.5:output=1".parse()?;
/// assert_eq!(one, CriterionSpec::Regression { bound: vec![0.5], output: Some(1) });
/// assert_eq!(one.to_string(), "regression=0.5:output=1");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::VariantNames)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
#[non_exhaustive]
pub enum CriterionSpec {
    /// `misclassification`: the decision is not the label; in a targeted run it is the target.
    Misclassification,
    /// `margin=K`: the decision is not the label and its score leads the label's by at least K; in a targeted run the
    /// target leads all other classes by at least K.
    Margin {
        /// K, in the unit of the scores, 0 or more.
        lead: f64,
    },
    /// `probability-margin=P`: as `margin`, in probabilities (the softmax of the scores).
    ProbabilityMargin {
        /// P, at least 0 and below 1.
        lead: f64,
    },
    /// `top-k=K`: the label is not among the K classes with the highest scores; in a targeted run the target is.
    TopK {
        /// K, at least 1 and below the number of classes.
        k: usize,
    },
    /// `multi-label`: labels are decided wrongly. `least=M` wants M of them, `label=J` the one with this index;
    /// `threshold=P` is the probability above which a label applies.
    MultiLabel {
        /// M, at least 1; 1.
        least: usize,
        /// J; any label if absent.
        label: Option<usize>,
        /// P, between 0 and 1; 0.5.
        threshold: f64,
    },
    /// `regression=B`: an output differs from its reference (the target of the data, or the model's own answer without
    /// attack) by more than B; `B,B,…` gives each output its bound, `output=J` names the only one that counts.
    Regression {
        /// B, above 0, in the unit of the outputs; one for all outputs, or one for each.
        bound: Vec<f64>,
        /// J; any output if absent.
        output: Option<usize>,
    },
    /// `interval=LOW,HIGH`: an output is below LOW or above HIGH; `output=J` names the only one that counts.
    Interval {
        /// LOW, in the unit of the outputs; no limit if absent (`-inf`).
        low: Option<f64>,
        /// HIGH; no limit if absent (`inf`).
        high: Option<f64>,
        /// J; any output if absent.
        output: Option<usize>,
    },
}

/// Fields after the name and value.
struct Fields<'t> {
    of: &'t str,
    left: Vec<(&'t str, &'t str)>,
}

impl Fields<'_> {
    fn take<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, String> {
        let Some(at) = self.left.iter().position(|(n, _)| *n == name) else {
            return Ok(None);
        };
        let (_, value) = self.left.remove(at);
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!(
                "criterion `{}`: {name} = {value}; expected {expected}",
                self.of
            )),
        }
    }

    fn end(self, known: &[&str]) -> Result<(), String> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        let known = if known.is_empty() {
            "it has no fields".to_owned()
        } else {
            format!("its fields are {}", known.join(", "))
        };
        Err(format!(
            "criterion `{}`: no field `{name}`, or given twice; {known}",
            self.of
        ))
    }
}

const PLACE: &str = "an index, counted from 0";

impl FromStr for CriterionSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let head = parts.next().unwrap_or_default();
        let (name, value) = match head.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (head.trim(), None),
        };
        let mut fields = Fields {
            of: text,
            left: Vec::new(),
        };
        for part in parts {
            let (field, value) = part.split_once('=').ok_or_else(|| {
                format!("criterion `{text}`: `{part}`; expected FIELD=VALUE after the colon")
            })?;
            fields.left.push((field.trim(), value.trim()));
        }
        let wrong = |expected: &str| {
            let given = value.map_or_else(|| "no value".to_owned(), |v| format!("`{v}`"));
            format!("criterion `{text}`: {given}; expected {expected}")
        };
        let number = |low: f64, high: f64, expected: &str| {
            let number = value.and_then(|v| v.parse::<f64>().ok());
            let inside = number.filter(|v| v.is_finite() && *v >= low && *v < high);
            inside.ok_or_else(|| wrong(expected))
        };
        let (one, known): (Self, &[&str]) = match name {
            "misclassification" if value.is_none() => (Self::Misclassification, &[]),
            "misclassification" => return Err(wrong("none: it has no value")),
            "margin" => {
                let expected = "margin=K with K in the unit of the scores, 0 or more";
                let lead = number(0.0, f64::INFINITY, expected)?;
                (Self::Margin { lead }, &[])
            }
            "probability-margin" => {
                let expected = "probability-margin=P with P at least 0 and below 1";
                let lead = number(0.0, 1.0, expected)?;
                (Self::ProbabilityMargin { lead }, &[])
            }
            "top-k" => {
                let k = value.and_then(|v| v.parse().ok()).filter(|k| *k > 0);
                let k = k.ok_or_else(|| wrong("top-k=K with a whole number of at least 1"))?;
                (Self::TopK { k }, &[])
            }
            "multi-label" if value.is_some() => {
                return Err(wrong(
                    "no value; multi-label:least=M wants M labels to flip, multi-label:label=J the label J",
                ));
            }
            "multi-label" => (
                multi_label(&mut fields)?,
                &["least", "label", "threshold"][..],
            ),
            "regression" => (regression(value, &mut fields, &wrong)?, &["output"][..]),
            "interval" => (interval(value, &mut fields, &wrong)?, &["output"][..]),
            _ => {
                return Err(format!(
                    "unknown criterion `{name}`{}; expected one of {}",
                    hint(name, Self::VARIANTS.iter().copied()),
                    Self::VARIANTS.join(", ")
                ));
            }
        };
        fields.end(known)?;
        Ok(one)
    }
}

/// Reads the numbers of a list.
fn numbers(value: Option<&str>) -> Option<Vec<f64>> {
    let each = value?.split(',').map(|n| n.trim().parse().ok());
    each.collect()
}

fn regression(
    value: Option<&str>,
    fields: &mut Fields<'_>,
    wrong: &dyn Fn(&str) -> String,
) -> Result<CriterionSpec, String> {
    let above = |b: &Vec<f64>| b.iter().all(|b| b.is_finite() && *b > 0.0);
    let bound = numbers(value)
        .filter(above)
        .ok_or_else(|| wrong("regression=B, or B,B,… with one bound per output, each above 0"))?;
    let output = fields.take("output", PLACE)?;
    if output.is_some() && bound.len() > 1 {
        return Err(wrong("one bound, for the output that is named"));
    }
    Ok(CriterionSpec::Regression { bound, output })
}

fn interval(
    value: Option<&str>,
    fields: &mut Fields<'_>,
    wrong: &dyn Fn(&str) -> String,
) -> Result<CriterionSpec, String> {
    let ends = numbers(value);
    let (low, high) = match ends.as_deref() {
        Some([low, high]) if low < high && (low.is_finite() || high.is_finite()) => (*low, *high),
        _ => {
            return Err(wrong(
                "interval=LOW,HIGH with LOW below HIGH, one of which may be -inf or inf",
            ));
        }
    };
    Ok(CriterionSpec::Interval {
        low: low.is_finite().then_some(low),
        high: high.is_finite().then_some(high),
        output: fields.take("output", PLACE)?,
    })
}

fn multi_label(fields: &mut Fields<'_>) -> Result<CriterionSpec, String> {
    let least: Option<usize> = fields.take("least", "a whole number of at least 1")?;
    let label = fields.take("label", PLACE)?;
    let threshold: Option<f64> = fields.take("threshold", "a probability between 0 and 1")?;
    let of = fields.of;
    if least == Some(0) {
        return Err(format!(
            "criterion `{of}`: least = 0; expected a whole number of at least 1"
        ));
    }
    if least.is_some() && label.is_some() {
        return Err(format!(
            "criterion `{of}`: least and label; expected one of them: a single label cannot flip more than once"
        ));
    }
    if let Some(p) = threshold.filter(|p| !(*p > 0.0 && *p < 1.0)) {
        return Err(format!(
            "criterion `{of}`: threshold = {p}; expected a probability between 0 and 1"
        ));
    }
    Ok(CriterionSpec::MultiLabel {
        least: least.unwrap_or(1),
        label,
        threshold: threshold.unwrap_or(0.5),
    })
}

impl fmt::Display for CriterionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |f: &mut fmt::Formatter<'_>, output: &Option<usize>| {
            output.map_or(Ok(()), |o| write!(f, ":output={o}"))
        };
        match self {
            Self::Misclassification => f.write_str("misclassification"),
            Self::Margin { lead } => write!(f, "margin={lead}"),
            Self::ProbabilityMargin { lead } => write!(f, "probability-margin={lead}"),
            Self::TopK { k } => write!(f, "top-k={k}"),
            Self::MultiLabel {
                least,
                label,
                threshold,
            } => {
                f.write_str("multi-label")?;
                if *least > 1 {
                    write!(f, ":least={least}")?;
                }
                if let Some(label) = label {
                    write!(f, ":label={label}")?;
                }
                if *threshold != 0.5 {
                    write!(f, ":threshold={threshold}")?;
                }
                Ok(())
            }
            Self::Regression { bound, output } => {
                let bounds: Vec<String> = bound.iter().map(f64::to_string).collect();
                write!(f, "regression={}", bounds.join(","))?;
                at(f, output)
            }
            Self::Interval { low, high, output } => {
                let low = low.unwrap_or(f64::NEG_INFINITY);
                write!(f, "interval={low},{}", high.unwrap_or(f64::INFINITY))?;
                at(f, output)
            }
        }
    }
}

impl CriterionSpec {
    /// Names of all criteria.
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// Returns what the outputs of a model must mean for it.
    pub const fn outputs(&self) -> Outputs {
        match self {
            Self::Misclassification
            | Self::Margin { .. }
            | Self::ProbabilityMargin { .. }
            | Self::TopK { .. } => Outputs::Classes,
            Self::MultiLabel { .. } => Outputs::Labels,
            Self::Regression { .. } | Self::Interval { .. } => Outputs::Values,
        }
    }

    /// Whether it compares outputs with a reference: labels, or targets of the data.
    pub const fn has_reference(&self) -> bool {
        !matches!(self, Self::Interval { .. })
    }

    /// Says what success is, worded to follow "success:".
    fn describe(&self, targeted: bool) -> String {
        let output = |output: &Option<usize>| {
            output.map_or_else(|| "an output".to_owned(), |o| format!("output {o}"))
        };
        match self {
            Self::Misclassification if targeted => "the decision is the target class".into(),
            Self::Misclassification => "the decision is another class".into(),
            Self::Margin { lead } if targeted => {
                format!("the target class leads every other score by {lead} or more")
            }
            Self::Margin { lead } => {
                format!("another class leads the label's score by {lead} or more")
            }
            Self::ProbabilityMargin { lead } if targeted => {
                format!("the target class leads every other probability by {lead} or more")
            }
            Self::ProbabilityMargin { lead } => {
                format!("another class leads the label's probability by {lead} or more")
            }
            Self::TopK { k } if targeted => {
                format!("the target class is among the {k} highest scores")
            }
            Self::TopK { k } => format!("the label is not among the {k} highest scores"),
            Self::MultiLabel {
                least,
                label,
                threshold,
            } => {
                let what = match (label, least) {
                    (Some(label), _) => format!("label {label} is decided wrongly"),
                    (None, 1) => "a label is decided wrongly".into(),
                    (None, least) => format!("{least} labels or more are decided wrongly"),
                };
                format!("{what} (a label applies above probability {threshold})")
            }
            Self::Regression { bound, output: o } => {
                let bounds: Vec<String> = bound.iter().map(f64::to_string).collect();
                let each = if bound.len() > 1 { " (by output)" } else { "" };
                format!(
                    "{} differs from its reference by more than {}{each}",
                    output(o),
                    bounds.join(", ")
                )
            }
            Self::Interval {
                low,
                high,
                output: o,
            } => match (low, high) {
                (Some(low), Some(high)) => {
                    format!("{} leaves the interval from {low} to {high}", output(o))
                }
                (Some(low), None) => format!("{} falls below {low}", output(o)),
                (_, high) => format!("{} exceeds {}", output(o), high.unwrap_or(f64::INFINITY)),
            },
        }
    }
}

/// The criteria of a run: one, or several that must all be met by the same point. By default, misclassification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Criteria(Vec<CriterionSpec>);

impl Default for Criteria {
    fn default() -> Self {
        Self(vec![CriterionSpec::Misclassification])
    }
}

impl Criteria {
    /// Returns the criteria that all must be met; none is misclassification. Refuses criteria about different meanings
    /// of the outputs, and one given twice.
    pub fn new(all: Vec<CriterionSpec>) -> Result<Self, String> {
        let Some(first) = all.first() else {
            return Ok(Self::default());
        };
        if let Some(other) = all.iter().find(|c| c.outputs() != first.outputs()) {
            return Err(format!(
                "criteria `{first}` and `{other}`: one is about {}, the other about {}; expected criteria about the same outputs",
                first.outputs(),
                other.outputs()
            ));
        }
        if let Some(twice) = all.iter().enumerate().find(|(i, c)| all[..*i].contains(c)) {
            return Err(format!("criterion `{}` is given twice", twice.1));
        }
        Ok(Self(all))
    }

    /// Reads criteria from their texts.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let all: Result<Vec<CriterionSpec>, String> = texts.into_iter().map(str::parse).collect();
        Self::new(all?)
    }

    /// Returns the criteria, at least one.
    pub fn all(&self) -> &[CriterionSpec] {
        &self.0
    }

    /// Whether it is misclassification alone.
    pub fn is_default(&self) -> bool {
        self.0 == [CriterionSpec::Misclassification]
    }

    /// Returns what the outputs of the model must mean.
    pub fn outputs(&self) -> Outputs {
        self.0[0].outputs()
    }

    /// Whether any of them compares outputs with a reference.
    pub fn has_reference(&self) -> bool {
        self.0.iter().any(CriterionSpec::has_reference)
    }

    /// Says what success is, as a clause.
    pub fn success(&self, targeted: bool) -> String {
        let all: Vec<String> = self.0.iter().map(|c| c.describe(targeted)).collect();
        all.join(", and ")
    }
}

impl fmt::Display for Criteria {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(CriterionSpec::to_string).collect();
        f.write_str(&all.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_criterion_reads_what_it_writes() {
        for text in [
            "misclassification",
            "margin=0.5",
            "probability-margin=0.2",
            "top-k=5",
            "multi-label",
            "multi-label:least=2",
            "multi-label:label=3:threshold=0.3",
            "regression=0.1",
            "regression=0.1,2",
            "regression=3:output=1",
            "interval=0,10",
            "interval=-inf,10:output=0",
            "interval=2,inf",
        ] {
            let one: CriterionSpec = text.parse().unwrap();
            assert_eq!(one.to_string(), text);
            let json = serde_json::to_string(&one).unwrap();
            assert_eq!(
                serde_json::from_str::<CriterionSpec>(&json).unwrap(),
                one,
                "{json}"
            );
            assert!(!one.describe(false).is_empty());
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("margn=1", "did you mean `margin`"),
            ("margin", "no value; expected margin=K"),
            ("margin=-1", "`-1`; expected margin=K"),
            ("margin=nan", "`nan`"),
            ("margin=inf", "`inf`"),
            ("probability-margin=1", "below 1"),
            ("top-k=0", "at least 1"),
            ("top-k=2.5", "whole number"),
            ("multi-label=2", "multi-label:least=M"),
            ("multi-label:least=0", "at least 1"),
            ("multi-label:least=2:label=1", "one of them"),
            ("multi-label:threshold=1", "between 0 and 1"),
            ("multi-label:labels=1", "no field `labels`"),
            ("multi-label:label=1:label=2", "given twice"),
            ("regression=0", "above 0"),
            ("regression=1,2:output=0", "one bound"),
            ("regression=1:output=x", "an index"),
            ("regression=1:x", "FIELD=VALUE"),
            ("interval=3,1", "LOW below HIGH"),
            ("interval=-inf,inf", "LOW below HIGH"),
            ("interval=1", "LOW below HIGH"),
            ("misclassification=1", "no value"),
            ("", "unknown criterion"),
        ] {
            let error = text.parse::<CriterionSpec>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let two = |a, b| Criteria::parse([a, b]).unwrap_err();
        assert!(two("top-k=2", "regression=1").contains("about classes, the other about values"));
        assert!(two("top-k=2", "top-k=2").contains("given twice"));
        assert!(Criteria::parse([]).unwrap().is_default());
    }
}
