//! Searches for a counterexample to a property: a point in an input box whose outputs satisfy a case.
//!
//! The search can find a counterexample and show it; it can never prove that there is none.

mod climb;
mod kept;
mod model;
mod property;
mod random_search;
mod schedule;
mod search;
mod space;
mod start;
mod windows;
mod witness;

use std::fmt::{self, Write as _};

use proofmark_data::vnnlib::Spec;
use proofmark_domain::{QueryCount, Seed};
use proofmark_engine::{Access, Silent};

use crate::{Progress, RunError};

/// Description of a search.
///
/// ```
/// use proofmark::burn::tensor::Device;
/// use proofmark::{BurnModel, Falsify, data::vnnlib, domain::{Bounds, Kind, Modality}, engine::Access};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let inputs = Modality { name: "x".into(), kind: Kind::Table, shape: vec![2], bounds: Bounds::uniform(0.0, 1.0)? };
/// let squares = BurnModel::closure(vec![inputs], 2, &Device::flex(), |x| x[0].clone() * x[0].clone())?;
/// let spec = vnnlib::parse("a ring", "
///     (declare-const X_0 Real) (assert (<= X_0 1)) (assert (>= X_0 0))
///     (declare-const X_1 Real) (assert (<= X_1 1)) (assert (>= X_1 0))
///     (declare-const Y_0 Real) (declare-const Y_1 Real)
///     (assert (and (>= (+ Y_0 Y_1) 1) (<= (+ Y_0 Y_1) 1.01)))")?;
/// let found = Falsify::new(Access::Gradients(&squares), &spec).run()?.counterexample.expect("there is one");
/// assert!((1.0..1.01).contains(&(found.x[0].powi(2) + found.x[1].powi(2))));
/// # Ok(()) }
/// ```
#[non_exhaustive]
pub struct Falsify<'a> {
    /// The model. With gradients, the search maximises a loss; with scores alone, it searches at random.
    pub model: Access<'a>,
    /// The property.
    pub spec: &'a Spec,
    /// Seed of every random number.
    pub seed: Seed,
    /// Number of effort levels, each about twice as long as the one before up to the fifth; `None` continues until
    /// `stop` returns `true`.
    pub levels: Option<u32>,
    /// Called between steps; `true` ends the search.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Receives progress.
    pub progress: &'a dyn Progress,
}

impl fmt::Debug for Falsify<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Falsify")
            .field("model", &self.model)
            .field("seed", &self.seed)
            .field("levels", &self.levels)
            .finish_non_exhaustive()
    }
}

/// A point that satisfies a case, confirmed by a separate forward pass.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Counterexample {
    /// Index of the case in the property.
    pub case: usize,
    /// The inputs, within the bounds of the case in 64 bits; rounded to 32 bits, they are what the model was given.
    pub x: Vec<f64>,
    /// The model's outputs there.
    pub y: Vec<f32>,
    /// Distance of the outputs from violating the case ([`proofmark_data::vnnlib::Case::margin`]), at least 0.
    pub margin: f64,
}

impl Counterexample {
    /// Returns the point in the format of VNN-COMP: `sat`, then `((X_0 v) … (Y_m v))`, one pair per line.
    pub fn to_text(&self) -> String {
        let mut text = String::from("sat\n(");
        let y = self.y.iter().map(|y| f64::from(*y));
        let names = (0..self.x.len()).map(|i| format!("X_{i}"));
        let names = names.chain((0..self.y.len()).map(|j| format!("Y_{j}")));
        for (k, (name, v)) in names.zip(self.x.iter().copied().chain(y)).enumerate() {
            let gap = if k == 0 { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{gap}({name} {v:?})");
        }
        text.push_str(")\n");
        text
    }
}

/// Result of a search.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Falsified {
    /// The counterexample, if one was found. `None` is no proof that there is none.
    pub counterexample: Option<Counterexample>,
    /// Without a counterexample: how near the search came, in units of the largest coefficient; negative.
    pub nearest: Option<f32>,
    /// Number of effort levels that were completed.
    pub levels: u32,
    /// Forwards and backwards spent, in points.
    pub queries: QueryCount,
}

impl<'a> Falsify<'a> {
    /// Creates a search with seed 0 and four levels, without progress and without a stop condition.
    pub fn new(model: impl Into<Access<'a>>, spec: &'a Spec) -> Self {
        Self {
            model: model.into(),
            spec,
            seed: Seed(0),
            levels: Some(4),
            stop: &|| false,
            progress: &Silent,
        }
    }

    /// Runs the search.
    pub fn run(&self) -> Result<Falsified, RunError> {
        search::run(self)
    }
}
