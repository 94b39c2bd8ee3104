//! Nearest points of linearised boundaries, for rows of two inputs with masks and frozen rows.

use std::sync::Arc;

use burn::tensor::Device;
use proofmark_domain::{Bounds, Coupling, Kind, Modality, Norm};
use proofmark_threat::{Batch, Budget, Plane, Radius, Region, Threat, host, select};

fn modalities() -> Arc<[Modality]> {
    let modality = |name: &str, features, bounds| Modality {
        name: name.into(),
        kind: Kind::Table,
        shape: vec![features],
        bounds,
    };
    vec![
        modality("a", 2, Bounds::uniform(0.0, 1.0).unwrap()),
        modality("b", 2, Bounds::uniform(-1.0, 1.0).unwrap()),
    ]
    .into()
}

fn batch(values: &[Vec<f32>; 2]) -> Batch {
    Batch::from_host(modalities(), values.to_vec(), &Device::flex()).unwrap()
}

fn budget(name: &str, norm: Norm, eps: [f64; 3], mask: Option<&[bool]>) -> Budget {
    Budget {
        modality: name.into(),
        norm,
        radius: Radius::PerSample(eps.to_vec().into()),
        mask: mask.map(Into::into),
    }
}

/// Rows of Linf 0.1 beside L2 0.5: the third row's second input is frozen, and the second feature of the first input is
/// masked.
fn region(samples: &[usize]) -> Region {
    let budgets = vec![
        budget("a", Norm::Linf, [0.1; 3], Some(&[true, false])),
        budget("b", Norm::L2, [0.5, 0.5, 0.0], None),
    ];
    let threat = Threat::new(&modalities(), budgets, Coupling::Independent, 3).unwrap();
    let n = samples.len();
    let x0 = vec![vec![0.5; 2 * n], vec![0.0; 2 * n]];
    Region::new(&threat, &modalities(), &x0, samples, &Device::flex())
}

fn close(a: &[f32], b: &[f32]) {
    let near = a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near && a.len() == b.len(), "{a:?} {b:?}");
}

#[test]
fn both_inputs_move_by_the_same_share_of_their_budgets() {
    let region = region(&[0, 1, 2]);
    let x0 = region.x0();
    // At gauge t the first input gains 2 · 0.1 t, the second 5 · 0.5 t.
    let plane = Plane {
        at: x0.clone(),
        value: vec![-2.7, 0.27, -0.2],
        gradient: batch(&[[2.0_f32, 9.0].repeat(3), [3.0_f32, -4.0].repeat(3)]),
    };
    let on = region.onto(&x0, &plane, 1.0);
    for (gauge, expected) in on.gauge.iter().zip([1.0, 0.1, 1.0]) {
        assert!((gauge - expected).abs() < 1e-6, "{:?}", on.gauge);
    }
    assert_eq!(on.reached, [true; 3]);
    close(&host(&on.x.blocks()[0]), &[0.6, 0.5, 0.49, 0.5, 0.6, 0.5]);
    close(
        &host(&on.x.blocks()[1]),
        &[0.3, -0.4, -0.03, 0.04, 0.0, 0.0],
    );
    close(&host(&region.gauge(&on.x)), &[1.0, 0.1, 1.0]);
    assert_eq!(region.distance(&x0, &plane), on.gauge);

    // From another point the value is read off the plane.
    let moved = batch(&[[0.55_f32, 0.5].repeat(3), [0.0_f32, 0.0].repeat(3)]);
    let on = region.onto(&moved, &plane, 1.0);
    assert!((on.gauge[2] - 0.5).abs() < 1e-6, "{:?}", on.gauge);
    assert!((on.gauge[0] - 2.6 / 2.7).abs() < 1e-6, "{:?}", on.gauge);

    // Twice as far; beyond the bounds it would be the corner.
    let twice = region.onto(&x0, &plane, 2.0);
    assert!((twice.gauge[1] - 0.2).abs() < 1e-6, "{:?}", twice.gauge);
    close(&host(&twice.x.blocks()[1])[2..4], &[-0.06, 0.08]);

    // Out of reach: the free feature of the frozen row gains at most 1.
    let far = Plane {
        value: vec![-2.0; 3],
        ..plane
    };
    assert_eq!(region.distance(&x0, &far)[2], f64::INFINITY);
    let on = region.onto(&x0, &far, 1.0);
    assert_eq!(on.reached, [true, true, false]);
    close(&host(&on.x.blocks()[0])[4..], &[1.0, 0.5]);
    close(&host(&on.x.blocks()[1])[4..], &[0.0, 0.0]);
}

/// A row's result depends on that row alone.
#[test]
fn selected_rows_keep_their_results() {
    let mut all = region(&[0, 1, 2]);
    let x0 = all.x0();
    let gradient = batch(&[vec![1.0, 1.0, 2.0, 1.0, 3.0, 1.0], vec![0.5; 6]]);
    let plane = Plane {
        at: x0.clone(),
        value: vec![-0.3, -0.2, -0.1],
        gradient: gradient.clone(),
    };
    let whole = all.distance(&x0, &plane);
    select(&mut all, &[2, 0]);
    let at = proofmark_threat::index(&[2, 0], &Device::flex());
    let plane = Plane {
        at: x0.select(&at),
        value: vec![-0.1, -0.3],
        gradient: gradient.select(&at),
    };
    let some = all.distance(&x0.select(&at), &plane);
    assert_eq!(some, [whole[2], whole[0]]);
}
