use std::sync::Arc;

use burn::tensor::{Bool, Device, Tensor, TensorData};
use proofmark_domain::{Coupling, Modality, Norm};
use proofmark_stats::random::{Stream, StreamKey};
use rayon::prelude::*;

use crate::batch::{Batch, host};
use crate::columns::{Column, Columns};
use crate::row;
use crate::threat::Threat;

/// The set each row of a running attack may move in: ball, bounds and mask, made concrete.
///
/// Bounds, mask and (for Linf) the ball are merged into one interval per feature, so that an Linf step is
/// two elementwise clamps on the device. L2, L1 and L0 steps are computed row by row on the host, in `f64`
/// ([`row`]): exact projections need sorting, which burn does on the host on every backend anyway.
#[derive(Debug, Clone)]
pub struct Region {
    modalities: Arc<[Modality]>,
    coupling: Coupling,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    norm: Norm,
    /// Clean rows `[rows, features]`.
    x0: Tensor<2>,
    lower: Tensor<2>,
    upper: Tensor<2>,
    /// Budget of each row; the exact value beside its `f32` copy on the device.
    eps: Vec<f64>,
    eps_f32: Tensor<1>,
}

/// How far each row steps.
#[derive(Debug, Clone)]
pub struct Step {
    /// Step length per row, in units of its budget (1 = all of epsilon).
    pub size: Vec<f32>,
    /// Least share of the features an L1 step is spread over, per row, in `[0, 1]`; at least one feature moves.
    pub spread: Vec<f32>,
}

impl Region {
    /// The region around rows of a set.
    ///
    /// `values` are the clean rows per modality (`rows * features`, C order), `samples` their places in the
    /// set (for per-sample budgets).
    pub fn new(
        threat: &Threat,
        modalities: &Arc<[Modality]>,
        values: &[Vec<f32>],
        samples: &[usize],
        device: &Device,
    ) -> Self {
        let parts = threat
            .budgets()
            .iter()
            .zip(modalities.iter())
            .zip(values)
            .map(|((budget, modality), x0)| {
                let features = modality.features();
                let eps: Vec<f64> = samples.iter().map(|i| budget.radius.of(*i)).collect();
                let mut lower = vec![0.0; x0.len()];
                let mut upper = vec![0.0; x0.len()];
                for (i, x) in x0.iter().enumerate() {
                    let (r, f) = (i / features, i % features);
                    let free = eps[r] > 0.0 && budget.mask.as_ref().is_none_or(|m| m[f]);
                    let (lo, hi) = if free {
                        (modality.bounds.low(f), modality.bounds.high(f))
                    } else {
                        (*x, *x)
                    };
                    // A clean value outside the stated bounds was refused when the data were read.
                    let (lo, hi) = (lo.min(*x), hi.max(*x));
                    (lower[i], upper[i]) = if budget.norm == Norm::Linf {
                        row::linf_bounds(*x, lo, hi, eps[r])
                    } else {
                        (lo, hi)
                    };
                }
                let matrix = |v: Vec<f32>| {
                    Tensor::<2>::from_data(TensorData::new(v, [samples.len(), features]), device)
                };
                let narrow: Vec<f32> = eps.iter().map(|e| *e as f32).collect();
                Part {
                    norm: budget.norm,
                    x0: matrix(x0.clone()),
                    lower: matrix(lower),
                    upper: matrix(upper),
                    eps_f32: Tensor::from_data(TensorData::new(narrow, [samples.len()]), device),
                    eps,
                }
            })
            .collect();
        Self {
            modalities: modalities.clone(),
            coupling: threat.coupling(),
            parts,
        }
    }

    /// The clean rows.
    pub fn x0(&self) -> Batch {
        self.batch(self.parts.iter().map(|p| p.x0.clone()).collect())
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.parts[0].eps.len()
    }

    /// The norm of each modality's budget.
    pub fn norms(&self) -> impl Iterator<Item = Norm> + '_ {
        self.parts.iter().map(|p| p.norm)
    }

    /// The budget of each row in the first modality that may change in that row; 0 where none may.
    pub fn leading_eps(&self) -> Vec<f64> {
        let of = |r: usize| {
            self.parts
                .iter()
                .map(|p| p.eps[r])
                .find(|e| *e > 0.0)
                .unwrap_or(0.0)
        };
        (0..self.rows()).map(of).collect()
    }

    /// The largest distance the boundary of the region has from the clean row in Euclidean terms, per row:
    /// what a step "as long as the budget" means for a shared budget.
    fn reach(&self, r: usize) -> f64 {
        self.parts
            .iter()
            .map(|p| {
                let f = p.x0.dims()[1] as f64;
                match p.norm {
                    Norm::Linf => p.eps[r] * p.eps[r] * f,
                    _ => p.eps[r] * p.eps[r],
                }
            })
            .sum::<f64>()
            .sqrt()
    }

    /// The gauge of each row of `x` in `f32`, `[rows]`: at most 1 inside the budgets (bounds apart).
    ///
    /// For watching a running attack; what is reported is [`Threat::gauge`], in `f64`.
    pub fn gauge(&self, x: &Batch) -> Tensor<1> {
        let shares = self.parts.iter().zip(x.blocks()).map(|(p, b)| {
            let d = b.clone() - p.x0.clone();
            let size: Tensor<2> = match p.norm {
                Norm::Linf => d.abs().max_dim(1),
                Norm::L2 => d.square().sum_dim(1).sqrt(),
                Norm::L1 => d.abs().sum_dim(1),
                Norm::L0 => d.not_equal_scalar(0.0).float().sum_dim(1),
            };
            // A frozen row (epsilon 0) has gauge 0 where it stayed and a huge one where it moved.
            size.squeeze_dim::<1>(1) / p.eps_f32.clone().clamp_min(1e-30)
        });
        match self.coupling {
            Coupling::Independent => shares
                .reduce(Tensor::max_pair)
                .expect("at least one modality"),
            Coupling::Shared { q } => shares
                .map(|s| s.powf_scalar(q))
                .reduce(|a, b| a + b)
                .expect("at least one modality")
                .powf_scalar(1.0 / q),
        }
    }

    /// Which rows of `x` lie inside bounds and mask (and are not NaN), `[rows]`.
    pub fn inside(&self, x: &Batch) -> Tensor<1, Bool> {
        self.parts
            .iter()
            .zip(x.blocks())
            .map(|(p, b)| {
                let ok = b
                    .clone()
                    .greater_equal(p.lower.clone())
                    .bool_and(b.clone().lower_equal(p.upper.clone()));
                ok.all_dim(1).squeeze_dim::<1>(1)
            })
            .reduce(Tensor::bool_and)
            .expect("at least one modality")
    }

    /// `direction` with zeros where a feature may not change.
    #[must_use]
    pub fn free(&self, direction: &Batch) -> Batch {
        let mut parts = self.parts.iter();
        direction.map(|d| {
            let p = parts.next().expect("one part per modality");
            d * p.upper.clone().greater(p.lower.clone()).float()
        })
    }

    /// The region's rows at `owners` (which may repeat), for queries that are not one per row.
    #[must_use]
    pub fn at(&self, owners: &[usize]) -> Self {
        let mut copy = self.clone();
        crate::columns::select(&mut copy, owners);
        copy
    }

    /// The nearest allowed point to each row of `x`, in the Euclidean sense.
    pub fn project(&self, x: &Batch) -> Batch {
        self.on_host_unless_linf(x, None, |p, b| {
            b.max_pair(p.lower.clone()).min_pair(p.upper.clone())
        })
    }

    /// One ascent step: from `x` along the steepest direction for the gradient-like `direction`, then back
    /// into the region.
    ///
    /// Steepest means the step of the given length *inside the bounds* that gains most: Linf moves every
    /// feature by its sign, L2 along the unit vector of the features that have room, L1 fills the largest
    /// components that do ([`Step::spread`]), L0 moves every feature by its share of the range before the
    /// projection keeps the best. Under a shared budget each modality steps so within its share, and the
    /// shares move towards the best ones for this gradient.
    pub fn advance(&self, x: &Batch, direction: &Batch, step: &Step) -> Batch {
        self.climb(
            x,
            &Climb {
                direction,
                step,
                plain: false,
            },
        )
    }

    /// The same for a direction whose entries say how far each feature goes (about ±1, as Adam gives): an Linf
    /// step adds them as they are. The other norms have one length for all features and step as in
    /// [`advance`](Self::advance).
    pub fn shift(&self, x: &Batch, direction: &Batch, step: &Step) -> Batch {
        self.climb(
            x,
            &Climb {
                direction,
                step,
                plain: true,
            },
        )
    }

    fn climb(&self, x: &Batch, climb: &Climb<'_>) -> Batch {
        let mut block = 0;
        self.on_host_unless_linf(x, Some(climb), |p, b| {
            let size = &climb.step.size;
            let size =
                Tensor::<1>::from_data(TensorData::new(size.clone(), [size.len()]), &b.device());
            let by = (size * p.eps_f32.clone()).unsqueeze_dim::<2>(1);
            let d = climb.direction.blocks()[block].clone();
            block += 1;
            let d = if climb.plain { d } else { d.sign() };
            (b + d * by)
                .max_pair(p.lower.clone())
                .min_pair(p.upper.clone())
        })
    }

    /// A random allowed point per row: uniform in the Linf cube (then clipped to the bounds), in the L2 or
    /// L1 ball (then projected), or on a random set of features for L0.
    pub fn random(&self, keys: &[StreamKey]) -> Batch {
        self.rows_on_host(&self.x0(), None, |r, parts| {
            let mut stream = Stream::new(&keys[r]);
            for p in &mut *parts {
                random_in_ball(p, &mut stream);
            }
        })
    }

    /// Adds to each feature of each row what `noise` returns, then projects: how noise baselines draw.
    pub fn perturb(
        &self,
        keys: &[StreamKey],
        noise: impl Fn(&mut Draw<'_>, &mut Stream) + Sync,
    ) -> Batch {
        self.rows_on_host(&self.x0(), None, |r, parts| {
            let mut stream = Stream::new(&keys[r]);
            for p in &mut *parts {
                let mut draw = Draw {
                    norm: p.norm,
                    eps: p.eps,
                    x: p.x,
                    lower: p.lower,
                    upper: p.upper,
                };
                noise(&mut draw, &mut stream);
            }
        })
    }

    /// Runs Linf modalities with independent budgets through `on_device`, everything else row by row.
    fn on_host_unless_linf(
        &self,
        x: &Batch,
        climb: Option<&Climb<'_>>,
        mut on_device: impl FnMut(&Part, Tensor<2>) -> Tensor<2>,
    ) -> Batch {
        let all_linf = self.parts.iter().all(|p| p.norm == Norm::Linf);
        if all_linf && self.coupling == Coupling::Independent {
            let blocks = self
                .parts
                .iter()
                .zip(x.blocks())
                .map(|(p, b)| on_device(p, b.clone()))
                .collect();
            return self.batch(blocks);
        }
        self.rows_on_host(x, climb, |_, _| {})
    }

    /// Row by row on the host: ascent (if any), then `change`, then the exact projection.
    fn rows_on_host(
        &self,
        x: &Batch,
        climb: Option<&Climb<'_>>,
        change: impl Fn(usize, &mut [HostPart<'_>]) + Sync,
    ) -> Batch {
        let n = self.rows();
        let device = x.device();
        let mut xs = x.to_host();
        let gradients = climb.map(|c| c.direction.to_host());
        let fixed: Vec<[Vec<f32>; 3]> = self
            .parts
            .iter()
            .map(|p| [host(&p.x0), host(&p.lower), host(&p.upper)])
            .collect();
        let widths: Vec<usize> = self.parts.iter().map(|p| p.x0.dims()[1]).collect();

        // One mutable slice per modality and row, regrouped by row.
        let mut by_row: Vec<Vec<&mut [f32]>> = (0..n).map(|_| Vec::new()).collect();
        for (values, width) in xs.iter_mut().zip(&widths) {
            for (row, slice) in by_row.iter_mut().zip(values.chunks_mut(*width)) {
                row.push(slice);
            }
        }
        by_row.into_par_iter().enumerate().for_each(|(r, slices)| {
            let mut parts: Vec<HostPart<'_>> = slices
                .into_iter()
                .enumerate()
                .map(|(m, x)| {
                    let at = r * widths[m]..(r + 1) * widths[m];
                    HostPart {
                        norm: self.parts[m].norm,
                        eps: self.parts[m].eps[r],
                        x,
                        x0: &fixed[m][0][at.clone()],
                        lower: &fixed[m][1][at.clone()],
                        upper: &fixed[m][2][at.clone()],
                        gradient: gradients.as_ref().map(|g| &g[m][at]),
                    }
                })
                .collect();
            if let Some(climb) = climb {
                self.ascend(r, &mut parts, climb);
            }
            change(r, &mut parts);
            self.settle(&mut parts);
        });
        let blocks = xs
            .into_iter()
            .zip(&widths)
            .map(|(v, w)| Tensor::from_data(TensorData::new(v, [n, *w]), &device))
            .collect();
        self.batch(blocks)
    }

    fn ascend(&self, r: usize, parts: &mut [HostPart<'_>], climb: &Climb<'_>) {
        let size = f64::from(climb.step.size[r]);
        let shares = match self.coupling {
            Coupling::Independent => None,
            Coupling::Shared { q } => self.shares(r, parts, size, q),
        };
        for (i, p) in parts.iter_mut().enumerate() {
            ascend_one(p, size, climb.step.spread[r], climb.plain);
            if let Some(share) = shares.as_ref().map(|s| s[i]) {
                row::project(p.norm, p.x, p.x0, p.lower, p.upper, p.eps * share);
            }
        }
    }

    /// How a step divides a shared budget: from the shares in use towards those of the best point for this
    /// gradient, four times as fast as the step itself. `None` where there is no gradient to go by.
    ///
    /// The best point, `argmax <g, d>` over budget and bounds, is the projection of a point far along the
    /// gradient. Both sets of shares lie in the (convex) shared budget, so any mean of them does.
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

    fn settle(&self, parts: &mut [HostPart<'_>]) {
        match self.coupling {
            Coupling::Independent => {
                for p in parts {
                    row::project(p.norm, p.x, p.x0, p.lower, p.upper, p.eps);
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
                        eps: p.eps,
                    })
                    .collect();
                row::project_shared(&mut shared, q)
                    .expect("Threat::new refuses l0 and bad exponents");
            }
        }
    }

    fn batch(&self, blocks: Vec<Tensor<2>>) -> Batch {
        Batch::new(self.modalities.clone(), blocks).expect("blocks keep the shapes they came with")
    }
}

impl Columns for Region {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = Vec::new();
        for (i, p) in self.parts.iter_mut().enumerate() {
            all.push((format!("{i}.x0"), Column::Matrix(&mut p.x0)));
            all.push((format!("{i}.lower"), Column::Matrix(&mut p.lower)));
            all.push((format!("{i}.upper"), Column::Matrix(&mut p.upper)));
            all.push((format!("{i}.eps"), Column::Real(&mut p.eps)));
            all.push((format!("{i}.eps_f32"), Column::Vector(&mut p.eps_f32)));
        }
        all
    }
}

/// A step to take: where to, how far, and whether an Linf part adds the direction itself or its signs.
struct Climb<'a> {
    direction: &'a Batch,
    step: &'a Step,
    plain: bool,
}

/// One row of one modality, on the host.
struct HostPart<'a> {
    norm: Norm,
    eps: f64,
    x: &'a mut [f32],
    x0: &'a [f32],
    lower: &'a [f32],
    upper: &'a [f32],
    gradient: Option<&'a [f32]>,
}

impl HostPart<'_> {
    /// Another point of the same row, as the projections take it.
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

/// One row of one modality, for a noise to change.
#[derive(Debug)]
pub struct Draw<'a> {
    /// The modality's norm.
    pub norm: Norm,
    /// The row's budget, data units.
    pub eps: f64,
    /// The values, clean at first.
    pub x: &'a mut [f32],
    /// Lowest allowed value of each feature.
    pub lower: &'a [f32],
    /// Highest allowed value of each feature.
    pub upper: &'a [f32],
}

fn ascend_one(p: &mut HostPart<'_>, size: f64, spread: f32, plain: bool) {
    let Some(g) = p.gradient else { return };
    if p.eps == 0.0 || g.iter().any(|v| !v.is_finite()) {
        return;
    }
    let length = size * p.eps;
    match p.norm {
        Norm::Linf => {
            let by = length as f32;
            for (x, g) in p.x.iter_mut().zip(g) {
                // `signum` of +0 is +1; a zero gradient moves nothing.
                if *g != 0.0 {
                    *x += by * if plain { *g } else { g.signum() };
                }
            }
        }
        Norm::L2 => row::steepest::l2(p.x, g, p.lower, p.upper, length),
        Norm::L1 => {
            let features = (f64::from(spread) * g.len() as f64).ceil() as usize;
            row::steepest::l1(p.x, g, p.lower, p.upper, length, features);
        }
        Norm::L0 => {
            for (i, g) in g.iter().enumerate().filter(|(_, g)| **g != 0.0) {
                p.x[i] += g.signum() * size as f32 * (p.upper[i] - p.lower[i]);
            }
        }
    }
}

fn add_scaled(x: &mut [f32], g: &[f32], by: f64) {
    for (x, g) in x.iter_mut().zip(g) {
        *x = (f64::from(*x) + by * f64::from(*g)) as f32;
    }
}

fn random_in_ball(p: &mut HostPart<'_>, stream: &mut Stream) {
    let f = p.x.len();
    match p.norm {
        Norm::Linf => {
            for x in p.x.iter_mut() {
                *x += (p.eps as f32) * stream.uniform().mul_add(2.0, -1.0);
            }
        }
        Norm::L2 => {
            // A normal direction times U^(1/f) is uniform in the ball.
            let direction: Vec<f64> = (0..f).map(|_| f64::from(stream.normal())).collect();
            let norm = direction
                .iter()
                .map(|v| v * v)
                .sum::<f64>()
                .sqrt()
                .max(f64::MIN_POSITIVE);
            let radius = p.eps * stream.uniform_f64().powf(1.0 / f as f64) / norm;
            for (x, d) in p.x.iter_mut().zip(direction) {
                *x += (radius * d) as f32;
            }
        }
        Norm::L1 => {
            // f of f+1 exponentials over their sum are uniform in the simplex; random signs unfold it.
            let e: Vec<f64> = (0..=f)
                .map(|_| -(1.0 - stream.uniform_f64()).ln())
                .collect();
            let total = e.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            for (x, e) in p.x.iter_mut().zip(e) {
                let sign = if stream.next_u32() & 1 == 0 {
                    1.0
                } else {
                    -1.0
                };
                *x += (sign * p.eps * e / total) as f32;
            }
        }
        Norm::L0 => {
            let k = (p.eps as usize).min(f);
            let mut order: Vec<usize> = (0..f).collect();
            for i in 0..k {
                let j = i + stream.below((f - i) as u32) as usize;
                order.swap(i, j);
                let c = order[i];
                p.x[c] = p.lower[c] + stream.uniform() * (p.upper[c] - p.lower[c]);
            }
        }
    }
}
