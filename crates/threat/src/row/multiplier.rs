//! The multiplier of a part's ball as a function of its radius: the price that the part would pay for more radius.
//!
//! **Maths.** Let `D(r)` be half the squared distance from `x` to ball(r) ∩ box. It is convex and decreasing, and its
//! slope is minus the multiplier `theta(r)` of the ball constraint. With pull `u` and room `c`, at radius `r`:
//!
//! | norm | projection | `theta(r)` |
//! |---|---|---|
//! | `Linf` | `min(u, c, r)` | `Σ (u - r)` over features with `min(u, c) > r` |
//! | `L2` | `min(mu·u, c)` | `r/mu - r`, where `r² = Σ min(mu·u, c)²` |
//! | `L1` | `clip(u - theta, 0, c)` | the threshold itself |
//!
//! All three bend only at breakpoints. The breakpoints are sorted once, with running sums, so that one radius costs a
//! binary search instead of a pass: a shared budget evaluates thousands of radii.

use proofmark_domain::Norm;

use super::point::Point;

/// Table of `theta(r)` for one part.
pub(super) struct Multiplier {
    norm: Norm,
    /// Pieces in increasing order of radius; the first is at zero.
    pieces: Vec<Piece>,
}

/// Formula from `radius` up to the radius of the next piece. `start` is the projection's own parameter at `radius`
/// (`L2`: `mu`, `L1`: the threshold). `a` and `b` are, for `Linf`, the sum and number of the pulls still moving beyond
/// `radius`; for `L2`, the sums of squares of saturated rooms and of free pulls; for `L1`, unused and the number of
/// features moving.
struct Piece {
    radius: f64,
    start: f64,
    a: f64,
    b: f64,
}

impl Multiplier {
    /// Builds the table of a part in `Linf`, `L2` or `L1`.
    pub(super) fn new(norm: Norm, point: &Point<'_>) -> Self {
        let moving = point.features().filter(|&(u, c)| u > 0.0 && c > 0.0);
        let pieces = match norm {
            Norm::Linf => linf(moving),
            Norm::L2 | Norm::L0 => l2(moving),
            Norm::L1 => l1(moving),
        };
        Self { norm, pieces }
    }

    pub(super) fn at(&self, radius: f64) -> f64 {
        let next = self.pieces.partition_point(|p| p.radius <= radius);
        let p = &self.pieces[next - 1];
        match self.norm {
            Norm::Linf => p.a - p.b * radius,
            // Nothing saturated: mu = r/|u|, and the quotient r/mu is undefined at r = 0.
            Norm::L2 | Norm::L0 if p.a == 0.0 => p.b.sqrt() - radius,
            Norm::L2 | Norm::L0 => {
                let mu = ((radius * radius - p.a).max(0.0) / p.b).sqrt();
                // If the free pulls are tiny, the quotient is only rounding error: bound it by the ends of the piece.
                let end = self.pieces.get(next).map_or(1.0, |p| p.start);
                let mu = if mu < end { mu.max(p.start) } else { end };
                radius / mu - radius
            }
            Norm::L1 if p.b == 0.0 => p.start,
            Norm::L1 => p.start - (radius - p.radius) / p.b,
        }
        .max(0.0)
    }
}

fn linf(moving: impl Iterator<Item = (f64, f64)>) -> Vec<Piece> {
    let mut stops: Vec<(f64, f64)> = moving.map(|(u, c)| (u.min(c), u)).collect();
    stops.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    // From the farthest stop inwards, so that the sums hold the features still moving beyond each stop.
    let (mut pieces, mut a, mut b) = (Vec::with_capacity(stops.len() + 1), 0.0, 0.0);
    for (stop, u) in stops {
        pieces.push(Piece {
            radius: stop,
            start: 0.0,
            a,
            b,
        });
        a += u;
        b += 1.0;
    }
    pieces.push(Piece {
        radius: 0.0,
        start: 0.0,
        a,
        b,
    });
    pieces.reverse();
    pieces
}

fn l2(moving: impl Iterator<Item = (f64, f64)>) -> Vec<Piece> {
    let mut order: Vec<(f64, f64, f64)> = moving.map(|(u, c)| (c / u, u, c)).collect();
    order.sort_unstable_by(|x, y| x.0.total_cmp(&y.0));
    // Add the free sum from the back: subtracting would leave only rounding error at the far end.
    let mut free = vec![0.0; order.len() + 1];
    for (i, (_, u, _)) in order.iter().enumerate().rev() {
        free[i] = free[i + 1] + u * u;
    }
    let mut pieces = vec![Piece {
        radius: 0.0,
        start: 0.0,
        a: 0.0,
        b: free[0],
    }];
    let mut saturated = 0.0;
    // Beyond mu = 1 no feature moves any farther.
    for (i, (mu, _, c)) in order
        .iter()
        .enumerate()
        .take_while(|(_, (mu, ..))| *mu < 1.0)
    {
        saturated += c * c;
        let radius = (saturated + mu * mu * free[i + 1]).sqrt();
        pieces.push(Piece {
            radius,
            start: *mu,
            a: saturated,
            b: free[i + 1],
        });
    }
    pieces
}

fn l1(moving: impl Iterator<Item = (f64, f64)>) -> Vec<Piece> {
    // A feature starts to move when the threshold falls below its pull, and stops at the box.
    let bends = moving.flat_map(|(u, c)| [(u, 1.0), ((u - c).max(0.0), -1.0)]);
    let mut bends: Vec<(f64, f64)> = bends.collect();
    bends.sort_unstable_by(|x, y| y.0.total_cmp(&x.0));
    let (mut radius, mut slope) = (0.0, 0.0);
    let mut last = bends.first().map_or(0.0, |b| b.0);
    let mut pieces = vec![Piece {
        radius,
        start: last,
        a: 0.0,
        b: 0.0,
    }];
    for (threshold, turn) in bends {
        radius += slope * (last - threshold);
        slope += turn;
        last = threshold;
        pieces.push(Piece {
            radius,
            start: threshold,
            a: 0.0,
            b: slope,
        });
    }
    pieces
}
