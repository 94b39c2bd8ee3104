//! Syntax of requirements, and checks that need no table.
//!
//! ```text
//! requirement = metric [ "(" attribute ")" ] ( "<=" | ">=" ) number
//! ```
//!
//! An attribute may be quoted; a quote within it is doubled: `tpr_difference("a), b")<=0.1`.

use std::fmt;
use std::str::FromStr;

use strum::VariantArray as _;

use crate::metric::{self, Ideal};
use proofmark_domain::names;

use crate::{AuditError, Bound, By, Requirement};

impl Bound {
    /// Returns the comparison sign.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
        }
    }
}

impl By {
    /// Both ways of judging.
    pub const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if let Some(attribute) = &self.attribute {
            write!(f, "({})", names::quoted(attribute, &[]))?;
        }
        write!(f, "{}{}", self.bound.as_str(), self.tolerance)
    }
}

/// Parses a requirement that is judged by its interval. [`Requirement::checked`] checks that the metric exists.
///
/// ```
/// use proofmark_audit::Requirement;
/// let requirement: Requirement = "fpr_difference(race) <= 0.1".parse()?;
/// assert_eq!((requirement.metric.as_str(), requirement.attribute.as_deref()), ("fpr_difference", Some("race")));
/// assert_eq!(requirement.to_string(), "fpr_difference(race)<=0.1");
/// # Ok::<(), proofmark_audit::AuditError>(())
/// ```
impl FromStr for Requirement {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let parsed = [Bound::AtMost, Bound::AtLeast]
            .into_iter()
            .find_map(|bound| {
                let (left, tolerance) = text.rsplit_once(bound.as_str())?;
                let tolerance: f64 = tolerance.trim().parse().ok()?;
                let left = left.trim();
                let (metric, attribute) = match left.strip_suffix(')') {
                    None => (left, None),
                    Some(open) => {
                        let (metric, attribute) = open.split_once('(')?;
                        (metric.trim(), Some(attribute))
                    }
                };
                let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
                let metric = metric.chars().all(plain).then_some(metric)?;
                Some((metric, attribute, bound, tolerance))
            });
        let (metric, attribute, bound, tolerance) = parsed.ok_or_else(|| AuditError::Option {
            option: "metric",
            value: format!("`{text}`"),
            expected: "METRIC<=NUMBER or METRIC>=NUMBER, such as impact_ratio>=0.8".to_owned(),
        })?;
        Ok(Self {
            metric: metric.to_owned(),
            attribute: attribute.map(attribute_named).transpose()?,
            bound,
            tolerance,
            by: By::Interval,
        })
    }
}

impl Requirement {
    /// Returns the requirement under the metric's own id. Refuses what is invalid for every table: an unknown metric, a
    /// rate of one group, a bound on the unfair side, a tolerance that is not a finite number of at least 0, or a
    /// tolerance above 1 for a ratio.
    pub fn checked(&self) -> Result<Self, AuditError> {
        let entry = metric::find(&self.metric)?;
        let wrong = |value: String, expected: &str| {
            Err(AuditError::Option {
                option: "metric",
                value,
                expected: expected.to_owned(),
            })
        };
        match (entry.ideal, self.bound) {
            (Ideal::None, _) => wrong(
                format!("`{self}` is about a rate of one group"),
                "a metric that compares groups, such as its `_difference` or `_ratio`",
            ),
            (Ideal::Zero, Bound::AtLeast) => {
                wrong(format!("`{self}`"), "`<=`: the larger it is, the less fair")
            }
            (Ideal::One, Bound::AtMost) => wrong(
                format!("`{self}`"),
                "`>=`: the smaller it is, the less fair",
            ),
            (Ideal::One, Bound::AtLeast) if self.tolerance > 1.0 => wrong(
                format!("`{self}`"),
                "a tolerance of at most 1: such a ratio never exceeds it",
            ),
            _ if !(self.tolerance.is_finite() && self.tolerance >= 0.0) => {
                wrong(format!("`{self}`"), "a finite tolerance of at least 0")
            }
            _ => Ok(Self {
                metric: entry.id.to_owned(),
                ..self.clone()
            }),
        }
    }
}
/// Reads the attribute between the parentheses after a metric, which may be quoted.
fn attribute_named(text: &str) -> Result<String, AuditError> {
    let wrong = |value: String| AuditError::Option {
        option: "metric",
        value,
        expected: "an attribute, in quotes if need be: \"a \"\"b\"\"\"".to_owned(),
    };
    match names::leading(text, &[]) {
        Ok((name, "")) => Ok(name),
        Ok((_, rest)) => Err(wrong(format!("`{rest}` behind a name in quotes"))),
        Err(problem) => Err(wrong(problem)),
    }
}
