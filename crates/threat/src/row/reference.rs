//! Slow, independent reference projections and the laws of every projection (tests only).

use proofmark_domain::Norm;
use proptest::prelude::*;

use super::{distance, project};

/// One sample to project.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) x: Vec<f32>,
    pub(super) x0: Vec<f32>,
    pub(super) lower: Vec<f32>,
    pub(super) upper: Vec<f32>,
    pub(super) eps: f64,
}

impl Case {
    pub(super) fn project(&self, norm: Norm, eps: f64) -> Vec<f32> {
        let mut x = self.x.clone();
        project(norm, &mut x, &self.x0, &self.lower, &self.upper, eps);
        x
    }

    /// Projects by 200 bisections of the multiplier, without using breakpoints.
    pub(super) fn exact(&self, norm: Norm) -> Vec<f64> {
        self.exact_at(norm, self.eps)
    }

    pub(super) fn exact_at(&self, norm: Norm, eps: f64) -> Vec<f64> {
        // Displacement at a multiplier: the norm's proximal map, clipped to the box (exact, as both are separable).
        let at = |m: f64| -> Vec<f64> {
            (0..self.x.len())
                .map(|i| {
                    let [x, o, lo, hi] =
                        [self.x[i], self.x0[i], self.lower[i], self.upper[i]].map(f64::from);
                    let v = x - o;
                    let d = match norm {
                        Norm::Linf => v.clamp(-eps, eps),
                        Norm::L2 => v / (1.0 + m),
                        Norm::L1 => v.signum() * (v.abs() - m).max(0.0),
                        Norm::L0 => unreachable!("not convex"),
                    };
                    d.clamp(lo - o, hi - o)
                })
                .collect()
        };
        let fits = |d: &[f64]| norm.of(d.iter().copied()) <= eps;
        let (mut lo, mut hi) = (0.0, 0.0);
        if !fits(&at(0.0)) {
            hi = 1.0;
            while !fits(&at(hi)) && hi < 1e300 {
                hi *= 2.0;
            }
            for _ in 0..200 {
                let mid = f64::midpoint(lo, hi);
                if fits(&at(mid)) { hi = mid } else { lo = mid }
            }
        }
        at(hi)
            .iter()
            .zip(&self.x0)
            .map(|(d, &o)| f64::from(o) + d)
            .collect()
    }

    /// Returns points of the feasible set, some on its boundary, from a small fixed generator.
    pub(super) fn feasible(&self, norm: Norm, eps: f64) -> Vec<Vec<f32>> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut uniform = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u32 << 24) as f32
        };
        let mut points = Vec::new();
        for round in 0..24 {
            let boxes = || self.lower.iter().zip(&self.upper);
            let mut z: Vec<f32> = (self.x0.iter().zip(boxes()))
                .map(|(&o, (&lo, &hi))| {
                    if uniform() < 0.7 {
                        (lo + uniform() * (hi - lo)).clamp(lo, hi)
                    } else {
                        o
                    }
                })
                .collect();
            let far = distance(norm, &z, &self.x0);
            if far > eps && norm == Norm::L0 {
                continue;
            }
            if far > eps {
                let scale = eps / far * if round % 2 == 0 { 0.999_999 } else { 0.7 };
                for ((z, &o), (&lo, &hi)) in z.iter_mut().zip(&self.x0).zip(boxes()) {
                    let o = f64::from(o);
                    *z = ((o + (f64::from(*z) - o) * scale) as f32).clamp(lo, hi);
                }
            }
            if distance(norm, &z, &self.x0) <= eps {
                points.push(z);
            }
        }
        points
    }
}

/// Generates small samples with all the hard cases: ties, frozen features, features without room, denormals, points
/// inside, on the edge and far outside.
pub(super) fn case() -> impl Strategy<Value = Case> {
    let free = (-1.0_f32..1.0, 0.0_f32..1.0, 0.0_f32..1.0, -3.0_f32..3.0);
    let grid = (-2_i8..=2, 0_i8..=3, 0_i8..=3, -6_i8..=6).prop_map(|(o, a, b, v)| {
        (
            f32::from(o) / 4.0,
            f32::from(a) / 4.0,
            f32::from(b) / 4.0,
            f32::from(v) / 4.0,
        )
    });
    let frozen = (-1.0_f32..1.0, -3.0_f32..3.0).prop_map(|(o, v)| (o, 0.0, 0.0, v));
    let tiny =
        (0_u32..9, 0_u32..9).prop_map(|(o, v)| (f32::from_bits(o), 1.0, 1.0, f32::from_bits(v)));
    let large = (-3e4_f32..3e4, 0.0_f32..9.0, 0.0_f32..9.0, -9.0_f32..9.0);
    let feature = prop_oneof![6 => free, 6 => grid, 2 => frozen, 1 => tiny, 1 => large];
    let eps = prop_oneof![
        6 => 0.0..2.5_f64,
        3 => prop::sample::select(vec![0.0, 0.25, 0.5, 1.0, 8.0 / 255.0, 1e-6, 1e-40, 1e9]),
    ];
    (prop::collection::vec(feature, 1..24), eps).prop_map(|(features, eps)| Case {
        x: features.iter().map(|&(o, _, _, v)| o + v).collect(),
        x0: features.iter().map(|f| f.0).collect(),
        lower: features.iter().map(|&(o, a, _, _)| o - a).collect(),
        upper: features.iter().map(|&(o, _, b, _)| o + b).collect(),
        eps,
    })
}

/// Checks that the projection is inside, idempotent, unchanged if already inside and equal to the reference, and that
/// no feasible point is nearer.
pub(super) fn check_laws(norm: Norm, case: &Case) -> Result<(), TestCaseError> {
    let got = case.project(norm, case.eps);
    check_box(&got, &case.lower, &case.upper)?;
    let far = distance(norm, &got, &case.x0);
    prop_assert!(far <= case.eps, "{far} > {}: {got:?}", case.eps);
    let again = Case {
        x: got.clone(),
        ..case.clone()
    }
    .project(norm, case.eps);
    prop_assert_eq!(bits(&again), bits(&got));
    if norm != Norm::L0 {
        for (i, (a, b)) in got.iter().zip(case.exact(norm)).enumerate() {
            let scale = 1.0 + case.x0[i].abs().max(b.abs() as f32);
            prop_assert!(
                (f64::from(*a) - b).abs() <= 1e-5 * f64::from(scale),
                "feature {i}: {a}, not {b}"
            );
            // The module promises two f32 steps.
            prop_assert!(
                (f64::from(*a) - b).abs() <= 4e-7 * f64::from(scale),
                "feature {i}: {a}, not {b} (steps)"
            );
        }
    }
    let own = squared_distance(&got, &case.x);
    // Two f32 steps of each feature, to first order: the rounding error that a feature near 30,000 may add.
    let steps: f64 = (0..got.len())
        .map(|i| 8e-7 * f64::from((got[i] - case.x[i]).abs() * case.x0[i].abs()))
        .sum();
    for z in case.feasible(norm, case.eps) {
        let kept = Case {
            x: z.clone(),
            ..case.clone()
        }
        .project(norm, case.eps);
        prop_assert_eq!(bits(&kept), bits(&z), "a point inside was moved");
        let other = squared_distance(&z, &case.x);
        prop_assert!(
            norm == Norm::L0 || own <= other + steps + 1e-5,
            "{z:?} is nearer: {other} < {own}"
        );
    }
    Ok(())
}

pub(super) fn check_box(x: &[f32], lower: &[f32], upper: &[f32]) -> Result<(), TestCaseError> {
    for i in 0..x.len() {
        prop_assert!(
            lower[i] <= x[i] && x[i] <= upper[i],
            "feature {i}: {} not in [{}, {}]",
            x[i],
            lower[i],
            upper[i]
        );
    }
    Ok(())
}

pub(super) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

pub(super) fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
    x.iter()
        .zip(y)
        .map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2))
        .sum()
}

pub(super) fn assert_near(got: &[f32], want: &[f64]) {
    for (a, b) in got.iter().zip(want) {
        assert!(
            (f64::from(*a) - b).abs() <= 4e-7 * b.abs().max(1.0),
            "{got:?}, not {want:?}"
        );
    }
    assert_eq!(got.len(), want.len());
}
