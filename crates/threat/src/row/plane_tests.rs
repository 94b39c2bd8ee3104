//! Tests the shortest step: hand-computed, against a slow reference, and against random steps that gain as much.
#![allow(clippy::float_cmp, reason = "hand-computed values are exact")]

use proptest::prelude::*;

use super::*;
use crate::row::distance;
use crate::row::reference::{assert_near, check_box};

const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

/// A row of one modality.
#[derive(Debug, Clone)]
struct Row {
    x: Vec<f32>,
    gradient: Vec<f32>,
    lower: Vec<f32>,
    upper: Vec<f32>,
}

impl Row {
    fn slope(&self, norm: Norm, eps: f64) -> Slope<'_> {
        Slope {
            norm,
            eps,
            x: &self.x,
            gradient: &self.gradient,
            lower: &self.lower,
            upper: &self.upper,
        }
    }

    /// Returns slope and room of every feature.
    fn features(&self, change: f64) -> Vec<(f64, f64)> {
        (0..self.x.len())
            .map(|i| {
                let g = f64::from(self.gradient[i]) * change.signum();
                let to = if g > 0.0 {
                    self.upper[i]
                } else {
                    self.lower[i]
                };
                (g.abs(), (f64::from(to) - f64::from(self.x[i])).abs())
            })
            .collect()
    }

    /// Returns the largest gain of a step of this length, by bisection of the shared number.
    fn best_gain(&self, norm: Norm, change: f64, length: f64) -> f64 {
        let features = self.features(change);
        let d = |number: f64| -> Vec<f64> {
            let of = |(s, c): &(f64, f64)| match norm {
                Norm::Linf => number.min(*c),
                _ => (number * s).min(*c),
            };
            features.iter().map(of).collect()
        };
        let gain = |d: &[f64]| -> f64 { d.iter().zip(&features).map(|(d, (s, _))| d * s).sum() };
        match norm {
            Norm::Linf => gain(&d(length)),
            Norm::L2 => {
                let (mut lo, mut hi) = (0.0, 1e9);
                for _ in 0..300 {
                    let mid = f64::midpoint(lo, hi);
                    if Norm::L2.of(d(mid).into_iter()) <= length {
                        lo = mid;
                    } else {
                        hi = mid;
                    }
                }
                gain(&d(lo))
            }
            // By duality: the least over prices `p` of `p·length + Σ c max(s − p, 0)`, which is convex in the price and
            // has its minimum at one of the slopes or at 0.
            _ => std::iter::once(0.0)
                .chain(features.iter().map(|(s, _)| *s))
                .map(|p| {
                    let above = features.iter().map(|(s, c)| c * (s - p).max(0.0));
                    p * length + above.sum::<f64>()
                })
                .fold(f64::INFINITY, f64::min),
        }
    }
}

/// Returns the smallest gauge whose steps gain enough, by bisection.
fn slow_gauge(rows: &[(&Row, Norm, f64)], change: f64) -> f64 {
    let gain = |t: f64| -> f64 {
        let one = |(row, norm, eps): &(&Row, Norm, f64)| row.best_gain(*norm, change, t * eps);
        rows.iter().map(one).sum()
    };
    let (mut lo, mut hi) = (0.0, 1e9);
    for _ in 0..120 {
        let mid = f64::midpoint(lo, hi);
        if gain(mid) >= change.abs() {
            hi = mid;
        } else {
            lo = mid;
        }
    }
    hi
}

fn row(x: &[f32], gradient: &[f32]) -> Row {
    Row {
        x: x.to_vec(),
        gradient: gradient.to_vec(),
        lower: vec![0.0; x.len()],
        upper: vec![1.0; x.len()],
    }
}

fn step(norm: Norm, row: &Row, change: f64) -> (Vec<f32>, f64, bool) {
    let parts = [row.slope(norm, 1.0)];
    let shortest = Shortest::new(&parts, change);
    let [x] = &shortest.taken(&parts)[..] else {
        panic!("one modality")
    };
    (x.clone(), shortest.gauge, shortest.reaches)
}

#[test]
fn hand_computed() {
    // 3-4-5: along the gradient, by 0.5 / 5 in L2, by 0.7 / 7 in Linf, and along the steeper feature in L1.
    let inside = row(&[0.5, 0.5], &[3.0, -4.0]);
    assert_near(&step(Norm::L2, &inside, 0.5).0, &[0.56, 0.42]);
    assert_near(&step(Norm::Linf, &inside, 0.7).0, &[0.6, 0.4]);
    assert_near(&step(Norm::L1, &inside, 0.4).0, &[0.5, 0.4]);
    // A change in the other direction.
    assert_near(&step(Norm::L2, &inside, -0.5).0, &[0.44, 0.58]);
    // The steeper feature has room for only 0.1 (a gain of 0.4); the other one gains the rest.
    let near = row(&[0.5, 0.1], &[3.0, -4.0]);
    assert_near(&step(Norm::L1, &near, 1.0).0, &[0.7, 0.0]);
    assert_near(&step(Norm::Linf, &near, 1.0).0, &[0.7, 0.0]);
    assert_near(&step(Norm::L2, &near, 1.0).0, &[0.7, 0.0]);
    assert!((step(Norm::L2, &near, 1.0).1 - 0.05_f64.sqrt()).abs() < 1e-7);
}

#[test]
fn out_of_reach_and_no_way() {
    let x = row(&[0.5, 0.25, 0.5], &[1.0, -2.0, 0.0]);
    for norm in NORMS {
        // The corner gains 1; a change of 2 ends there.
        let (to, _, reaches) = step(norm, &x, 2.0);
        assert_eq!((&to[..], reaches), (&[1.0, 0.0, 0.5][..], false), "{norm}");
        let (to, gauge, reaches) = step(norm, &x, 1.0);
        assert_eq!((&to[..], reaches), (&[1.0, 0.0, 0.5][..], true), "{norm}");
        assert!((gauge - distance(norm, &to, &x.x)).abs() < 1e-12, "{norm}");
        for change in [0.0, f64::NAN, f64::INFINITY] {
            let (to, gauge, reaches) = step(norm, &x, change);
            assert_eq!((to, gauge, reaches), (x.x.clone(), 0.0, change == 0.0));
        }
        let flat = row(&[0.5, 0.25], &[0.0, f32::NAN]);
        assert_eq!(step(norm, &flat, 1.0), (flat.x.clone(), 0.0, false));
        let frozen = Shortest::new(&[x.slope(norm, 0.0)], 1.0);
        assert!(!frozen.reaches && frozen.gauge == 0.0);
        // Without bounds and almost without slope: as far as `f32` goes.
        let mut open = row(&[0.5], &[1e-30]);
        (open.lower, open.upper) = (vec![f32::NEG_INFINITY], vec![f32::INFINITY]);
        assert_eq!(step(norm, &open, 1e30).0, [f32::MAX]);
    }
    assert_eq!(step(Norm::L0, &x, 0.5).0, x.x);
}

#[test]
fn many_features_that_meet_their_bounds_one_after_another() {
    let n = 300;
    let mut x = row(&vec![0.0; n], &vec![1.0; n]);
    x.upper = (0..n).map(|k| 0.5_f32.powf(k as f32 / 4.0)).collect();
    x.gradient = (0..n).map(|k| 1.0 + (k % 7) as f32).collect();
    let most: f64 = x.features(1.0).iter().map(|(s, c)| s * c).sum();
    for norm in NORMS {
        for share in [1e-6, 0.1, 0.9, 0.999_999] {
            let (_, gauge, reaches) = step(norm, &x, share * most);
            let slow = slow_gauge(&[(&x, norm, 1.0)], share * most);
            assert!(
                reaches && (gauge / slow - 1.0).abs() < 1e-9,
                "{norm} {share}"
            );
        }
    }
}

fn rows() -> impl Strategy<Value = Row> {
    let free = (-1.0_f32..1.0, 0.0_f32..1.0, 0.0_f32..1.0, -3.0_f32..3.0);
    let grid = (-2_i8..=2, 0_i8..=2, 0_i8..=2, -2_i8..=2).prop_map(|(x, a, b, g)| {
        (
            f32::from(x) / 4.0,
            f32::from(a) / 4.0,
            f32::from(b) / 4.0,
            f32::from(g),
        )
    });
    let feature = prop_oneof![3 => free, 2 => grid];
    prop::collection::vec(feature, 1..20).prop_map(|features| Row {
        x: features.iter().map(|f| f.0).collect(),
        gradient: features.iter().map(|f| f.3).collect(),
        lower: features.iter().map(|f| f.0 - f.1).collect(),
        upper: features.iter().map(|f| f.0 + f.2).collect(),
    })
}

/// Returns the change of the linear function between two points.
fn changed(row: &Row, to: &[f32]) -> f64 {
    let moved = to.iter().zip(&row.x).zip(&row.gradient);
    moved
        .map(|((to, x), g)| f64::from(*g) * (f64::from(*to) - f64::from(*x)))
        .sum()
}

proptest! {
    #[test]
    fn laws(case in rows(), share in 0.01_f64..1.2, up in any::<bool>(), draws in prop::collection::vec(0.0_f64..1.0, 20)) {
        let sign = if up { 1.0 } else { -1.0 };
        let features = case.features(sign);
        let most: f64 = features.iter().map(|(s, c)| s * c).sum();
        let change = sign * share * most;
        for norm in NORMS {
            let (to, gauge, reaches) = step(norm, &case, change);
            check_box(&to, &case.lower, &case.upper)?;
            prop_assert!((gauge - distance(norm, &to, &case.x)).abs() <= 1e-6 * (1.0 + gauge));
            if share > 1.0 && most > 0.0 {
                prop_assert!(!reaches);
                continue;
            }
            prop_assert!(reaches);
            // On the plane, up to rounding of the features.
            prop_assert!((changed(&case, &to) - change).abs() <= 1e-5 * (1.0 + most), "{norm}");
            let slow = if change == 0.0 { 0.0 } else { slow_gauge(&[(&case, norm, 1.0)], change) };
            prop_assert!((gauge - slow).abs() <= 1e-7 * (1.0 + slow), "{norm}: {gauge}, not {slow}");
            // A random step, lengthened until it gains as much, is no shorter.
            let d: Vec<f64> = features.iter().zip(&draws).map(|((_, c), u)| c * u).collect();
            let gains: f64 = d.iter().zip(&features).map(|(d, (s, _))| d * s).sum();
            if gains >= change.abs() && gains > 0.0 {
                let shorter = d.iter().map(|d| d * change.abs() / gains);
                prop_assert!(norm.of(shorter) >= gauge * (1.0 - 1e-9));
            }
        }
    }

    #[test]
    fn several_budgets_grow_together(
        a in rows(), b in rows(), share in 0.01_f64..0.99, eps in 0.05_f64..5.0, norms in (0_usize..3, 0_usize..3),
    ) {
        let [one, two] = [NORMS[norms.0], NORMS[norms.1]];
        let most: f64 = a.features(1.0).iter().chain(&b.features(1.0)).map(|(s, c)| s * c).sum();
        let change = share * most;
        let parts = [a.slope(one, 0.5), b.slope(two, eps)];
        let shortest = Shortest::new(&parts, change);
        let taken = shortest.taken(&parts);
        check_box(&taken[0], &a.lower, &a.upper)?;
        check_box(&taken[1], &b.lower, &b.upper)?;
        let total = changed(&a, &taken[0]) + changed(&b, &taken[1]);
        prop_assert!((total - change).abs() <= 1e-5 * (1.0 + most), "{total}, not {change}");
        if most > 0.0 {
            let slow = slow_gauge(&[(&a, one, 0.5), (&b, two, eps)], change);
            let fast = shortest.gauge;
            prop_assert!((fast - slow).abs() <= 1e-7 * (1.0 + slow), "{fast}, not {slow}");
        }
    }
}
