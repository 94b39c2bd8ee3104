//! Compares the region on the device with the threat model on the host: same gauge, same membership. Every step and
//! every random start stays inside, masks and frozen inputs included.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use proofmark_domain::{Bounds, Coupling, Epsilon, Kind, Modality, Norm, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::{
    Batch, Budget, Radius, Region, Step, Threat, append, host, load, save, select,
};
use proptest::prelude::*;

const ROWS: usize = 5;

#[test]
fn budgets_follow_their_rows() {
    let all = modalities();
    let budget = |name: &str, radius| Budget {
        modality: name.into(),
        norm: Norm::L0,
        radius,
        mask: None,
    };
    let each = Radius::PerSample([3.0, 0.0, 1.0, 2.0, 4.0].into());
    let same = Radius::Uniform(proofmark_domain::Epsilon::new(0.5).unwrap());
    let both = vec![budget("b", each), budget("a", same)];
    let threat = Threat::new(&all, both, Coupling::Independent, ROWS).unwrap();
    let samples = [4, 1, 2, 0, 3];
    let region = Region::new(&threat, &all, &values(&all, 1), &samples, &Device::flex());
    let eps = |region: &Region| -> Vec<Vec<f64>> { region.eps().map(<[f64]>::to_vec).collect() };
    assert_eq!(
        eps(&region),
        [vec![0.5; ROWS], vec![4.0, 0.0, 1.0, 3.0, 2.0]]
    );
    assert_eq!(eps(&region.at(&[3, 0])), [vec![0.5; 2], vec![3.0, 4.0]]);
}

fn modalities() -> Arc<[Modality]> {
    let modality = |name: &str, features, bounds| Modality {
        name: name.into(),
        kind: Kind::Table,
        shape: vec![features],
        bounds,
    };
    let per_feature =
        Bounds::per_feature(vec![0.0, -2.0, 0.5, 0.0], vec![1.0, 2.0, 0.75, 10.0]).unwrap();
    vec![
        modality("a", 6, Bounds::uniform(0.0, 1.0).unwrap()),
        modality("b", 4, per_feature),
    ]
    .into()
}

/// Returns values inside the bounds, from a seed.
fn values(modalities: &[Modality], seed: u64) -> Vec<Vec<f32>> {
    modalities
        .iter()
        .enumerate()
        .map(|(m, modality)| {
            let mut stream = Stream::new(&StreamKey::new(Seed(seed), m as u64, Purpose::Data));
            (0..ROWS * modality.features())
                .map(|i| {
                    let (lo, hi) = (
                        modality.bounds.low(i % modality.features()),
                        modality.bounds.high(i % modality.features()),
                    );
                    lo + stream.uniform() * (hi - lo)
                })
                .collect()
        })
        .collect()
}

fn row(values: &[Vec<f32>], modalities: &[Modality], r: usize) -> Vec<Vec<f32>> {
    values
        .iter()
        .zip(modalities)
        .map(|(v, m)| v[r * m.features()..(r + 1) * m.features()].to_vec())
        .collect()
}

fn threat(norms: [Norm; 2], coupling: Coupling, mask: bool, scale: f64) -> Threat {
    let modalities = modalities();
    // One radius per row; the third is 0 and freezes its row.
    let radii = [0.1, 0.5, 0.0, 2.0, 30.0].map(|r| r * scale);
    let radii = radii.map(|r| {
        if norms.contains(&Norm::L0) {
            r.ceil()
        } else {
            r
        }
    });
    let budget = |i: usize, name: &str| Budget {
        modality: name.into(),
        norm: norms[i],
        radius: Radius::PerSample(radii.to_vec().into()),
        mask: (mask && i == 0).then(|| [true, false, true, true, false, true].into()),
    };
    Threat::new(
        &modalities,
        vec![budget(0, "a"), budget(1, "b")],
        coupling,
        ROWS,
    )
    .unwrap()
}

fn check_inside(threat: &Threat, region: &Region, x: &Batch, x0: &[Vec<f32>]) {
    let modalities = modalities();
    let x_host = x.to_host();
    let device_gauge = host(&region.gauge(x));
    let inside = host(&region.inside(x).float());
    for r in 0..ROWS {
        let (point, origin) = (row(&x_host, &modalities, r), row(x0, &modalities, r));
        let origin: Vec<&[f32]> = origin.iter().map(Vec::as_slice).collect();
        let gauge = threat
            .gauge(&modalities, r, &point, &origin)
            .expect("inside bounds and mask");
        assert!(gauge <= 1.0, "row {r} has gauge {gauge}");
        assert!(
            (f64::from(device_gauge[r]) - gauge).abs() < 1e-4,
            "{} and {gauge}",
            device_gauge[r]
        );
        assert_eq!(inside[r], 1.0);
    }
}

fn norm() -> impl Strategy<Value = Norm> {
    prop::sample::select(&Norm::ALL[..])
}

fn convex() -> impl Strategy<Value = Norm> {
    prop::sample::select(&[Norm::Linf, Norm::L2, Norm::L1][..])
}

fn steps_stay_inside(threat: &Threat, seed: u64, size: f32) {
    let modalities = modalities();
    let x0 = values(&modalities, seed);
    let samples: Vec<usize> = (0..ROWS).collect();
    let device = Device::flex();
    let region = Region::new(threat, &modalities, &x0, &samples, &device);
    let keys: Vec<StreamKey> = (0..ROWS as u64)
        .map(|r| StreamKey::new(Seed(seed), r, Purpose::Start))
        .collect();
    let start = region.random(&keys);
    check_inside(threat, &region, &start, &x0);
    let far = values(&modalities, seed + 1);
    let far = Batch::from_host(modalities.clone(), far, &device)
        .unwrap()
        .map(|b| b * 3.0 - 1.0);
    let projected = region.project(&far);
    check_inside(threat, &region, &projected, &x0);
    assert_eq!(
        region.project(&projected).to_host(),
        projected.to_host(),
        "idempotent"
    );
    let all = |v: f32| Tensor::<1>::full([ROWS], v, &device);
    let step = Step::new(all(size)).spread(all(0.3));
    let mut x = start;
    for _ in 0..3 {
        x = region.advance(&x, &far, &step);
        check_inside(threat, &region, &x, &x0);
        x = region.shift(&x, &far, &step);
        check_inside(threat, &region, &x, &x0);
    }
}

/// Projects on balls of other radii, one per row, with one modality on the device and one on the host.
#[test]
fn project_within_uses_one_radius_per_row() {
    let modalities = modalities();
    let x0 = values(&modalities, 3);
    let samples: Vec<usize> = (0..ROWS).collect();
    let device = Device::flex();
    for norms in [[Norm::Linf, Norm::L2], [Norm::L1, Norm::Linf]] {
        let threat = threat(norms, Coupling::Independent, true, 0.2);
        let region = Region::new(&threat, &modalities, &x0, &samples, &device);
        let far = Batch::from_host(modalities.clone(), values(&modalities, 4), &device).unwrap();
        let far = far.map(|b| b * 3.0 - 1.0);
        let radii = [0.5, 2.0, 1.0, 0.25, 0.125];
        let near = region.project_within(&far, &region.column(&radii));
        let gauges = host(&region.gauge(&near));
        let inside = host(&region.inside(&near).float());
        for (r, radius) in radii.iter().enumerate() {
            // Rounding the ends to `f32` may add a last bit; the third row is frozen.
            assert!(
                gauges[r] <= radius * (1.0 + 1e-5),
                "{norms:?} {r}: {}",
                gauges[r]
            );
            assert_eq!(inside[r], 1.0, "{norms:?} {r}");
        }
        // The point is far outside, so every ball is reached (row 2 is frozen, rows 3 and 4 have room to spare).
        assert!(gauges[0] > 0.49 && gauges[3] > 0.1, "{norms:?} {gauges:?}");
        assert_eq!(
            region
                .project_within(&far, &region.column(&[1.0; ROWS]))
                .to_host()[usize::from(norms[0] == Norm::Linf)],
            region.project(&far).to_host()[usize::from(norms[0] == Norm::Linf)],
            "on the host a radius of 1 is the budget, bit for bit"
        );
        let boxed = region.clip(&far).to_host();
        for (m, modality) in modalities.iter().enumerate() {
            for (i, v) in boxed[m].iter().enumerate() {
                let f = i % modality.features();
                let frozen = i / modality.features() == 2 || (m == 0 && [1, 4].contains(&f));
                let (lo, hi) = (modality.bounds.low(f), modality.bounds.high(f));
                assert!(
                    if frozen {
                        *v == x0[m][i]
                    } else {
                        (lo..=hi).contains(v)
                    },
                    "{m} {i}"
                );
            }
        }
    }
}

/// Values fetched to the host for some rows are not used for others.
#[test]
fn perturb_within_keeps_the_noise_that_the_bounds_cut_off() {
    let modalities: Arc<[Modality]> = vec![Modality {
        name: "a".into(),
        kind: Kind::Table,
        shape: vec![3],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    }]
    .into();
    let threat = Threat::uniform(&modalities, Norm::L1, &Epsilon::new(0.25).unwrap());
    let device = Device::flex();
    let region = Region::new(&threat, &modalities, &[vec![0.5; 6]], &[0, 1], &device);
    let keys = [0, 1].map(|row| StreamKey::new(Seed(1), row, Purpose::Start));
    let radius = region.column(&[1.0, 3.0]);
    let x = region.perturb_within(&keys, &radius, |draw, _| {
        draw.x.copy_from_slice(&[4.5, 1.5, 0.6]);
    });
    // Moves of 4, 1 and 0.1: the first takes 0.25 of 0.25, and of 0.75 the 0.5 that the bounds allow.
    assert_eq!(host(&x.blocks()[0]), [0.75, 0.5, 0.5, 1.0, 0.75, 0.5]);
}

#[test]
fn selected_rows_are_projected_around_their_own_origins() {
    let modalities = modalities();
    let x0 = values(&modalities, 5);
    let samples: Vec<usize> = (0..ROWS).collect();
    let device = Device::flex();
    let threat = threat([Norm::L2, Norm::L1], Coupling::Independent, false, 0.3);
    let mut region = Region::new(&threat, &modalities, &x0, &samples, &device);
    let far = Batch::from_host(modalities.clone(), values(&modalities, 6), &device).unwrap();
    let all = region.project(&far).to_host();
    let keep = [1, 0];
    select(&mut region, &keep);
    let at = proofmark_threat::index(&keep, &device);
    let kept = region.project(&far.select(&at)).to_host();
    for (m, modality) in modalities.iter().enumerate() {
        let f = modality.features();
        for (k, r) in keep.iter().enumerate() {
            assert_eq!(kept[m][k * f..(k + 1) * f], all[m][r * f..(r + 1) * f]);
        }
    }
}

/// Rows change one by one, with their own place and values; those that are left alone keep their bits.
#[test]
fn altered_rows_are_projected_and_others_stay() {
    let modalities = modalities();
    let x0 = values(&modalities, 7);
    let samples: Vec<usize> = (0..ROWS).collect();
    let device = Device::flex();
    let threat = threat([Norm::Linf, Norm::L2], Coupling::Independent, true, 0.4);
    let region = Region::new(&threat, &modalities, &x0, &samples, &device);
    let keys: Vec<StreamKey> = (0..ROWS as u64)
        .map(|r| StreamKey::new(Seed(0), r, Purpose::Start))
        .collect();
    let start = region.random(&keys);
    let (moved, places) = region.alter(&start, |r, draws| {
        assert_eq!(draws[0].x0, row(&x0, &modalities, r)[0]);
        if r % 2 == 0 {
            draws[1].x.fill(9.0);
        }
        (r, draws[0].x.to_vec())
    });
    check_inside(&threat, &region, &moved, &x0);
    let (before, after) = (start.to_host(), moved.to_host());
    for (r, (place, values)) in places.iter().enumerate() {
        assert_eq!(*place, r);
        assert_eq!(*values, row(&before, &modalities, r)[0]);
        let [was, is] = [&before, &after].map(|v| row(v, &modalities, r));
        assert_eq!(was[0], is[0]);
        // Row 2 is frozen.
        assert_eq!(was[1] == is[1], r % 2 == 1 || r == 2, "{r}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn independent_budgets(a in norm(), b in norm(), mask: bool, seed in 0..1000_u64, size in 0.01..3.0_f32, scale in 0.05..2.0) {
        steps_stay_inside(&threat([a, b], Coupling::Independent, mask, scale), seed, size);
    }

    #[test]
    fn one_shared_budget(a in convex(), b in convex(), mask: bool, seed in 0..1000_u64, size in 0.01..3.0_f32, q in 1.0..4.0_f64) {
        steps_stay_inside(&threat([a, b], Coupling::Shared { q }, mask, 0.5), seed, size);
    }
}

#[test]
fn gauge_is_none_outside_bounds_and_mask() {
    let modalities = modalities();
    let x0 = values(&modalities, 3);
    let threat = threat([Norm::L2, Norm::L1], Coupling::Independent, true, 1.0);
    let origin = row(&x0, &modalities, 1);
    let slices: Vec<&[f32]> = origin.iter().map(Vec::as_slice).collect();
    let gauge = |change: &dyn Fn(&mut Vec<Vec<f32>>)| {
        let mut x = origin.clone();
        change(&mut x);
        threat.gauge(&modalities, 1, &x, &slices)
    };
    assert_eq!(gauge(&|_| {}), Some(0.0));
    assert_eq!(gauge(&|x| x[0][0] = 1.5), None, "above its bound");
    assert_eq!(gauge(&|x| x[0][1] += 0.01), None, "masked");
    assert_eq!(gauge(&|x| x[1][2] = f32::NAN), None, "not a number");
    // Row 1 has radius 0.5: a change of 1 in one feature of "b" is twice the budget.
    let moved = gauge(&|x| x[1][3] += if x[1][3] > 5.0 { -1.0 } else { 1.0 });
    assert!((moved.unwrap() - 2.0).abs() < 1e-6);
}

#[test]
fn columns_select_append_save_and_load() {
    let modalities = modalities();
    let x0 = values(&modalities, 5);
    let threat = threat([Norm::Linf, Norm::L2], Coupling::Independent, false, 1.0);
    let device = Device::flex();
    let region = Region::new(&threat, &modalities, &x0, &[0, 1, 2, 3, 4], &device);
    let mut front = region.clone();
    let mut back = region.clone();
    select(&mut front, &[0, 1]);
    select(&mut back, &[2, 3, 4]);
    append(&mut front, &mut back);
    assert_eq!(save(&mut front), save(&mut region.clone()));
    let saved = save(&mut region.clone());
    let mut fresh = Region::new(
        &threat,
        &modalities,
        &row(&x0, &modalities, 0),
        &[0],
        &device,
    );
    load(&mut fresh, &saved, &device).unwrap();
    assert_eq!(save(&mut fresh), saved);
    let mut short = saved;
    short.remove("0.x0");
    assert!(
        load(&mut fresh, &short, &device)
            .unwrap_err()
            .to_string()
            .contains("0.x0")
    );
}
