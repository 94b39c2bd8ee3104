use std::fmt;

use crate::metric::Metric;
use crate::policy::{Field, PolicyError, hint};

/// Requirement of a check: one or more comparisons, all of which must hold.
///
/// ```text
/// requirement = comparison { ("," | "and") comparison }
/// comparison  = metric [ "(" argument ")" ] ">=" number [ "%" ]
/// ```
///
/// Each comparison is judged by itself at the check's level; the worst verdict decides. All comparisons must hold, so
/// no correction for multiplicity is needed: a check with a true figure below any of its thresholds passes with
/// probability at most `(1 - level) / 2`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Requirement {
    /// The comparisons, in the order written; at least one.
    pub comparisons: Vec<Comparison>,
}

/// `METRIC >= THRESHOLD`.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The metric.
    pub metric: Metric,
    /// Minimum value, from 0 to 1.
    pub threshold: f64,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} >= {}", self.metric, self.threshold)
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, comparison) in self.comparisons.iter().enumerate() {
            write!(f, "{}{comparison}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// A parse error in a requirement, with its byte range.
struct Fault {
    at: usize,
    length: usize,
    message: String,
}

type Parsed<T> = Result<T, Fault>;

pub(super) fn read(
    field: &Field<'_>,
    attacks: &[&str],
    attacked: bool,
) -> Result<Requirement, PolicyError> {
    let text = field.string()?;
    let mut parser = Parser {
        text,
        at: 0,
        attacks,
        attacked,
    };
    parser
        .requirement()
        .map_err(|f| field.error_inside(f.at, f.length, f.message))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    attacks: &'a [&'a str],
    attacked: bool,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Parsed<Requirement> {
        let mut comparisons = vec![self.comparison()?];
        loop {
            self.space();
            if self.rest().is_empty() {
                return Ok(Requirement { comparisons });
            }
            let start = self.at;
            if !self.eat(",") && self.word() != "and" {
                self.at = start;
                return Err(self.fault("expected `,` or `and` between comparisons"));
            }
            comparisons.push(self.comparison()?);
        }
    }

    fn comparison(&mut self) -> Parsed<Comparison> {
        let metric = self.metric()?;
        self.space();
        if !self.eat(">=") {
            let message = match self.rest().chars().next() {
                Some('>' | '<' | '=' | '!') => {
                    "only `>=` is understood: a requirement is a lower bound"
                }
                _ => "expected `>=`",
            };
            return Err(self.fault(message));
        }
        let threshold = self.threshold()?;
        Ok(Comparison { metric, threshold })
    }

    fn metric(&mut self) -> Parsed<Metric> {
        self.space();
        let start = self.at;
        let name = self.word();
        if name.is_empty() {
            return Err(self.fault("expected a metric such as robust_accuracy"));
        }
        let span = |message: String| Fault {
            at: start,
            length: name.len(),
            message,
        };
        if !Metric::NAMES.contains(&name) {
            let names = Metric::NAMES.join(", ");
            return Err(span(format!(
                "unknown metric `{name}`{}; known are {names}",
                hint(name, &Metric::NAMES)
            )));
        }
        let argument = self.argument()?;
        let metric = match (name, &argument) {
            ("accuracy", None) => Metric::Accuracy,
            ("robust_accuracy", None) => Metric::RobustAccuracy,
            ("certified_accuracy", None) => Metric::CertifiedAccuracy,
            ("robust_accuracy", Some(a)) => Metric::RobustAccuracyOf(self.attack(a)?),
            ("macro_f1", None) => Metric::MacroF1 { robust: false },
            ("robust_macro_f1", None) => Metric::MacroF1 { robust: true },
            ("min_recall", None) => Metric::MinRecall { robust: false },
            ("min_robust_recall", None) => Metric::MinRecall { robust: true },
            ("precision", Some(a)) => Metric::Precision {
                class: class(a)?,
                robust: false,
            },
            ("robust_precision", Some(a)) => Metric::Precision {
                class: class(a)?,
                robust: true,
            },
            ("recall", Some(a)) => Metric::Recall {
                class: class(a)?,
                robust: false,
            },
            ("robust_recall", Some(a)) => Metric::Recall {
                class: class(a)?,
                robust: true,
            },
            ("f1", Some(a)) => Metric::F1 {
                class: class(a)?,
                robust: false,
            },
            ("robust_f1", Some(a)) => Metric::F1 {
                class: class(a)?,
                robust: true,
            },
            (_, None) => return Err(span(format!("`{name}` needs a class, such as {name}(0)"))),
            (_, Some(_)) => return Err(span(format!("`{name}` takes no argument"))),
        };
        if metric.under_attack() && !self.attacked {
            return Err(span(format!(
                "`{name}` needs attacks, and a check of kind \"clean\" runs none"
            )));
        }
        Ok(metric)
    }

    /// Parses an argument in brackets; `None` if there are no brackets.
    fn argument(&mut self) -> Parsed<Option<Argument<'a>>> {
        self.space();
        let open = self.at;
        if !self.eat("(") {
            return Ok(None);
        }
        let Some(length) = self.rest().find(')') else {
            return Err(Fault {
                at: open,
                length: 1,
                message: "this bracket is not closed".into(),
            });
        };
        let raw = &self.rest()[..length];
        let at = self.at + (raw.len() - raw.trim_start().len());
        self.at += length + 1;
        Ok(Some(Argument {
            text: raw.trim(),
            at,
        }))
    }

    fn attack(&self, argument: &Argument<'_>) -> Parsed<String> {
        if self.attacks.contains(&argument.text) {
            return Ok(argument.text.to_owned());
        }
        let ids = self.attacks.join(", ");
        let near = hint(argument.text, self.attacks);
        Err(argument.fault(format!(
            "`{}` is not among the attacks of this check{near}: {ids}",
            argument.text
        )))
    }

    fn threshold(&mut self) -> Parsed<f64> {
        self.space();
        let start = self.at;
        let number = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'));
        let span = |message: String| Fault {
            at: start,
            length: number.len().max(1),
            message,
        };
        let value: f64 = number
            .parse()
            .map_err(|_| span(format!("expected a number, found `{number}`")))?;
        self.space();
        let percent = self.eat("%");
        // Divided by 100 rather than multiplied by 0.01, so that 45 % is exactly the number 0.45.
        let value = if percent { value / 100.0 } else { value };
        if (0.0..=1.0).contains(&value) {
            Ok(value)
        } else if !percent && value > 1.0 && value <= 100.0 {
            Err(span(format!(
                "a share is from 0 to 1, found {value}; did you mean `{value} %`?"
            )))
        } else {
            Err(span(format!(
                "a share is from 0 to 1 (or 0 % to 100 %), found {number}"
            )))
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.take(char::is_whitespace);
    }

    fn word(&mut self) -> &'a str {
        self.take(|c| c.is_alphanumeric() || c == '_' || c == '-')
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            at: self.at,
            length: self.rest().chars().next().map_or(1, char::len_utf8),
            message: message.into(),
        }
    }
}

struct Argument<'a> {
    text: &'a str,
    at: usize,
}

impl Argument<'_> {
    fn fault(&self, message: String) -> Fault {
        Fault {
            at: self.at,
            length: self.text.len().max(1),
            message,
        }
    }
}

fn class(argument: &Argument<'_>) -> Parsed<usize> {
    argument.text.parse().map_err(|_| {
        argument.fault(format!(
            "`{}` is no class; expected its number, from 0",
            argument.text
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Requirement, (usize, String)> {
        let mut parser = Parser {
            text,
            at: 0,
            attacks: &["fgsm", "pgd"],
            attacked: true,
        };
        parser.requirement().map_err(|f| (f.at, f.message))
    }

    #[test]
    fn the_grammar() {
        let r = parse("robust_accuracy >= 45 %, robust_accuracy( pgd )>=0.5 and min_recall >= 1")
            .unwrap();
        assert_eq!(
            r.to_string(),
            "robust_accuracy >= 0.45, robust_accuracy(pgd) >= 0.5, min_recall >= 1"
        );
        assert_eq!(r.comparisons[0].threshold.to_bits(), 0.45_f64.to_bits());
        for name in Metric::NAMES {
            let text = |n: &str| parse(&format!("{n} >= 0.5")).map(|r| r.to_string());
            let written = if text(name).is_ok() {
                name.to_owned()
            } else {
                format!("{name}(3)")
            };
            assert_eq!(text(&written).unwrap(), format!("{written} >= 0.5"));
        }
    }

    #[test]
    fn faults_point_at_their_column() {
        for (text, at, message) in [
            ("", 0, "expected a metric"),
            ("robst_accuracy >= 0.5", 0, "did you mean `robust_accuracy`"),
            ("accuracy > 0.5", 9, "only `>=`"),
            ("accuracy 0.5", 9, "expected `>=`"),
            ("accuracy >= x", 12, "expected a number"),
            ("accuracy >= nan", 12, "from 0 to 1"),
            ("accuracy >= 45", 12, "did you mean `45 %`"),
            ("accuracy >= -0.1", 12, "from 0 to 1"),
            ("accuracy >= 101 %", 12, "from 0 to 1"),
            (
                "accuracy >= 0.5 accuracy >= 0.5",
                16,
                "expected `,` or `and`",
            ),
            ("accuracy >= 0.5,", 16, "expected a metric"),
            ("recall >= 0.5", 0, "needs a class"),
            ("recall(cat) >= 0.5", 7, "no class"),
            ("recall(-1) >= 0.5", 7, "no class"),
            ("recall(1 >= 0.5", 6, "not closed"),
            ("accuracy(1) >= 0.5", 0, "takes no argument"),
            ("robust_accuracy(pdg) >= 0.5", 16, "did you mean `pgd`"),
        ] {
            let (found, told) = parse(text).unwrap_err();
            assert!(
                found == at && told.contains(message),
                "{text}: {found} {told}"
            );
        }
    }
}
