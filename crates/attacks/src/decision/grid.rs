//! Grid search.
//!
//! # Idea
//! With a handful of features, such as angle and shifts of an image (`--map spatial`), try them all: the points of a
//! grid over the budget, those at its edge first.
//!
//! # Maths
//! With `k = points` and `j_f` in `0..k` for each of the `d` features: `x_f = x0_f + ε (2 j_f / (k − 1) − 1)`, clipped
//! to the bounds; `k^d` points, by falling `max_f |x_f − x0_f|`.
//!
//! # Reference
//! Engstrom, Tran, Tsipras, Schmidt and Madry, "Exploring the Landscape of Spatial Robustness", ICML 2019, section 3.1.
//!
//! # Divergences
//! The paper takes 5 values for each shift and 31 for the angle; here each feature has as many. The search ends at the
//! first point that succeeds, where the paper looks for the largest loss.
//!
//! # Cost
//! At most `points^d` forwards per sample, and one to judge; no gradients. More than 100,000 points are refused.
//!
//! # When it fails
//! Where what succeeds is narrower than the grid's spacing; `pgd` on the same map finds some of it. It does not serve for
//! inputs of more than a few features.
//!
//! # Example
//! ```
//! let table: toml::Table = "points = 5".parse().unwrap();
//! assert!(proofmark_attacks::build("grid", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Parameters, Rows, Stepper, run,
};
use proofmark_model::DecisionModel;
use proofmark_threat::Budget;
use serde::{Deserialize, Serialize};

use crate::config::{read, require, written};
use crate::inputs;

/// Largest number of points of a grid.
const MOST: u64 = 100_000;

/// Parameters of the grid search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Points along each feature, at least 2; default 9. An odd number includes the clean value.
    pub points: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { points: 9 }
    }
}

const META: Meta = Meta {
    id: "grid",
    version: 1,
    summary: "tries a grid over a few features, as those of a rotation and a shift",
    role: Role::Attack,
    needs: Needs::Decisions,
    norms: &[Norm::Linf],
    reference: "Engstrom et al. 2019, arXiv:1712.02779",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Grid, BuildError> {
        let ok = self.points >= 2;
        require(ok, META.id, "points", self.points, "at least 2")?;
        Ok(Grid(self))
    }
}

/// The grid search with its parameters checked.
#[derive(Debug)]
pub struct Grid(Config);

/// The points of a grid, each as shares of epsilon per feature, the farthest first.
#[derive(Debug)]
struct Points {
    all: Vec<Vec<f32>>,
    /// Place of the input that changes.
    input: usize,
}

impl Points {
    fn new(points: u32, features: u32, input: usize) -> Self {
        let last = points - 1;
        // The distance from the centre of an axis, in half spacings, so that it is exact.
        let off = |j: u32| (2 * j).abs_diff(last);
        let count = u64::from(points).pow(features);
        let mut all: Vec<Vec<u32>> = (0..count)
            .map(|mut i| {
                let digit = |_| {
                    let j = (i % u64::from(points)) as u32;
                    i /= u64::from(points);
                    j
                };
                (0..features).map(digit).collect()
            })
            .collect();
        all.sort_by_key(|p| std::cmp::Reverse(p.iter().map(|j| off(*j)).max()));
        let share = |j: &u32| 2.0 * *j as f32 / last as f32 - 1.0;
        Self {
            all: all.iter().map(|p| p.iter().map(share).collect()).collect(),
            input,
        }
    }
}

impl<M: DecisionModel + ?Sized> Stepper<M> for Points {
    type State = ();

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.all.len() as u32
    }

    fn start(&self, _: &mut Oracle<'_, M>, _: &mut Rows) -> Result<(), EngineError> {
        Ok(())
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        (): &mut (),
    ) -> Result<(), EngineError> {
        let steps = rows.steps().to_vec();
        let region = rows.region();
        let inputs = region.x0().blocks().len();
        let (x, _) = region.alter(&region.x0(), |row, draws| {
            let at = &self.all[steps[row] as usize];
            let input = self.input.min(inputs - 1);
            let draw = &mut draws[input];
            for (x, share) in draw.x.iter_mut().zip(at) {
                *x += draw.eps as f32 * share;
            }
        });
        oracle.decide_at(rows, &x)?;
        Ok(())
    }
}

impl Grid {
    /// Returns the place and the number of features of the input that changes, which are few enough.
    fn input(&self, job: &Job<'_>) -> Result<(usize, u32), EngineError> {
        let modalities = &job.samples.modalities;
        let mut budgets = job.threat.budgets().iter();
        let input = budgets.position(Budget::moves).unwrap_or(0);
        let features = modalities[input].features();
        let count = u32::try_from(features).ok();
        let count = count.and_then(|f| u64::from(self.0.points).checked_pow(f));
        if count.is_some_and(|n| n <= MOST) {
            return Ok((input, features as u32));
        }
        Err(EngineError::Parameter {
            name: "features that may change",
            given: format!(
                "{features} in input `{}`, {} points each",
                modalities[input].name, self.0.points
            ),
            expected: format!(
                "few enough for a grid of {MOST} points, as those of `--map spatial`; other attacks take any number"
            ),
        })
    }
}

impl Attack for Grid {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Parameters {
        written(&self.0)
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        inputs::one(&META, job)?;
        self.input(job).map(|_| ())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let (input, features) = self.input(job)?;
        let points = Points::new(self.0.points, features, input);
        run(access.decisions(), &points, job)
    }
}

/// Registry entry of the grid search.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_every_point_once_and_the_farthest_first() {
        let points = Points::new(3, 2, 0);
        assert_eq!(points.all.len(), 9);
        assert_eq!(points.all[8], [0.0, 0.0]);
        let far = |p: &Vec<f32>| p.iter().any(|v| v.abs() == 1.0);
        assert!(points.all[..8].iter().all(far));
        let mut sorted = points.all;
        sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
        sorted.dedup();
        assert_eq!(sorted.len(), 9);
    }
}
