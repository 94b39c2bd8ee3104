//! Reads commands into formulas over atoms.

use super::Constraint;
use super::linear::{Linear, Variable};
use super::text::{Fault, Forms, Node};

/// Maximum number of variables; more are treated as a mistake.
const MAX_VARIABLES: usize = 1 << 24;

/// Contents of a file.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Assertions, all of which must hold.
    pub(super) assertions: Vec<Formula>,
    /// Number of the last line.
    pub(super) lines: usize,
}

/// A formula without negation. An empty `All` is true, an empty `Any` is false.
#[derive(Debug)]
pub(super) enum Formula {
    All(Vec<Formula>),
    Any(Vec<Formula>),
    Bound(Bound),
    Outputs(Constraint),
}

/// A bound on one input, ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bound {
    pub(super) input: usize,
    pub(super) upper: bool,
    pub(super) value: f64,
    pub(super) line: usize,
}

/// Variables declared so far.
#[derive(Debug, Default)]
pub(super) struct Declared {
    inputs: Vec<bool>,
    outputs: Vec<bool>,
}

impl Declared {
    fn slots(&self, variable: Variable) -> (&Vec<bool>, usize, char) {
        match variable {
            Variable::Input(i) => (&self.inputs, i, 'X'),
            Variable::Output(j) => (&self.outputs, j, 'Y'),
        }
    }

    /// Refuses a variable that is not declared.
    pub(super) fn check(&self, variable: Variable, line: usize) -> Result<(), Fault> {
        let (slots, index, letter) = self.slots(variable);
        if slots.get(index) == Some(&true) {
            return Ok(());
        }
        let known = match slots.iter().filter(|d| **d).count() {
            0 => format!("no {letter}_… is declared before it"),
            n => format!("{n} {letter}_… are declared before it"),
        };
        Err(Fault::new(
            line,
            format!("`{variable}` is not declared; {known}"),
        ))
    }

    fn add(&mut self, variable: Variable, line: usize) -> Result<(), Fault> {
        let (slots, index) = match variable {
            Variable::Input(i) => (&mut self.inputs, i),
            Variable::Output(j) => (&mut self.outputs, j),
        };
        if index >= MAX_VARIABLES {
            return Err(Fault::new(
                line,
                format!("`{variable}`; expected an index below {MAX_VARIABLES}"),
            ));
        }
        if slots.len() <= index {
            slots.resize(index + 1, false);
        }
        if std::mem::replace(&mut slots[index], true) {
            return Err(Fault::new(line, format!("`{variable}` is declared twice")));
        }
        Ok(())
    }

    /// Returns the number of variables; an error if they are not numbered without gaps from 0.
    fn count(slots: &[bool], letter: char, what: &str, line: usize) -> Result<usize, Fault> {
        if slots.is_empty() {
            let problem =
                format!("declares no {what}; expected `(declare-const {letter}_0 Real)` and so on");
            return Err(Fault::new(line, problem));
        }
        match slots.iter().position(|d| !d) {
            None => Ok(slots.len()),
            Some(gap) => Err(Fault::new(
                line,
                format!(
                    "declares {letter}_{} and no {letter}_{gap}; expected every index from 0",
                    slots.len() - 1
                ),
            )),
        }
    }
}

/// Reads a whole file.
pub(super) fn read(bytes: &[u8]) -> Result<Statement, Fault> {
    let mut forms = Forms::new(bytes);
    let mut declared = Declared::default();
    let mut assertions = Vec::new();
    while let Some(form) = forms.next()? {
        let fault =
            |problem: &str| Fault::new(form.line, format!("{}: {problem}", form.describe()));
        match form.call() {
            Some(("declare-const", [name, of])) => declare(&mut declared, &form, name, of)?,
            Some(("declare-fun", [name, parameters, of])) => {
                if !matches!(&parameters.kind, super::text::Kind::List(l) if l.is_empty()) {
                    return Err(fault("expected no parameters, `(declare-fun X_0 () Real)`"));
                }
                declare(&mut declared, &form, name, of)?;
            }
            Some(("declare-const" | "declare-fun", _)) => {
                return Err(fault(
                    "expected a name and a type, `(declare-const X_0 Real)`",
                ));
            }
            Some(("assert", [formula])) => assertions.push(formula_of(formula, &declared)?),
            Some(("assert", _)) => return Err(fault("expected one formula")),
            // Commands to solvers, not part of the property.
            Some((
                "set-logic" | "set-info" | "set-option" | "check-sat" | "get-model" | "exit",
                _,
            )) => {}
            Some(("vnnlib-version" | "declare-network", _)) => {
                return Err(fault(
                    "this is VNN-LIB 2; expected VNN-LIB 1.0 with X_i and Y_j",
                ));
            }
            _ => return Err(fault("expected declare-const, declare-fun or assert")),
        }
    }
    let lines = forms.line();
    Ok(Statement {
        inputs: Declared::count(&declared.inputs, 'X', "input", lines)?,
        outputs: Declared::count(&declared.outputs, 'Y', "output", lines)?,
        assertions,
        lines,
    })
}

fn declare(declared: &mut Declared, form: &Node, name: &Node, of: &Node) -> Result<(), Fault> {
    let Some(variable) = name.word().and_then(Variable::named) else {
        return Err(Fault::new(
            name.line,
            format!("declares {}; expected X_i or Y_j", name.describe()),
        ));
    };
    if of.word() != Some("Real") {
        return Err(Fault::new(
            of.line,
            format!("`{variable}` is of type {}; expected Real", of.describe()),
        ));
    }
    declared.add(variable, form.line)
}

fn formula_of(node: &Node, declared: &Declared) -> Result<Formula, Fault> {
    let expected = "expected (and …), (or …), (<= a b), (>= a b), (< a b), (> a b) or (= a b)";
    let fault = |problem: String| Err(Fault::new(node.line, problem));
    let Some((operator, operands)) = node.call() else {
        return fault(format!("{}; {expected}", node.describe()));
    };
    if matches!(operator, "and" | "or") {
        if operands.is_empty() {
            return fault(format!(
                "`({operator})` of nothing; expected at least one formula"
            ));
        }
        let all = operands
            .iter()
            .map(|o| formula_of(o, declared))
            .collect::<Result<_, _>>()?;
        return Ok(if operator == "and" {
            Formula::All(all)
        } else {
            Formula::Any(all)
        });
    }
    if !matches!(operator, "<=" | ">=" | "<" | ">" | "=") {
        return fault(format!("{}; {expected}", node.describe()));
    }
    let [left, right] = operands else {
        return fault(format!(
            "{} compares {} terms; expected 2",
            node.describe(),
            operands.len()
        ));
    };
    let (left, right) = (Linear::of(left, declared)?, Linear::of(right, declared)?);
    let strict = matches!(operator, "<" | ">");
    let (mut less, mut more) = (left, right);
    if matches!(operator, ">=" | ">") {
        std::mem::swap(&mut less, &mut more);
    }
    let at_most = at_most(&less, &more, strict, node)?;
    if operator != "=" {
        return Ok(at_most);
    }
    let at_least = self::at_most(&more, &less, strict, node)?;
    Ok(Formula::All(vec![at_most, at_least]))
}

/// Returns `less <= more` (`<` if `strict`) in normal form.
fn at_most(less: &Linear, more: &Linear, strict: bool, node: &Node) -> Result<Formula, Fault> {
    let mut sum = less.clone();
    sum.add(more, -1.0);
    let fault = |problem: &str| {
        Err(Fault::new(
            node.line,
            format!("{} {problem}", node.describe()),
        ))
    };
    if sum
        .terms
        .values()
        .chain([&sum.constant])
        .any(|v| !v.is_finite())
    {
        return fault("overflows; expected finite numbers");
    }
    let is_input = |v: &Variable| matches!(v, Variable::Input(_));
    let inputs = sum.terms.keys().filter(|v| is_input(v)).count();
    if inputs == 0 && sum.terms.is_empty() {
        let holds = sum.constant < 0.0 || (sum.constant == 0.0 && !strict);
        return Ok(if holds {
            Formula::All(Vec::new())
        } else {
            Formula::Any(Vec::new())
        });
    }
    if inputs == 0 {
        let output = |(v, a): (&Variable, &f64)| match v {
            Variable::Output(j) => (*j, *a),
            Variable::Input(i) => unreachable!("X_{i} was counted"),
        };
        return Ok(Formula::Outputs(Constraint {
            terms: sum.terms.iter().map(output).collect(),
            at_most: -sum.constant,
            strict,
        }));
    }
    let (1, Some((Variable::Input(input), a)), 1) =
        (inputs, sum.terms.first_key_value(), sum.terms.len())
    else {
        return fault(
            "ties an input to other variables; expected a bound on one X_i, or a constraint on Y_j alone",
        );
    };
    let (upper, mut value) = (*a > 0.0, -sum.constant / a);
    if strict {
        value = if upper {
            value.next_down()
        } else {
            value.next_up()
        };
    }
    if value.is_nan() || value.abs() > f64::from(f32::MAX) {
        return fault("is a bound beyond the range of 32-bit floats; networks take those");
    }
    Ok(Formula::Bound(Bound {
        input: *input,
        upper,
        value,
        line: node.line,
    }))
}
