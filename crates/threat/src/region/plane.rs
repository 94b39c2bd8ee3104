//! Linear functions of rows, and the nearest points at which they are zero: the geometry of attacks that linearise the
//! decision boundary.

use rayon::prelude::*;

use super::Region;
use crate::batch::Batch;
use crate::row::{Shortest, Slope};

/// A linear function of each row, `value + <gradient, x − at>`. It is zero on a hyperplane, for example a linearised
/// decision boundary.
#[derive(Debug, Clone)]
pub struct Plane {
    /// The points at which the values are known.
    pub at: Batch,
    /// Value at these points, per row.
    pub value: Vec<f64>,
    /// Gradients, as wide as the points.
    pub gradient: Batch,
}

/// The points of planes nearest to given points.
#[derive(Debug, Clone)]
pub struct OnPlane {
    /// The points; where the bounds do not reach so far, the corner of the bounds that comes nearest.
    pub x: Batch,
    /// Length of the step from the given point, in units of the budget.
    pub gauge: Vec<f64>,
    /// Whether the bounds reach so far.
    pub reached: Vec<bool>,
}

impl Region {
    /// Returns, for each row of `from` (inside the bounds), the nearest point inside bounds and mask at which the linear
    /// function has changed by `share` of its way to zero: 1 ends on the plane, 1.05 a little beyond it.
    ///
    /// Nearest is measured by the gauge, but around `from` instead of the clean row, and regardless of the budget: each
    /// modality moves by its own norm in units of its own budget. A shared budget is read as independent ones here,
    /// and a modality in L0 does not move. Rows are processed on the host, in `f64`.
    pub fn onto(&self, from: &Batch, plane: &Plane, share: f64) -> OnPlane {
        let rows = self.shortest(from, plane, share, |parts, step| {
            (step.taken(parts), step.gauge, step.reaches)
        });
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); self.parts.len()];
        let (mut gauge, mut reached) = (Vec::new(), Vec::new());
        for (row, length, reaches) in rows {
            for (values, row) in values.iter_mut().zip(row) {
                values.extend(row);
            }
            gauge.push(length);
            reached.push(reaches);
        }
        let x = Batch::from_host(self.modalities.clone(), values, &from.device());
        OnPlane {
            x: x.expect("as wide as the rows"),
            gauge,
            reached,
        }
    }

    /// Returns the gauge of the step that [`onto`](Self::onto) takes to the plane, per row; infinite where the bounds do
    /// not reach it.
    pub fn distance(&self, from: &Batch, plane: &Plane) -> Vec<f64> {
        let length = |step: &Shortest| {
            if step.reaches {
                step.gauge
            } else {
                f64::INFINITY
            }
        };
        self.shortest(from, plane, 1.0, |_, step| length(&step))
    }

    /// Finds the shortest step of every row and returns what `read` makes of it.
    fn shortest<T: Send>(
        &self,
        from: &Batch,
        plane: &Plane,
        share: f64,
        read: impl Fn(&[Slope<'_>], Shortest) -> T + Sync,
    ) -> Vec<T> {
        let (from, at) = (from.to_host(), plane.at.to_host());
        let gradient = plane.gradient.to_host();
        let row = |r: usize| {
            let mut value = plane.value[r];
            let parts: Vec<Slope<'_>> = (self.parts.iter().enumerate())
                .map(|(m, p)| {
                    let width = p.x0.dims()[1];
                    let own = r * width..(r + 1) * width;
                    let [_, lower, upper] = p.fetched();
                    let (x, g) = (&from[m][own.clone()], &gradient[m][own.clone()]);
                    for ((x, at), g) in x.iter().zip(&at[m][own.clone()]).zip(g) {
                        value += f64::from(*g) * (f64::from(*x) - f64::from(*at));
                    }
                    Slope {
                        norm: p.norm,
                        eps: p.eps[r],
                        x,
                        gradient: g,
                        lower: &lower[own.clone()],
                        upper: &upper[own],
                    }
                })
                .collect();
            let step = Shortest::new(&parts, -value * share);
            read(&parts, step)
        };
        (0..self.rows()).into_par_iter().map(row).collect()
    }
}
