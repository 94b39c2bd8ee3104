//! Converts a formula to disjunctive normal form: input boxes, each with its constraints.

use std::sync::Arc;

use super::formula::{Bound, Formula, Statement};
use super::text::Fault;
use super::{Case, Constraint, InputBox};

/// Maximum number of cases of a file.
const MAX_CASES: u64 = 1 << 16;
/// Maximum number of bounds and constraints in all cases together.
const MAX_PARTS: u64 = 1 << 24;
/// Maximum number of values in all input boxes together.
const MAX_VALUES: usize = 1 << 25;

/// Bounds and constraints of a case, without those common to all cases.
#[derive(Clone, Default)]
struct Parts<'a> {
    bounds: Vec<&'a Bound>,
    constraints: Vec<&'a Constraint>,
}

/// Returns the cases of a statement, in the order of the file.
pub(super) fn cases(statement: &Statement) -> Result<Vec<Case>, Fault> {
    let end = statement.lines;
    // Parts common to all cases are kept once: an image's thousands of bounds are not copied for each class.
    let (mut common, mut alternatives) = (Parts::default(), Vec::new());
    for formula in &statement.assertions {
        sort(formula, &mut common, &mut alternatives);
    }
    let size = product(alternatives.iter().map(|f| size(f)));
    if size.cases > MAX_CASES || size.parts > MAX_PARTS {
        return Err(Fault::new(
            end,
            format!(
                "its `or`s multiply to {} cases of {} parts together; expected at most {MAX_CASES} cases and {MAX_PARTS} parts",
                counted(size.cases),
                counted(size.parts)
            ),
        ));
    }
    let mut base = Sides::new(statement.inputs);
    for bound in &common.bounds {
        base.tighten(bound);
    }
    // Outside every `or`, a contradiction is a mistake; within one, it only rules its case out.
    if let Some(fault) = base.contradiction() {
        return Err(fault);
    }
    let mut cases: Vec<Case> = Vec::new();
    let mut shared: Option<Arc<InputBox>> = None;
    let (mut values, mut last) = (0, None);
    for parts in all_of(&alternatives) {
        let inputs = if let (true, Some(same)) = (parts.bounds.is_empty(), &shared) {
            same.clone()
        } else {
            let mut sides = base.clone();
            for bound in &parts.bounds {
                sides.tighten(bound);
            }
            if let Some(fault) = sides.contradiction() {
                last = Some(fault);
                continue;
            }
            let made = sides.finish(end)?;
            match cases.last() {
                Some(before) if *before.inputs == made => before.inputs.clone(),
                _ => {
                    values += 2 * statement.inputs;
                    if values > MAX_VALUES {
                        let problem = format!("its input boxes hold more than {MAX_VALUES} values");
                        return Err(Fault::new(end, problem));
                    }
                    Arc::new(made)
                }
            }
        };
        if parts.bounds.is_empty() {
            shared = Some(inputs.clone());
        }
        let constraints = common.constraints.iter().chain(&parts.constraints);
        cases.push(Case {
            inputs,
            constraints: constraints.map(|c| (*c).clone()).collect(),
        });
    }
    if cases.is_empty() {
        return Err(last.unwrap_or_else(|| {
            Fault::new(
                end,
                "nothing can satisfy it: a comparison of numbers is false",
            )
        }));
    }
    Ok(cases)
}

/// Separates the parts that hold in every case from the alternatives.
fn sort<'a>(formula: &'a Formula, common: &mut Parts<'a>, alternatives: &mut Vec<&'a Formula>) {
    match formula {
        Formula::All(all) => all.iter().for_each(|f| sort(f, common, alternatives)),
        Formula::Any(any) if any.len() == 1 => sort(&any[0], common, alternatives),
        Formula::Any(_) => alternatives.push(formula),
        Formula::Bound(b) => common.bounds.push(b),
        Formula::Outputs(c) => common.constraints.push(c),
    }
}

/// Size of a formula after it is multiplied out.
#[derive(Clone, Copy)]
struct Size {
    cases: u64,
    parts: u64,
}

fn size(formula: &Formula) -> Size {
    match formula {
        Formula::All(all) => product(all.iter().map(size)),
        Formula::Any(any) => {
            let sum = any
                .iter()
                .map(size)
                .fold(Size { cases: 0, parts: 0 }, |a, b| Size {
                    cases: a.cases.saturating_add(b.cases),
                    parts: a.parts.saturating_add(b.parts),
                });
            // A formula that is never true makes the product 0, but only after its other factors were multiplied out.
            Size {
                cases: sum.cases.max(1),
                ..sum
            }
        }
        Formula::Bound(_) | Formula::Outputs(_) => Size { cases: 1, parts: 1 },
    }
}

fn product(sizes: impl Iterator<Item = Size>) -> Size {
    sizes.fold(Size { cases: 1, parts: 0 }, |a, b| Size {
        cases: a.cases.saturating_mul(b.cases),
        parts: (a.parts.saturating_mul(b.cases)).saturating_add(b.parts.saturating_mul(a.cases)),
    })
}

/// Formats a count that may have saturated.
fn counted(n: u64) -> String {
    if n > 1 << 40 {
        "very many".to_owned()
    } else {
        n.to_string()
    }
}

/// Returns every way to satisfy all of `formulas`; later ones vary fastest.
fn all_of<'a>(formulas: &[&'a Formula]) -> Vec<Parts<'a>> {
    formulas
        .iter()
        .fold(vec![Parts::default()], |ways, formula| {
            let choices = ways_of(formula);
            let mut all = Vec::with_capacity(ways.len() * choices.len());
            for way in &ways {
                for choice in &choices {
                    let mut both = way.clone();
                    both.bounds.extend_from_slice(&choice.bounds);
                    both.constraints.extend_from_slice(&choice.constraints);
                    all.push(both);
                }
            }
            all
        })
}

fn ways_of(formula: &Formula) -> Vec<Parts<'_>> {
    match formula {
        Formula::All(all) => all_of(&all.iter().collect::<Vec<_>>()),
        Formula::Any(any) => any.iter().flat_map(ways_of).collect(),
        Formula::Bound(b) => vec![Parts {
            bounds: vec![b],
            ..Parts::default()
        }],
        Formula::Outputs(c) => vec![Parts {
            constraints: vec![c],
            ..Parts::default()
        }],
    }
}

/// Tightest bounds so far of each input, and the line of each bound.
#[derive(Clone)]
struct Sides {
    low: Vec<Option<(f64, usize)>>,
    high: Vec<Option<(f64, usize)>>,
    /// First input whose bounds exclude each other.
    contradicted: Option<usize>,
}

impl Sides {
    fn new(inputs: usize) -> Self {
        Self {
            low: vec![None; inputs],
            high: vec![None; inputs],
            contradicted: None,
        }
    }

    fn tighten(&mut self, bound: &Bound) {
        let Bound {
            input,
            upper,
            value,
            line,
        } = *bound;
        let side = if upper {
            &mut self.high[input]
        } else {
            &mut self.low[input]
        };
        let tighter = side.is_none_or(|(v, _)| if upper { value < v } else { value > v });
        if tighter {
            *side = Some((value, line));
        }
        if let (Some((low, _)), Some((high, _))) = (self.low[input], self.high[input])
            && low > high
        {
            self.contradicted = self.contradicted.or(Some(input));
        }
    }

    fn contradiction(&self) -> Option<Fault> {
        let input = self.contradicted?;
        let ((low, from), (high, to)) = (self.low[input]?, self.high[input]?);
        Some(Fault::new(
            from.max(to),
            format!(
                "X_{input} is at least {low} (line {from}) and at most {high} (line {to}); expected bounds that leave a value"
            ),
        ))
    }

    fn finish(&self, end: usize) -> Result<InputBox, Fault> {
        let whole = |sides: &[Option<(f64, usize)>], what: &str| {
            sides
                .iter()
                .enumerate()
                .map(|(i, side)| {
                    side.map(|(v, _)| v).ok_or_else(|| {
                        let problem = format!(
                            "X_{i} has no {what} bound; expected both, a search needs a box"
                        );
                        Fault::new(end, problem)
                    })
                })
                .collect::<Result<Vec<f64>, Fault>>()
        };
        Ok(InputBox {
            low: whole(&self.low, "lower")?,
            high: whole(&self.high, "upper")?,
        })
    }
}
