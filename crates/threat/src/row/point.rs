//! A sample with its origin and box, and the three passes that every projection uses: sum, write, nudge.

/// Number of independent running sums: the additions do not wait for each other, and their order is the same
/// everywhere.
const LANES: usize = 8;

/// Relative distance below the budget that a nudge aims for: ten times the rounding error of a sum over a million
/// features, a thousandth of what one `f32` step can express.
const SLACK: f64 = 1e-12;

/// Replaces an infinite pull: beyond any difference of two finite `f32`, and its square is far from overflow.
const FAR: f64 = 1e39;

/// One sample while it is being projected.
pub(crate) struct Point<'a> {
    pub(super) x: &'a mut [f32],
    pub(super) x0: &'a [f32],
    pub(super) lower: &'a [f32],
    pub(super) upper: &'a [f32],
}

impl<'a> Point<'a> {
    pub(crate) fn new(x: &'a mut [f32], x0: &'a [f32], lower: &'a [f32], upper: &'a [f32]) -> Self {
        let n = x.len();
        assert!(
            x0.len() == n && lower.len() == n && upper.len() == n,
            "a sample, its origin and its box have the same features"
        );
        Self {
            x,
            x0,
            lower,
            upper,
        }
    }

    /// Moves back to the origin. NaN stays NaN, because it must not turn into a valid row.
    pub(super) fn reset(&mut self) {
        for (x, &x0) in self.x.iter_mut().zip(self.x0) {
            *x = if x.is_nan() { *x } else { x0 };
        }
    }

    /// Clips to the box only.
    pub(super) fn clip(&mut self) {
        for ((x, &lo), &hi) in self.x.iter_mut().zip(self.lower).zip(self.upper) {
            *x = clamp(*x, lo, hi);
        }
    }

    /// Returns pull and room of every feature, in order.
    pub(super) fn features(&self) -> impl Iterator<Item = (f64, f64)> {
        let boxes = self.lower.iter().zip(self.upper);
        (self.x.iter().zip(self.x0))
            .zip(boxes)
            .map(|((&x, &x0), (&lo, &hi))| pull_and_room(x, x0, lo, hi))
    }

    /// Returns `K` sums over the features of `term(pull, room)`, in the lanes of [`sum_of`].
    #[inline]
    pub(super) fn sum<const K: usize>(&self, term: impl Fn(f64, f64) -> [f64; K]) -> [f64; K] {
        let mut acc = [[0.0; LANES]; K];
        let (x, x_tail) = self.x.as_chunks::<LANES>();
        let (x0, x0_tail) = self.x0.as_chunks::<LANES>();
        let (lo, lo_tail) = self.lower.as_chunks::<LANES>();
        let (hi, hi_tail) = self.upper.as_chunks::<LANES>();
        let mut add = |lane: usize, x: f32, x0: f32, lo: f32, hi: f32| {
            let (pull, room) = pull_and_room(x, x0, lo, hi);
            for (a, t) in acc.iter_mut().zip(term(pull, room)) {
                a[lane] += t;
            }
        };
        for (((x, x0), lo), hi) in x.iter().zip(x0).zip(lo).zip(hi) {
            for l in 0..LANES {
                add(l, x[l], x0[l], lo[l], hi[l]);
            }
        }
        for l in 0..x_tail.len() {
            add(l, x_tail[l], x0_tail[l], lo_tail[l], hi_tail[l]);
        }
        acc.map(|lanes| lanes.iter().sum())
    }

    /// Writes `x = x0 ± step(pull, room)`, rounded to the nearest `f32` in the box.
    #[inline]
    pub(super) fn write(&mut self, step: impl Fn(f64, f64) -> f64) {
        let boxes = self.lower.iter().zip(self.upper);
        for ((x, &x0), (&lo, &hi)) in self.x.iter_mut().zip(self.x0).zip(boxes) {
            let (pull, room) = pull_and_room(*x, x0, lo, hi);
            let d = step(pull, room);
            let moved = (f64::from(x0) + d.copysign(f64::from(*x) - f64::from(x0))) as f32;
            // A feature that does not move keeps the bits of x0 (also for -0.0).
            let moved = if d > 0.0 { clamp(moved, lo, hi) } else { x0 };
            *x = if x.is_nan() { *x } else { moved };
        }
    }

    /// Moves points back that rounding to `f32` put outside an `L1` or `L2` ball.
    ///
    /// Features move one `f32` step towards `x0`, in order, until the sum is inside again. Rounding errors mostly
    /// cancel, so a few hundred steps are enough for a large image, and no feature ends more than about two steps from
    /// its exact value. Scaling the whole difference would have no effect: the excess is less than one step.
    ///
    /// `moved` is the norm of `x - x0`, `share` the contribution of one feature to the sum that the norm is computed
    /// from.
    pub(super) fn nudge(
        &mut self,
        eps: f64,
        moved: impl Fn(&Self) -> f64,
        share: impl Fn(f64) -> f64,
    ) {
        let aim = eps * (1.0 - SLACK);
        // One sweep undoes all rounding; the others are for sums whose own error exceeds the slack.
        for _ in 0..16 {
            let size = moved(self);
            if size <= eps {
                return;
            }
            // With NaN or infinity in `x0` itself, no repair is possible.
            let mut excess = share(size) - share(aim);
            for (x, &x0) in self.x.iter_mut().zip(self.x0) {
                if excess <= 0.0 {
                    break;
                }
                let d = f64::from(*x) - f64::from(x0);
                if d.is_nan() || d == 0.0 {
                    continue;
                }
                // Use the step of the larger end: at x = 1e-20, a step of x itself would not shorten the distance to
                // x0 = 1.
                let far = x.abs().max(x0.abs());
                let step = far - far.next_down();
                let nearer = if *x > x0 {
                    (*x - step).max(x0)
                } else {
                    (*x + step).min(x0)
                };
                let (o, before, after) = (f64::from(x0), f64::from(*x), f64::from(nearer));
                excess -= share(before - o) - share(after - o);
                *x = nearer;
            }
        }
        if moved(self) > eps {
            self.reset();
        }
    }
}

/// Replaces NaN by 0, so that sums ignore it.
#[inline]
pub(super) fn finite(d: f64) -> f64 {
    if d.is_nan() { 0.0 } else { d }
}

/// Returns a pull after clipping to the box.
#[inline]
pub(super) fn up_to(pull: f64, room: f64) -> f64 {
    if pull < room { pull } else { room }
}

/// Returns the sum of `f(x - x0)` in eight fixed lanes.
#[inline]
pub(super) fn sum_of(x: &[f32], x0: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut acc = [0.0; LANES];
    let (x, x_tail) = x.as_chunks::<LANES>();
    let (x0, x0_tail) = x0.as_chunks::<LANES>();
    for (x, x0) in x.iter().zip(x0) {
        for l in 0..LANES {
            acc[l] += f(f64::from(x[l]) - f64::from(x0[l]));
        }
    }
    for ((a, &x), &x0) in acc.iter_mut().zip(x_tail).zip(x0_tail) {
        *a += f(f64::from(x) - f64::from(x0));
    }
    acc.iter().sum()
}

/// Returns how far a feature wants to move from `x0`, and how far the box allows it in that direction.
#[inline]
fn pull_and_room(x: f32, x0: f32, lower: f32, upper: f32) -> (f64, f64) {
    let origin = f64::from(x0);
    let d = f64::from(x) - origin;
    let room = if d > 0.0 {
        f64::from(upper) - origin
    } else {
        origin - f64::from(lower)
    };
    let pull = if d.abs() > FAR { FAR } else { d.abs() };
    (if pull.is_nan() { 0.0 } else { pull }, room)
}

/// Returns how far `x` can move in the direction of `g`.
#[inline]
pub(super) fn room(x: f32, g: f32, lower: f32, upper: f32) -> f64 {
    let (x, lower, upper) = (f64::from(x), f64::from(lower), f64::from(upper));
    let room = if g > 0.0 { upper - x } else { x - lower };
    room.max(0.0)
}

/// Clamps like `f32::clamp` but never panics: NaN stays NaN, and if the bounds contradict each other the upper one
/// wins.
#[inline]
pub(super) fn clamp(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if x < lo { lo } else { x };
    if x > hi { hi } else { x }
}
