//! Confirms a counterexample, and moves it away from the edge.

use proofmark_domain::{Modality, QueryCount};
use proofmark_model::{ModelError, Query, guarded_device};
use proofmark_threat::{Batch, host};

use super::Counterexample;
use super::schedule::{Direction, Method, Recipe, Weighing};
use super::search::{Attempt, Search};
use super::space::key;
use super::start::Start;
use crate::RunError;

/// Grid that a counterexample of a model with steps is rounded to, as a share of the largest half width of its box.
const GRID: f64 = 1.0 / 16.0;

/// Number of steps to enlarge a counterexample's margin, and the margin that is enough, as a share of the largest
/// output.
const POLISH: (u32, f64) = (30, 1e-3);

impl Search<'_> {
    /// Measures a point by a forward pass outside the engine. Returns the counterexample, or how far the point falls
    /// short.
    pub(super) fn measure(
        &mut self,
        case: usize,
        u: &[f32],
    ) -> Result<Result<Counterexample, f64>, RunError> {
        let x = guarded_device(|| {
            let cube = self.cube.signature();
            let at = Batch::from_host(cube.modalities.clone(), vec![u.to_vec()], &cube.device)?;
            let query = Query::one_per_row(at, &[key(case, 0)]);
            let blocks = self.cube.outside(&query)?.x.to_host();
            Ok::<_, ModelError>(blocks.into_iter().flatten().collect::<Vec<f32>>())
        })?;
        self.confirm(case, &x)
    }

    /// Measures a point in the model's own coordinates.
    fn confirm(&mut self, case: usize, x: &[f32]) -> Result<Result<Counterexample, f64>, RunError> {
        let of = &self.plan.spec.cases[case];
        let inner = self.plan.model.scores("falsify")?;
        let signature = inner.signature();
        let y = guarded_device(|| {
            let mut rest = x;
            let block = |m: &Modality| {
                let (block, after) = rest.split_at(m.features());
                rest = after;
                block.to_vec()
            };
            let blocks = signature.modalities.iter().map(block).collect();
            // The batch is built from host values, as by anyone who reads the numbers from a file.
            let plain = Batch::from_host(signature.modalities.clone(), blocks, &signature.device)?;
            let scores = inner.scores(&Query::one_per_row(plain, &[0]))?;
            Ok::<_, ModelError>(host(&scores))
        })?;
        self.queries += QueryCount {
            forward: inner.cost(),
            ..QueryCount::default()
        };
        let written = self.cube.exact(case, x);
        let same = written.iter().zip(x).all(|(w, x)| *w as f32 == *x);
        let margin = of.margin(&y);
        let sound = y.iter().all(|y| y.is_finite()) && of.satisfied(&y);
        if !(sound && same && of.inputs.contains(&written)) {
            return Ok(Err(if margin.is_finite() {
                margin.abs()
            } else {
                0.0
            }));
        }
        Ok(Ok(Counterexample {
            case,
            x: written,
            y,
            margin,
        }))
    }

    /// Moves a counterexample away from the edge, so that it also holds in other arithmetic; keeps it if that does not
    /// succeed.
    pub(super) fn polish(
        &mut self,
        u: &[f32],
        mut point: Counterexample,
    ) -> Result<Counterexample, RunError> {
        let (steps, clear) = POLISH;
        let mut u = u.to_vec();
        while self.shape.gradients && !(self.plan.stop)() {
            let size = point
                .y
                .iter()
                .fold(1.0_f64, |a, y| a.max(f64::from(y.abs())));
            if point.margin >= clear * size {
                break;
            }
            let recipe = Recipe {
                weighing: Weighing::Worst,
                method: Method::Climb {
                    direction: Direction::Sign,
                    scatter: 0,
                    lengths: (0.05, 1e-4),
                },
                start: Start::Given,
                draws: 1,
                steps,
            };
            let wanted = (4.0 * point.margin).clamp(1e-6 * size, clear * size);
            let outcomes = self.carry_out(Attempt {
                name: "clearing the edge".to_owned(),
                recipe,
                cases: vec![point.case],
                starts: vec![Start::Given],
                values: u.clone(),
                slack: wanted,
            })?;
            let Some(better) = outcomes.rows.into_iter().find_map(|o| o.point) else {
                break;
            };
            let moved = better.x.into_iter().flatten().collect::<Vec<f32>>();
            match self.measure(point.case, &moved)? {
                Ok(clearer) if clearer.margin > point.margin => (u, point) = (moved, clearer),
                _ => break,
            }
        }
        if self.shape.steps {
            return self.rounded(point);
        }
        Ok(point)
    }

    /// Rounds a counterexample to a coarse grid if it remains one: sums of few digits are the same in any order, so no
    /// step is taken in one program and not in another.
    fn rounded(&mut self, point: Counterexample) -> Result<Counterexample, RunError> {
        let inputs = self.plan.spec.cases[point.case].inputs.clone();
        let sides = || inputs.low.iter().zip(&inputs.high);
        let half = sides().map(|(l, h)| (h - l) / 2.0).fold(0.0, f64::max);
        let grid = half.log2().floor().exp2() * GRID;
        if !(grid.is_normal() && half.is_finite()) {
            return Ok(point);
        }
        let x: Vec<f32> = point
            .x
            .iter()
            .zip(sides())
            .map(|(x, (low, high))| {
                let near = (x / grid).round() * grid;
                (if (*low..=*high).contains(&near) {
                    near
                } else {
                    *x
                }) as f32
            })
            .collect();
        Ok(match self.confirm(point.case, &x)? {
            Ok(rounded) if rounded.margin >= point.margin => rounded,
            _ => point,
        })
    }
}
