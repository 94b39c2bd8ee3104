//! `L0` ∩ box: keep the features whose move matters most, put the others back.
//!
//! **Maths.** Whichever features may move go to their nearest point in the box, `d = clip(v)`. Moving feature `i`
//! rather than leaving it reduces the squared distance to `v` by `v² - (v - d)² = d·(2v - d)`, independently of the
//! others: the `floor(eps)` largest reductions are optimal. The set is not convex; ties go to the lower index.
//!
//! **Reference.** Croce and Hein, *Sparse and imperceivable adversarial attacks* (ICCV 2019), section 3.3.

use super::point::Point;

pub(super) fn project(point: &mut Point<'_>, eps: f64) {
    let mut gains: Vec<(f64, usize)> = point
        .features()
        .enumerate()
        .filter(|(_, (u, c))| *u > 0.0 && *c > 0.0)
        .map(|(i, (u, c))| {
            let d = if u < c { u } else { c };
            (d * (2.0 * u - d), i)
        })
        .collect();
    point.clip();
    // Saturates for budgets beyond any number of features.
    let keep = eps.floor() as usize;
    if gains.len() <= keep {
        return;
    }
    if keep > 0 {
        gains.select_nth_unstable_by(keep - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    }
    for &(_, i) in &gains[keep..] {
        point.x[i] = point.x0[i];
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use proofmark_domain::Norm;
    use proptest::prelude::*;

    use crate::row::{self, reference};

    fn project(x: &[f32], x0: &[f32], lower: &[f32], upper: &[f32], eps: f64) -> Vec<f32> {
        let mut x = x.to_vec();
        row::project(Norm::L0, &mut x, x0, lower, upper, eps);
        x
    }

    #[test]
    fn hand_computed() {
        let (x0, lo, hi) = ([0.0; 4], [-1.0; 4], [1.0; 4]);
        assert_eq!(
            project(&[0.25, -0.5, 0.125, 0.0], &x0, &lo, &hi, 2.0),
            [0.25, -0.5, 0.0, 0.0]
        );
        assert_eq!(
            project(&[0.25, -0.5, 0.125, 0.0], &x0, &lo, &hi, 1.9),
            [0.0, -0.5, 0.0, 0.0]
        );
        assert_eq!(project(&[0.25, -0.5, 0.125, 0.0], &x0, &lo, &hi, 0.9), x0);
        // Ties go to the lower index.
        assert_eq!(
            project(&[0.5, -0.5, 0.5, 0.5], &x0, &lo, &hi, 2.0),
            [0.5, -0.5, 0.0, 0.0]
        );
    }

    #[test]
    fn the_reduction_decides_not_the_pull_nor_the_move() {
        // Pull 3 with room 0.1 reduces by 0.59; pull 0.8 with room 1 by 0.64.
        assert_eq!(
            project(&[3.0, 0.8], &[0.0; 2], &[0.0; 2], &[0.1, 1.0], 1.0),
            [0.0, 0.8]
        );
        // Equal moves of 0.5: the stronger pull loses more if it stays.
        assert_eq!(
            project(&[0.6, 2.0], &[0.0; 2], &[0.0; 2], &[0.5, 0.5], 1.0),
            [0.0, 0.5]
        );
    }

    proptest! {
        #[test]
        fn laws(case in reference::case()) {
            let case = reference::Case { eps: case.eps * 4.0, ..case };
            reference::check_laws(Norm::L0, &case)?;
        }

        #[test]
        fn no_other_choice_of_features_is_nearer(case in reference::case()) {
            let keep = (case.eps * 4.0).floor();
            let got = reference::squared_distance(&case.project(Norm::L0, keep), &case.x);
            let n = case.x.len();
            for chosen in (0_u32..1 << n.min(10)).filter(|s| f64::from(s.count_ones()) <= keep) {
                let pick = |i: usize| if i < 10 && chosen >> i & 1 == 1 {
                    case.x[i].clamp(case.lower[i], case.upper[i])
                } else {
                    case.x0[i]
                };
                let other: Vec<f32> = (0..n).map(pick).collect();
                let other = reference::squared_distance(&other, &case.x);
                prop_assert!(got <= other + 1e-9 * (1.0 + other), "{got} > {other}");
            }
        }
    }
}
