//! VNN-LIB 1.0: a property of a network as constraints on its inputs `X_i` and outputs `Y_j`.
//!
//! A file states what a *counterexample* is: an input within bounds whose outputs satisfy linear constraints, with
//! `and` and `or` in any nesting. It is read as that statement in disjunctive normal form: a list of [`Case`]s, each an
//! input box and a conjunction of `sum a_j Y_j <= b`. A point that satisfies one case satisfies the file.
//!
//! Supported: `declare-const` and `declare-fun` of `X_i` and `Y_j` as `Real`; `assert` over `and`, `or`, `<=`, `>=`,
//! `<`, `>` and `=`; terms of numbers, variables, `+`, `-`, `*` and `/` that are linear. A constraint is either a bound
//! on one input or linear in the outputs; one that ties inputs together, or inputs to outputs, is refused, as is
//! everything else.
//!
//! **Reference.** S. Demarchi, D. Guidotti, L. Pulina, A. Tacchella: *Supporting standardization of neural networks
//! verification with VNN-LIB and `CoCoNet`*, 2023; the benchmarks of VNN-COMP.

mod cases;
mod formula;
mod linear;
mod text;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::DataError;
use crate::source::{Source, sha256};

/// A property: the conditions on a counterexample, as alternatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Name of the file, without its folder.
    pub name: String,
    /// Hex SHA-256 of the file as stored on disk.
    pub sha256: String,
    /// Number of inputs, at least 1.
    pub inputs: usize,
    /// Number of outputs, at least 1.
    pub outputs: usize,
    /// Alternatives, in the order of the file, at least one.
    pub cases: Vec<Case>,
}

/// One alternative: every input within its bounds and every constraint satisfied.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Bounds of the inputs; shared by cases with equal bounds.
    pub inputs: Arc<InputBox>,
    /// Constraints on the outputs, all of which must hold; empty if any outputs are allowed.
    pub constraints: Vec<Constraint>,
}

/// Bounds of every input; ends included. An input with equal bounds is fixed.
#[derive(Debug, Clone, PartialEq)]
pub struct InputBox {
    /// Lowest value of each input.
    pub low: Vec<f64>,
    /// Highest value of each input, at least the lowest.
    pub high: Vec<f64>,
}

impl InputBox {
    /// Whether a point lies inside, ends included. A NaN does not.
    pub fn contains(&self, x: &[f64]) -> bool {
        let inside = |((x, low), high): ((&f64, &f64), &f64)| low <= x && x <= high;
        x.len() == self.low.len() && x.iter().zip(&self.low).zip(&self.high).all(inside)
    }
}

/// `sum a_j Y_j <= b`, or `<` if strict.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// Output and coefficient, in increasing order of outputs; no coefficient is 0.
    pub terms: Vec<(usize, f64)>,
    /// Right-hand side `b`.
    pub at_most: f64,
    /// Whether equality violates the constraint.
    pub strict: bool,
}

impl Constraint {
    /// Returns `sum a_j Y_j - b`, in `f64`: positive if the constraint is violated.
    pub fn violation(&self, outputs: &[f32]) -> f64 {
        let sum: f64 = self
            .terms
            .iter()
            .map(|(j, a)| a * f64::from(outputs[*j]))
            .sum();
        sum - self.at_most
    }

    /// Whether the constraint holds. Outputs that are not numbers satisfy no constraint.
    pub fn holds(&self, outputs: &[f32]) -> bool {
        let violation = self.violation(outputs);
        violation < 0.0 || (violation == 0.0 && !self.strict)
    }
}

impl Case {
    /// Returns how far the outputs are from violating a constraint: the smallest `b - sum a_j Y_j`, negative if one is
    /// violated. Infinite without constraints.
    pub fn margin(&self, outputs: &[f32]) -> f64 {
        self.constraints
            .iter()
            .map(|c| -c.violation(outputs))
            .fold(
                f64::INFINITY,
                |a, b| if b < a || b.is_nan() { b } else { a },
            )
    }

    /// Whether the outputs satisfy every constraint.
    pub fn satisfied(&self, outputs: &[f32]) -> bool {
        self.constraints.iter().all(|c| c.holds(outputs))
    }
}

/// Opens a `.vnnlib` file, also gzipped.
pub fn open(path: &Path) -> Result<Spec, DataError> {
    read(&Source::read(path)?)
}

/// Reads a property from memory; messages call it `name`.
///
/// ```
/// use proofmark_data::vnnlib;
/// let text = "(declare-const X_0 Real) (assert (and (>= X_0 0) (<= X_0 1)))
///             (declare-const Y_0 Real) (declare-const Y_1 Real)
///             (assert (or (>= Y_0 Y_1) (<= Y_1 0.5)))";
/// let spec = vnnlib::parse("example", text)?;
/// assert_eq!((spec.inputs, spec.outputs, spec.cases.len()), (1, 2, 2));
/// assert!(spec.cases[1].satisfied(&[0.0, 0.25]));
/// # Ok::<(), proofmark_data::DataError>(())
/// ```
pub fn parse(name: &str, text: impl Into<Vec<u8>>) -> Result<Spec, DataError> {
    read(&Source {
        file: name.to_owned(),
        name: name.to_owned(),
        bytes: text.into(),
    })
}

fn read(source: &Source) -> Result<Spec, DataError> {
    let text = unpack(source)?;
    let fault = |f: text::Fault| source.corrupt(format!("line {}", f.line), f.problem);
    let statement = formula::read(text.as_deref().unwrap_or(&source.bytes)).map_err(fault)?;
    let cases = cases::cases(&statement).map_err(fault)?;
    Ok(Spec {
        name: source.name.clone(),
        sha256: sha256(&[&source.bytes]),
        inputs: statement.inputs,
        outputs: statement.outputs,
        cases,
    })
}

/// Returns the contents of a gzip; `None` for a plain file.
fn unpack(source: &Source) -> Result<Option<Vec<u8>>, DataError> {
    if !source.bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(None);
    }
    let mut text = Vec::new();
    let allowed = source.allowed();
    MultiGzDecoder::new(source.bytes.as_slice())
        .take(allowed + 1)
        .read_to_end(&mut text)
        .map_err(|e| source.corrupt("gzip", format!("cannot be unpacked: {e}")))?;
    if text.len() as u64 > allowed {
        return Err(source.too_large("gzip", text.len() as u128));
    }
    Ok(Some(text))
}
