//! The steepest step inside the box: what a gradient step becomes where bounds hold features back.
//!
//! **Maths.** With slope `u = |g|` and room `c` towards the bound that `g` points at, maximise `Σ u d` over
//! `0 <= d <= c` and `norm(d) <= length`. For `L2` the KKT conditions give `d_i = min(mu·u_i, c_i)` with the one `mu`
//! that spends the length: the finite Newton method of the projection ([`super::l2`]), on slopes in place of pulls.
//! For `L1` it is a fractional knapsack: fill the features in order of slope, each up to its room. A unit vector cut
//! off at the bounds does neither: in an image half of the gradient points out of the box, and half of the step is lost.
//!
//! What is written is the step before it is cut off: a feature that meets its bound goes beyond it, by `mu·u_i` (`L2`)
//! or by what one feature may take (`L1`). The projection that follows cuts it off, and knows from the excess that
//! this feature is to stay at its bound when all of them must give something back to the ball.
//!
//! **Reference.** Boyd and Vandenberghe, *Convex Optimization* (2004), section 5.5.3; for the knapsack, Dantzig,
//! *Discrete-variable extremum problems* (Operations Research 5, 1957).

/// Moves `x` along `g` so far that what the box leaves of the step has the `L2` norm `length`.
pub(crate) fn l2(x: &mut [f32], g: &[f32], lower: &[f32], upper: &[f32], length: f64) {
    let mut mu = 0.0;
    loop {
        let (mut full, mut open) = (0.0, 0.0);
        for i in 0..x.len() {
            let (slope, room) = (f64::from(g[i]).abs(), room(x[i], g[i], lower[i], upper[i]));
            if mu * slope < room {
                open += slope * slope;
            } else {
                full += room * room;
            }
        }
        let next = ((length * length - full).max(0.0) / open).sqrt();
        // Also false for 0/0 and for no open feature: once the full set stands still, so does `mu`.
        if next > mu && next.is_finite() {
            mu = next;
        } else {
            break;
        }
    }
    for (x, g) in x.iter_mut().zip(g) {
        *x = (f64::from(*x) + mu * f64::from(*g)) as f32;
    }
}

/// Moves the steepest features of `x` along `g`, each by `length / features` at most, so many that what the box
/// leaves of the step has the `L1` norm `length`.
pub(crate) fn l1(
    x: &mut [f32],
    g: &[f32],
    lower: &[f32],
    upper: &[f32],
    length: f64,
    features: usize,
) {
    let mut order: Vec<usize> = (0..g.len()).filter(|i| g[*i] != 0.0).collect();
    let mut few = features.clamp(1, order.len().max(1));
    let most = length / few as f64;
    let taken = |i: &usize, x: &[f32]| room(x[*i], g[*i], lower[*i], upper[*i]).min(most);
    // Ties go to the lower feature, so that the choice does not depend on the sort.
    let steeper = |a: &usize, b: &usize| g[*b].abs().total_cmp(&g[*a].abs()).then(a.cmp(b));
    // The steepest few that can take the whole length, found without sorting the rest.
    while few < order.len() {
        order.select_nth_unstable_by(few - 1, steeper);
        if order[..few].iter().map(|i| taken(i, x)).sum::<f64>() >= length {
            break;
        }
        few = (2 * few).min(order.len());
    }
    order.truncate(few);
    order.sort_unstable_by(steeper);
    let mut left = length;
    for i in order {
        let by = taken(&i, x).min(left);
        let meets_bound = by < most.min(left);
        let step = if meets_bound { most } else { by };
        x[i] = (f64::from(x[i]) + step.copysign(f64::from(g[i]))) as f32;
        left -= by;
        if left <= 0.0 {
            break;
        }
    }
}

/// How far `x` can go the way of `g`.
fn room(x: f32, g: f32, lower: f32, upper: f32) -> f64 {
    let (x, lower, upper) = (f64::from(x), f64::from(lower), f64::from(upper));
    let room = if g > 0.0 { upper - x } else { x - lower };
    room.max(0.0)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::reference::assert_near;

    /// As the projection on the box cuts it off.
    fn cut(x: Vec<f32>) -> Vec<f32> {
        x.into_iter().map(|x| x.clamp(0.0, 1.0)).collect()
    }

    fn by_l2(x: &[f32], g: &[f32], length: f64) -> Vec<f32> {
        let mut x = x.to_vec();
        let n = x.len();
        l2(&mut x, g, &vec![0.0; n], &vec![1.0; n], length);
        cut(x)
    }

    fn by_l1(x: &[f32], g: &[f32], length: f64, features: usize) -> Vec<f32> {
        let mut x = x.to_vec();
        let n = x.len();
        l1(&mut x, g, &vec![0.0; n], &vec![1.0; n], length, features);
        cut(x)
    }

    #[test]
    fn hand_computed_l2() {
        // Free: a unit vector. 3-4-5.
        assert_near(&by_l2(&[0.5; 2], &[3.0, -4.0], 0.25), &[0.65, 0.3]);
        // The first points out of the box: the other two get the whole length.
        assert_near(
            &by_l2(&[0.0, 0.5, 0.5], &[-99.0, 3.0, -4.0], 0.25),
            &[0.0, 0.65, 0.3],
        );
        // The first has room for 0.3 only; sqrt(0.5² - 0.3²) = 0.4 is left for the second.
        assert_near(&by_l2(&[0.7, 0.5], &[10.0, 1.0], 0.5), &[1.0, 0.9]);
        // No room for all of it: to the corner. No gradient: nowhere.
        assert_eq!(by_l2(&[0.5, 0.25], &[1.0, -1e-9], 9.0), [1.0, 0.0]);
        assert_eq!(by_l2(&[0.5, 0.25], &[0.0, -0.0], 9.0), [0.5, 0.25]);
    }

    #[test]
    fn hand_computed_l1() {
        // In order of slope, each up to its room: 0.25, then 0.5, then what is left.
        assert_eq!(
            by_l1(&[0.75, 0.5, 0.5], &[3.0, -2.0, 1.0], 0.875, 1),
            [1.0, 0.0, 0.625]
        );
        // Spread over two at least: 0.25 each; the first is at its bound.
        assert_eq!(
            by_l1(&[1.0, 0.5, 0.5, 0.5], &[9.0, -2.0, 1.0, 0.5], 0.5, 2),
            [1.0, 0.25, 0.75, 0.5]
        );
        // Ties go to the lower feature; nothing moves without a gradient.
        assert_eq!(by_l1(&[0.5; 3], &[1.0; 3], 0.25, 1), [0.75, 0.5, 0.5]);
        assert_eq!(by_l1(&[0.5; 3], &[0.0; 3], 0.25, 1), [0.5; 3]);
        assert_eq!(by_l1(&[0.5; 2], &[1.0, -1.0], 9.0, 1), [1.0, 0.0]);
    }

    #[test]
    fn what_meets_its_bound_goes_beyond_it() {
        let (lower, upper) = ([0.0; 3], [1.0; 3]);
        // mu = 0.4 for the second feature; the first, which has room for 0.3, would go 4.
        let mut x = [0.7, 0.5, 0.5];
        l2(&mut x, &[10.0, 1.0, 0.0], &lower, &upper, 0.5);
        assert_near(&x, &[4.7, 0.9, 0.5]);
        // One feature may take all of 0.5: the first goes that far, beyond its room of 0.25.
        let mut x = [0.75, 0.5, 1.0];
        l1(&mut x, &[3.0, -2.0, 9.0], &lower, &upper, 0.5, 1);
        assert_eq!(x, [1.25, 0.25, 1.5]);
    }

    proptest! {
        /// No other step of the same length in the box climbs further: checked against random ones.
        #[test]
        fn nothing_is_steeper(
            features in prop::collection::vec((0.0..1.0_f32, -3.0..3.0_f32, -1.0..1.0_f64), 1..12),
            length in 0.01..2.0_f64,
        ) {
            let x: Vec<f32> = features.iter().map(|f| f.0).collect();
            let g: Vec<f32> = features.iter().map(|f| f.1).collect();
            let gain = |d: &[f64]| d.iter().zip(&g).map(|(d, g)| d * f64::from(*g)).sum::<f64>();
            let taken = |y: Vec<f32>| -> Vec<f64> {
                y.iter().zip(&x).map(|(y, x)| f64::from(*y) - f64::from(*x)).collect()
            };
            let norms: [fn(&[f64]) -> f64; 2] = [
                |d| d.iter().map(|d| d * d).sum::<f64>().sqrt(),
                |d| d.iter().map(|d| d.abs()).sum(),
            ];
            for (ours, norm) in [by_l2(&x, &g, length), by_l1(&x, &g, length, 1)].into_iter().zip(norms) {
                let ours = taken(ours);
                // Each place is rounded to `f32`: half of its last bit, at most 3e-8 up to 1.
                let rounding = 3e-8 * features.len() as f64;
                prop_assert!(norm(&ours) <= length * (1.0 + 1e-9) + rounding);
                // A random direction, cut to the box, scaled back into the ball where it is too long.
                let other: Vec<f64> = features.iter()
                    .map(|f| (f64::from(f.0) + 3.0 * length * f.2).clamp(0.0, 1.0) - f64::from(f.0)).collect();
                let shrink = (length / norm(&other).max(1e-30)).min(1.0);
                let other: Vec<f64> = other.iter().map(|d| d * shrink).collect();
                prop_assert!(gain(&other) <= gain(&ours) + 1e-5, "{other:?} over {ours:?}");
            }
        }
    }
}
