//! Moves the rows of a region: on the device for modalities whose ball is a box, otherwise row by row on the host.

use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Coupling, Norm};
use rayon::prelude::*;

use super::{Draw, Part, Region, Step};
use crate::batch::{Batch, host};
use crate::row::{self, OnDevice, Stride, ball};

impl Region {
    /// Ascends (if `climb` is given), then projects. Each modality is moved on the device if its norm allows, otherwise
    /// on the host.
    pub(super) fn moved(
        &self,
        x: &Batch,
        climb: Option<&Climb<'_>>,
        radius: Option<&Tensor<1>>,
    ) -> Batch {
        let alone = self.coupling == Coupling::Independent;
        let on_device = |p: &Part| ball(p.norm).on_device().filter(|_| alone);
        let on_host = |p: &Part| on_device(p).is_none();
        let mut visited = if self.parts.iter().any(on_host) {
            self.visited(x, on_host, climb, radius, |_, _| {}).0
        } else {
            vec![None; self.parts.len()]
        };
        let blocks = (self.parts.iter().enumerate())
            .map(|(m, p)| match on_device(p) {
                Some(ball) => p.on_device(ball, m, x.blocks()[m].clone(), climb, radius),
                None => visited[m]
                    .take()
                    .expect("modalities that are not on the device were visited"),
            })
            .collect();
        self.batch(blocks)
    }

    /// Processes the modalities that `which` picks row by row on the host: ascends (if `climb` is given), calls
    /// `change`, then projects exactly. The other modalities' blocks are `None`. Also returns what `change` returned for
    /// each row.
    pub(super) fn visited<T: Send>(
        &self,
        x: &Batch,
        which: impl Fn(&Part) -> bool,
        climb: Option<&Climb<'_>>,
        radius: Option<&Tensor<1>>,
        change: impl Fn(usize, &mut [HostPart<'_>]) -> T + Sync,
    ) -> (Vec<Option<Tensor<2>>>, Vec<T>) {
        let n = self.rows();
        let device = x.device();
        let at: Vec<usize> = (0..self.parts.len())
            .filter(|m| which(&self.parts[*m]))
            .collect();
        let fetch =
            |of: &Batch| -> Vec<Vec<f32>> { at.iter().map(|m| host(&of.blocks()[*m])).collect() };
        let mut xs = fetch(x);
        let gradients = climb.map(|c| fetch(c.direction));
        let paces = climb.map(|c| [host(&c.step.size), host(&c.step.spread)]);
        let radii = radius.map(host);
        let picked: Vec<(&Part, &[Vec<f32>; 3], usize)> = (at.iter())
            .map(|m| {
                (
                    &self.parts[*m],
                    self.parts[*m].fetched(),
                    self.parts[*m].x0.dims()[1],
                )
            })
            .collect();

        // Collect one mutable slice per modality and row, regrouped by row.
        let mut by_row: Vec<Vec<&mut [f32]>> = (0..n).map(|_| Vec::new()).collect();
        for (values, (_, _, width)) in xs.iter_mut().zip(&picked) {
            for (row, slice) in by_row.iter_mut().zip(values.chunks_mut(*width)) {
                row.push(slice);
            }
        }
        let rows = by_row.into_par_iter().enumerate();
        let answers = rows.map(|(r, slices)| {
            let mut parts: Vec<HostPart<'_>> = (slices.into_iter().zip(&picked).enumerate())
                .map(|(i, (x, (p, [x0, lower, upper], width)))| {
                    let at = r * width..(r + 1) * width;
                    HostPart {
                        norm: p.norm,
                        eps: p.eps[r],
                        x,
                        x0: &x0[at.clone()],
                        lower: &lower[at.clone()],
                        upper: &upper[at.clone()],
                        gradient: gradients.as_ref().map(|g| &g[i][at]),
                    }
                })
                .collect();
            let radius = radii.as_ref().map_or(1.0, |of| f64::from(of[r]));
            if let Some([size, spread]) = &paces {
                let plain = climb.is_some_and(|c| c.plain);
                self.ascend(r, &mut parts, f64::from(size[r]), spread[r], plain);
            }
            let answer = change(r, &mut parts);
            self.settle(&mut parts, radius);
            answer
        });
        let answers = answers.collect();
        let mut blocks: Vec<Option<Tensor<2>>> = vec![None; self.parts.len()];
        for ((m, values), (_, _, width)) in at.iter().zip(xs).zip(&picked) {
            blocks[*m] = Some(Tensor::from_data(
                TensorData::new(values, [n, *width]),
                &device,
            ));
        }
        (blocks, answers)
    }

    fn ascend(&self, r: usize, parts: &mut [HostPart<'_>], size: f64, spread: f32, plain: bool) {
        let shares = match self.coupling {
            Coupling::Independent => None,
            Coupling::Shared { q } => self.shares(r, parts, size, q),
        };
        for (i, p) in parts.iter_mut().enumerate() {
            ascend_one(p, size, spread, plain);
            if let Some(share) = shares.as_ref().map(|s| s[i]) {
                row::project(p.norm, p.x, p.x0, p.lower, p.upper, p.eps * share);
            }
        }
    }

    /// Returns each modality's share of a shared budget for a step: the present shares, moved towards those of the best
    /// point for this gradient, four times as fast as the step itself. `None` if the gradient is zero or not finite.
    ///
    /// The best point, `argmax <g, d>` over budget and bounds, is the projection of a point far along the gradient.
    /// Both sets of shares lie in the (convex) shared budget, so any mean of them does.
    fn shares(&self, r: usize, parts: &[HostPart<'_>], size: f64, q: f64) -> Option<Vec<f64>> {
        const FAR: f64 = 300.0;
        let squares = |p: &HostPart<'_>| {
            p.gradient.map_or(0.0, |g| {
                g.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>()
            })
        };
        let norm = parts.iter().map(squares).sum::<f64>().sqrt();
        if !(norm > 0.0 && norm.is_finite()) {
            return None;
        }
        let by = FAR * self.reach(r) / norm;
        let mut far: Vec<Vec<f32>> = parts.iter().map(|p| p.x0.to_vec()).collect();
        for (x, p) in far.iter_mut().zip(parts) {
            add_scaled(x, p.gradient?, by);
        }
        let mut best: Vec<row::Part<'_>> = parts
            .iter()
            .zip(&mut far)
            .map(|(p, x)| p.row_part(x))
            .collect();
        row::project_shared(&mut best, q).expect("Threat::new refuses l0 and bad exponents");
        let pace = (4.0 * size).min(1.0);
        let share = |p: &HostPart<'_>, x: &[f32]| {
            if p.eps > 0.0 {
                row::distance(p.norm, x, p.x0) / p.eps
            } else {
                0.0
            }
        };
        let mean = |p: &HostPart<'_>, x: &Vec<f32>| {
            (1.0 - pace) * share(p, p.x).min(1.0) + pace * share(p, x)
        };
        Some(parts.iter().zip(&far).map(|(p, x)| mean(p, x)).collect())
    }

    fn settle(&self, parts: &mut [HostPart<'_>], radius: f64) {
        match self.coupling {
            Coupling::Independent => {
                for p in parts {
                    row::project(p.norm, p.x, p.x0, p.lower, p.upper, p.eps * radius);
                }
            }
            Coupling::Shared { q } => {
                let mut shared: Vec<row::Part<'_>> = parts
                    .iter_mut()
                    .map(|p| row::Part {
                        norm: p.norm,
                        x: p.x,
                        x0: p.x0,
                        lower: p.lower,
                        upper: p.upper,
                        eps: p.eps * radius,
                    })
                    .collect();
                row::project_shared(&mut shared, q)
                    .expect("Threat::new refuses l0 and bad exponents");
            }
        }
    }

    /// Returns the largest Euclidean distance from the clean row `r` to the boundary of the region. It defines a step
    /// "as long as the budget" for a shared budget.
    fn reach(&self, r: usize) -> f64 {
        (self.parts.iter())
            .map(|p| ball(p.norm).reach_squared(p.eps[r], p.x0.dims()[1]))
            .sum::<f64>()
            .sqrt()
    }
}

impl Part {
    pub(super) fn fetched(&self) -> &[Vec<f32>; 3] {
        self.fetched
            .get_or_init(|| [&self.x0, &self.lower, &self.upper].map(host))
    }

    /// Ascends (if `climb` is given), then clamps modality `m` to ball and box on its device.
    fn on_device(
        &self,
        ball: &dyn OnDevice,
        m: usize,
        x: Tensor<2>,
        climb: Option<&Climb<'_>>,
        radius: Option<&Tensor<1>>,
    ) -> Tensor<2> {
        let units =
            |share: &Tensor<1>| (share.clone() * self.eps_f32.clone()).unsqueeze_dim::<2>(1);
        let x = match climb {
            Some(c) => ball.ascend(
                x,
                c.direction.blocks()[m].clone(),
                units(&c.step.size),
                c.plain,
            ),
            None => x,
        };
        let [lower, upper] = if let (None, Some(interval)) = (radius, &self.interval) {
            interval.clone()
        } else {
            let by = radius.map_or_else(|| self.eps_f32.clone().unsqueeze_dim::<2>(1), units);
            [
                (self.x0.clone() - by.clone()).max_pair(self.lower.clone()),
                (self.x0.clone() + by).min_pair(self.upper.clone()),
            ]
        };
        x.max_pair(lower).min_pair(upper)
    }
}

/// A step: its direction, its lengths, and whether an Linf part adds the direction itself or its signs.
pub(super) struct Climb<'a> {
    direction: &'a Batch,
    step: &'a Step,
    plain: bool,
}

impl<'a> Climb<'a> {
    pub(super) fn new(direction: &'a Batch, step: &'a Step, plain: bool) -> Self {
        Self {
            direction,
            step,
            plain,
        }
    }
}

/// One row of one modality, on the host.
pub(super) struct HostPart<'a> {
    pub(super) norm: Norm,
    pub(super) eps: f64,
    pub(super) x: &'a mut [f32],
    pub(super) x0: &'a [f32],
    pub(super) lower: &'a [f32],
    pub(super) upper: &'a [f32],
    gradient: Option<&'a [f32]>,
}

impl HostPart<'_> {
    /// Returns the part as a function that changes it sees it.
    pub(super) fn draw(&mut self) -> Draw<'_> {
        Draw {
            norm: self.norm,
            eps: self.eps,
            x: self.x,
            x0: self.x0,
            lower: self.lower,
            upper: self.upper,
        }
    }

    /// Returns another point of the same row in the form that the projections take.
    fn row_part<'b>(&'b self, x: &'b mut [f32]) -> row::Part<'b> {
        row::Part {
            norm: self.norm,
            x,
            x0: self.x0,
            lower: self.lower,
            upper: self.upper,
            eps: self.eps,
        }
    }
}

fn ascend_one(p: &mut HostPart<'_>, size: f64, spread: f32, plain: bool) {
    let Some(g) = p.gradient else { return };
    if p.eps == 0.0 || g.iter().any(|v| !v.is_finite()) {
        return;
    }
    let stride = Stride {
        size,
        length: size * p.eps,
        spread,
        plain,
    };
    let mut point = row::Point::new(p.x, p.x0, p.lower, p.upper);
    ball(p.norm).ascend(&mut point, g, &stride);
}

fn add_scaled(x: &mut [f32], g: &[f32], by: f64) {
    for (x, g) in x.iter_mut().zip(g) {
        *x = (f64::from(*x) + by * f64::from(*g)) as f32;
    }
}
