use std::sync::{Arc, OnceLock};

use burn::tensor::{Bool, Device, Tensor, TensorData};
use proofmark_domain::{Coupling, Modality, Norm};
use proofmark_stats::random::{Stream, StreamKey};

use crate::batch::Batch;
use crate::columns::{Column, Columns};
use crate::row::{self, ball};
use crate::threat::Threat;

mod plane;
mod visit;

pub use plane::{OnPlane, Plane};
use visit::Climb;

/// The set in which each row of a running attack may move: a box (bounds and mask) and a ball per modality.
///
/// Each modality is handled separately. If a ball is itself a box (Linf), ball and box are one interval per feature,
/// and a step is two elementwise clamps on the device. Rows of other balls are processed one by one on the host, in
/// `f64` ([`row`]): exact projections need sorting, which burn does on the host on every backend anyway. Modalities
/// that share a budget are processed on the host too.
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
    /// The box: bounds, narrowed to the clean value where a feature may not change.
    lower: Tensor<2>,
    upper: Tensor<2>,
    /// Ball ∩ box, if that is a box.
    interval: Option<[Tensor<2>; 2]>,
    /// Budget of each row, exact; `eps_f32` is its `f32` copy on the device.
    eps: Vec<f64>,
    eps_f32: Tensor<1>,
    /// `x0`, `lower` and `upper` on the host, fetched once for the current rows.
    fetched: OnceLock<[Vec<f32>; 3]>,
}

/// Step of each row.
#[derive(Debug, Clone)]
pub struct Step {
    /// Step length per row `[rows]`, in units of its budget (1 = all of epsilon).
    pub size: Tensor<1>,
    /// Minimum share of the features that an L1 step is spread over, per row `[rows]`, in `[0, 1]`; at least one
    /// feature moves.
    pub spread: Tensor<1>,
    /// Radius of the ball that the step must end in, per row `[rows]`, in units of its budget; `None` is the budget
    /// itself.
    pub radius: Option<Tensor<1>>,
}

impl Step {
    /// Makes a step of `size` within the budget; an L1 step moves at least one feature.
    pub fn new(size: Tensor<1>) -> Self {
        Self {
            spread: size.zeros_like(),
            size,
            radius: None,
        }
    }

    /// Spreads an L1 step over at least this share of the features.
    #[must_use]
    pub fn spread(mut self, spread: Tensor<1>) -> Self {
        self.spread = spread;
        self
    }

    /// Limits the step to a ball of another radius than the budget.
    #[must_use]
    pub fn within(mut self, radius: Tensor<1>) -> Self {
        self.radius = Some(radius);
        self
    }
}

impl Region {
    /// Makes the region around rows of a set of samples.
    ///
    /// `values` are the clean rows per modality (`rows * features`, C order), `samples` their indices in the set (for
    /// per-sample budgets).
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
                let (mut lower, mut upper) = (vec![0.0; x0.len()], vec![0.0; x0.len()]);
                let mut intervals = Vec::new();
                for (i, x) in x0.iter().enumerate() {
                    let (r, f) = (i / features, i % features);
                    let free = eps[r] > 0.0 && budget.mask.as_ref().is_none_or(|m| m[f]);
                    let (lo, hi) = if free {
                        (modality.bounds.low(f), modality.bounds.high(f))
                    } else {
                        (*x, *x)
                    };
                    // Clean values outside the stated bounds were already refused when the data were read.
                    (lower[i], upper[i]) = (lo.min(*x), hi.max(*x));
                    if let Some(ball) = ball(budget.norm).on_device() {
                        intervals.push(ball.interval(*x, lower[i], upper[i], eps[r]));
                    }
                }
                let matrix = |v: Vec<f32>| {
                    Tensor::<2>::from_data(TensorData::new(v, [samples.len(), features]), device)
                };
                let interval = ball(budget.norm).on_device().map(|_| {
                    let (low, high) = intervals.into_iter().unzip();
                    [matrix(low), matrix(high)]
                });
                let narrow: Vec<f32> = eps.iter().map(|e| *e as f32).collect();
                Part {
                    norm: budget.norm,
                    x0: matrix(x0.clone()),
                    lower: matrix(lower),
                    upper: matrix(upper),
                    interval,
                    eps_f32: Tensor::from_data(TensorData::new(narrow, [samples.len()]), device),
                    eps,
                    fetched: OnceLock::new(),
                }
            })
            .collect();
        Self {
            modalities: modalities.clone(),
            coupling: threat.coupling(),
            parts,
        }
    }

    /// Returns the clean rows.
    pub fn x0(&self) -> Batch {
        self.batch(self.parts.iter().map(|p| p.x0.clone()).collect())
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.parts[0].eps.len()
    }

    /// Returns one value per row, `[rows]`, on the region's device.
    pub fn column(&self, values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &self.parts[0].x0.device())
    }

    /// Returns the norm of each modality's budget.
    pub fn norms(&self) -> impl Iterator<Item = Norm> + '_ {
        self.parts.iter().map(|p| p.norm)
    }

    /// Returns the budget of each row, per modality, data units.
    pub fn eps(&self) -> impl Iterator<Item = &[f64]> {
        self.parts.iter().map(|p| p.eps.as_slice())
    }

    /// Returns the budget of each row in the first modality that may change in that row; 0 if none may.
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

    /// Returns the gauge of each row of `x` in `f32`, `[rows]`: at most 1 inside the budgets (bounds are not checked).
    ///
    /// For watching a running attack; reports use [`Threat::gauge`], in `f64`.
    pub fn gauge(&self, x: &Batch) -> Tensor<1> {
        let shares = self.parts.iter().zip(x.blocks()).map(|(p, b)| {
            let d = b.clone() - p.x0.clone();
            let size = ball(p.norm).lengths(d);
            // A frozen row (epsilon 0) has gauge 0 if it did not move and a huge one if it did.
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

    /// Returns which rows of `x` are inside bounds and mask (and not NaN), `[rows]`.
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

    /// Returns `direction` with zeros where a feature may not change.
    #[must_use]
    pub fn free(&self, direction: &Batch) -> Batch {
        let mut parts = self.parts.iter();
        direction.map(|d| {
            let p = parts.next().expect("one part per modality");
            d * p.upper.clone().greater(p.lower.clone()).float()
        })
    }

    /// Returns `direction` with zeros where the box does not let `x` follow it.
    #[must_use]
    pub fn ahead(&self, x: &Batch, direction: &Batch) -> Batch {
        let mut parts = self.parts.iter();
        x.zip(direction, |x, d| {
            let p = parts.next().expect("one part per modality");
            let up = d
                .clone()
                .greater_scalar(0.0)
                .bool_and(x.clone().lower(p.upper.clone()));
            let down = d
                .clone()
                .lower_scalar(0.0)
                .bool_and(x.greater(p.lower.clone()));
            d * up.bool_or(down).float()
        })
    }

    /// Returns the largest `<g, d>` over all `d` within the budgets (ignoring bounds), `[rows]`: the dual of the gauge,
    /// which is the most that a linear function can rise per unit of gauge.
    pub fn dual(&self, g: &Batch) -> Tensor<1> {
        let each = self
            .parts
            .iter()
            .zip(g.blocks())
            .map(|(p, g)| ball(p.norm).dual(g.clone()).squeeze_dim::<1>(1) * p.eps_f32.clone());
        match self.coupling {
            Coupling::Shared { q } if q > 1.0 => {
                // The dual of a q-norm of shares is the norm of the conjugate exponent.
                let conjugate = q / (q - 1.0);
                each.map(|s| s.powf_scalar(conjugate))
                    .reduce(|a, b| a + b)
                    .expect("at least one modality")
                    .powf_scalar(1.0 / conjugate)
            }
            Coupling::Shared { .. } => each
                .reduce(Tensor::max_pair)
                .expect("at least one modality"),
            Coupling::Independent => each.reduce(|a, b| a + b).expect("at least one modality"),
        }
    }

    /// Returns the region's rows at `owners` (which may repeat), for queries that are not one per row.
    #[must_use]
    pub fn at(&self, owners: &[usize]) -> Self {
        let mut copy = self.clone();
        crate::columns::select(&mut copy, owners);
        copy
    }

    /// Clips each row of `x` to its box: bounds and mask, ignoring the budget.
    #[must_use]
    pub fn clip(&self, x: &Batch) -> Batch {
        let mut parts = self.parts.iter();
        x.map(|b| {
            let p = parts.next().expect("one part per modality");
            b.max_pair(p.lower.clone()).min_pair(p.upper.clone())
        })
    }

    /// Returns the nearest allowed point to each row of `x`, in the Euclidean sense.
    #[must_use]
    pub fn project(&self, x: &Batch) -> Batch {
        self.moved(x, None, None)
    }

    /// Projects on balls of other radii, per row `[rows]`, in units of the budget, as minimum-norm attacks need. On the
    /// device the ends of such a ball are rounded to the nearest `f32`.
    #[must_use]
    pub fn project_within(&self, x: &Batch, radius: &Tensor<1>) -> Batch {
        self.moved(x, None, Some(radius))
    }

    /// Takes one ascent step: from `x` along the steepest direction for the gradient-like `direction`, then projects
    /// back into the region.
    ///
    /// Steepest means the step of the given length *inside the bounds* that gains most. Linf moves every feature by its
    /// sign, L2 along the unit vector of the features that have room, L1 fills the largest components that have room
    /// ([`Step::spread`]), L0 moves every feature by its share of the range, and the projection keeps the best. Under a
    /// shared budget each modality takes such a step within its share, and the shares move towards the best ones for
    /// this gradient.
    #[must_use]
    pub fn advance(&self, x: &Batch, direction: &Batch, step: &Step) -> Batch {
        let climb = Climb::new(direction, step, false);
        self.moved(x, Some(&climb), step.radius.as_ref())
    }

    /// As [`advance`](Self::advance), for a direction whose entries give the size of each feature's step (about ±1, as
    /// Adam gives): an Linf step adds them unchanged. The other norms have one length for all features and step as in
    /// [`advance`](Self::advance).
    #[must_use]
    pub fn shift(&self, x: &Batch, direction: &Batch, step: &Step) -> Batch {
        let climb = Climb::new(direction, step, true);
        self.moved(x, Some(&climb), step.radius.as_ref())
    }

    /// Returns a random allowed point per row: uniform in the Linf cube (then clipped to the bounds), in the L2 or L1
    /// ball (then projected), or on a random set of features for L0.
    pub fn random(&self, keys: &[StreamKey]) -> Batch {
        self.perturb(keys, |draw, stream| {
            let mut point = row::Point::new(draw.x, draw.x0, draw.lower, draw.upper);
            ball(draw.norm).scatter(&mut point, draw.eps, stream);
        })
    }

    /// Lets `noise` change each clean row, then projects into the region. Noise baselines draw their points this way.
    pub fn perturb(
        &self,
        keys: &[StreamKey],
        noise: impl Fn(&mut Draw<'_>, &mut Stream) + Sync,
    ) -> Batch {
        self.perturbed(keys, None, noise)
    }

    /// As [`perturb`](Self::perturb), but projects on balls of other radii, per row `[rows]`, in units of the budget.
    pub fn perturb_within(
        &self,
        keys: &[StreamKey],
        radius: &Tensor<1>,
        noise: impl Fn(&mut Draw<'_>, &mut Stream) + Sync,
    ) -> Batch {
        self.perturbed(keys, Some(radius), noise)
    }

    /// As [`perturb`](Self::perturb), but projects on the bounds alone, ignoring the budget.
    pub fn perturb_in_box(
        &self,
        keys: &[StreamKey],
        noise: impl Fn(&mut Draw<'_>, &mut Stream) + Sync,
    ) -> Batch {
        let anywhere = self.column(&vec![f32::MAX; self.rows()]);
        self.perturbed(keys, Some(&anywhere), noise)
    }

    /// Lets `change` alter each row of `x` on the host, then projects into the region. `change` gets the row's place in
    /// the batch and one [`Draw`] per modality, whose values are those of `x`; what it returns for each row is
    /// returned beside the points.
    ///
    /// Attacks whose proposals change a part of each row (a window, a single feature) make them this way.
    pub fn alter<T: Send>(
        &self,
        x: &Batch,
        change: impl Fn(usize, &mut [Draw<'_>]) -> T + Sync,
    ) -> (Batch, Vec<T>) {
        self.altered(x, None, change)
    }

    fn perturbed(
        &self,
        keys: &[StreamKey],
        radius: Option<&Tensor<1>>,
        noise: impl Fn(&mut Draw<'_>, &mut Stream) + Sync,
    ) -> Batch {
        let (points, _) = self.altered(&self.x0(), radius, |r, draws| {
            let mut stream = Stream::new(&keys[r]);
            for draw in draws {
                noise(draw, &mut stream);
            }
        });
        points
    }

    fn altered<T: Send>(
        &self,
        x: &Batch,
        radius: Option<&Tensor<1>>,
        change: impl Fn(usize, &mut [Draw<'_>]) -> T + Sync,
    ) -> (Batch, Vec<T>) {
        let (blocks, answers) = self.visited(
            x,
            |_| true,
            None,
            radius,
            |r, parts| {
                let mut draws: Vec<Draw<'_>> = parts.iter_mut().map(|p| p.draw()).collect();
                change(r, &mut draws)
            },
        );
        let points = self.batch(blocks.into_iter().flatten().collect());
        (points, answers)
    }

    fn batch(&self, blocks: Vec<Tensor<2>>) -> Batch {
        Batch::new(self.modalities.clone(), blocks).expect("blocks keep the shapes they came with")
    }
}

impl Columns for Region {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = Vec::new();
        for (i, p) in self.parts.iter_mut().enumerate() {
            // Discard the host copies: the caller may change the rows.
            p.fetched = OnceLock::new();
            all.push((format!("{i}.x0"), Column::Matrix(&mut p.x0)));
            all.push((format!("{i}.lower"), Column::Matrix(&mut p.lower)));
            all.push((format!("{i}.upper"), Column::Matrix(&mut p.upper)));
            if let Some([low, high]) = &mut p.interval {
                all.push((format!("{i}.low"), Column::Matrix(low)));
                all.push((format!("{i}.high"), Column::Matrix(high)));
            }
            all.push((format!("{i}.eps"), Column::Real(&mut p.eps)));
            all.push((format!("{i}.eps_f32"), Column::Vector(&mut p.eps_f32)));
        }
        all
    }
}

/// One row of one modality, which a noise function changes.
#[derive(Debug)]
pub struct Draw<'a> {
    /// The modality's norm.
    pub norm: Norm,
    /// Budget of the row, data units.
    pub eps: f64,
    /// Values: those of the point to change, of the clean row where there is none.
    pub x: &'a mut [f32],
    /// Clean values.
    pub x0: &'a [f32],
    /// Lowest allowed value of each feature.
    pub lower: &'a [f32],
    /// Highest allowed value of each feature.
    pub upper: &'a [f32],
}
