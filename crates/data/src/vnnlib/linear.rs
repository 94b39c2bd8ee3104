//! Terms that are linear in the variables.

use std::collections::BTreeMap;

use super::formula::Declared;
use super::text::{Fault, Kind, Node};

/// A variable of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variable {
    /// `X_i`
    Input(usize),
    /// `Y_j`
    Output(usize),
}

impl Variable {
    /// Returns the variable of this name; `None` if the name is not of the form `X_i` or `Y_j`.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (kind, index) = name.split_once('_')?;
        let plain = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        let index = index.parse().ok().filter(|_| plain)?;
        match kind {
            "X" => Some(Self::Input(index)),
            "Y" => Some(Self::Output(index)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(i) => write!(f, "X_{i}"),
            Self::Output(j) => write!(f, "Y_{j}"),
        }
    }
}

/// `sum a_v v + constant`; no coefficient is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Linear {
    pub(super) terms: BTreeMap<Variable, f64>,
    pub(super) constant: f64,
}

impl Linear {
    /// Returns the term that a node stands for.
    pub(super) fn of(node: &Node, declared: &Declared) -> Result<Self, Fault> {
        let fault = |problem: String| Err(Fault::new(node.line, problem));
        if let Kind::Word(word) = &node.kind {
            if let Some(variable) = Variable::named(word) {
                declared.check(variable, node.line)?;
                return Ok(Self {
                    terms: BTreeMap::from([(variable, 1.0)]),
                    constant: 0.0,
                });
            }
            return Ok(Self {
                terms: BTreeMap::new(),
                constant: number(word, node)?,
            });
        }
        let Some((operator, operands)) = node.call().filter(|(_, o)| !o.is_empty()) else {
            return fault(format!(
                "{}; expected a number, a variable or (+ …), (- …), (* …)",
                node.describe()
            ));
        };
        let mut operands = operands.iter().map(|o| Self::of(o, declared));
        let mut value = operands.next().unwrap_or_else(|| Ok(Self::default()))?;
        match operator {
            "-" if operands.len() == 0 => value = value.times(-1.0),
            "+" => {
                for other in operands {
                    value.add(&other?, 1.0);
                }
            }
            "-" => {
                for other in operands {
                    value.add(&other?, -1.0);
                }
            }
            "*" => {
                for other in operands {
                    let other = other?;
                    value = match (value.terms.is_empty(), other.terms.is_empty()) {
                        (_, true) => value.times(other.constant),
                        (true, false) => other.times(value.constant),
                        (false, false) => {
                            return fault(
                                "a product of variables; expected a term linear in them".into(),
                            );
                        }
                    };
                }
            }
            "/" => {
                for other in operands {
                    let other = other?;
                    if !other.terms.is_empty() || other.constant == 0.0 {
                        return fault(
                            "division by a variable or by 0; expected a number other than 0".into(),
                        );
                    }
                    value = value.times(other.constant.recip());
                }
            }
            _ => {
                return fault(format!(
                    "{}; expected a number, a variable or (+ …), (- …), (* …)",
                    node.describe()
                ));
            }
        }
        if value
            .terms
            .values()
            .chain([&value.constant])
            .any(|v| !v.is_finite())
        {
            return fault(format!(
                "{} overflows; expected finite numbers",
                node.describe()
            ));
        }
        Ok(value)
    }

    /// Adds `other` times `by`.
    pub(super) fn add(&mut self, other: &Self, by: f64) {
        for (variable, a) in &other.terms {
            *self.terms.entry(*variable).or_default() += by * a;
        }
        self.terms.retain(|_, a| *a != 0.0);
        self.constant += by * other.constant;
    }

    fn times(mut self, by: f64) -> Self {
        for a in self.terms.values_mut() {
            *a *= by;
        }
        self.terms.retain(|_, a| *a != 0.0);
        self.constant *= by;
        self
    }
}

/// Reads a finite number as SMT-LIB and programs write it.
fn number(word: &str, node: &Node) -> Result<f64, Fault> {
    // `parse` also takes `inf` and `nan`.
    let looks = word
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match word.parse::<f64>() {
        Ok(v) if looks && v.is_finite() => Ok(v),
        Ok(_) if looks => Err(Fault::new(
            node.line,
            format!("{} is no finite number in 64 bits", node.describe()),
        )),
        _ => Err(Fault::new(
            node.line,
            format!(
                "{} is not declared and no number; expected X_i, Y_j or a number",
                node.describe()
            ),
        )),
    }
}
