//! Attacks made for transfer: without their own parts they are MI-FGSM to the bit, and the points they look at are those of
//! their papers.

use std::sync::Mutex;

use burn::tensor::{Device, Tensor};
use proofmark_domain::{Bounds, Epsilon, Kind, Modality, Norm, RunStatus};
use proofmark_engine::{Access, EngineError, Job, Outcomes, Samples, Silent};
use proofmark_model::{BurnModel, DecisionModel, ModelError, Network, Query, Signature};
use proofmark_threat::{Threat, host};

use crate::common::{Case, samples};

/// Images of one channel, 4 × 5, in two classes: whether the left half is brighter.
fn images(n: usize) -> (Samples, BurnModel) {
    let modality = Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: vec![1, 4, 5],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let value = |i: usize| ((i * 7919 + 13) % 101) as f32 / 101.0;
    let values: Vec<f32> = (0..n * 20).map(value).collect();
    let left = |f: usize| f % 5 < 2;
    let weight = move |f: usize| if left(f) { 1.0 } else { -2.0 / 3.0 };
    let score = |x: &[f32]| -> f32 { x.iter().enumerate().map(|(f, v)| weight(f) * v).sum() };
    let labels = values
        .chunks(20)
        .map(|x| usize::from(score(x) > 0.0))
        .collect();
    let model = BurnModel::closure(vec![modality.clone()], 2, &Device::flex(), move |x| {
        let weights: Vec<f32> = (0..20).flat_map(|f| [-weight(f), weight(f)]).collect();
        let weights = Tensor::<1>::from_floats(weights.as_slice(), &x[0].device());
        // A slight curve, so that the gradient depends on the point.
        let bent = x[0].clone() + x[0].clone().powi_scalar(2) * 0.1;
        bent.matmul(weights.reshape([20, 2]))
    });
    (
        samples(vec![modality], vec![values], labels),
        model.unwrap(),
    )
}

fn attack(
    model: &impl DecisionModel,
    samples: &Samples,
    norm: Norm,
    id: &str,
    table: &str,
) -> Result<Outcomes, EngineError> {
    let rows: Vec<usize> = (0..samples.len()).collect();
    let eps = if norm == Norm::L2 { 0.15 } else { 0.05 };
    let threat = Threat::uniform(&samples.modalities, norm, &Epsilon::new(eps).unwrap());
    let job = Job::new(samples, &rows, &threat, &Silent);
    let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
    attack.run(Access::from(model), &job)
}

/// Status, and the bits of the point.
fn points(outcomes: &Outcomes) -> Vec<(RunStatus, Option<Vec<u32>>)> {
    let bits = |p: &proofmark_engine::Point| p.x[0].iter().map(|v| v.to_bits()).collect();
    let one = |o: &proofmark_engine::Outcome| (o.status, o.point.as_ref().map(bits));
    outcomes.rows.iter().map(one).collect()
}

#[test]
fn without_their_parts_they_are_mi_fgsm_to_the_bit() {
    let (samples, model) = images(30);
    for norm in [Norm::Linf, Norm::L2] {
        let run = |id, table| attack(&model, &samples, norm, id, table).unwrap();
        let mi = run("mi-fgsm", "steps = 6");
        let found = mi
            .rows
            .iter()
            .filter(|o| o.status == RunStatus::Broken)
            .count();
        assert!((1..30).contains(&found), "{norm}: {found}");
        for (id, table) in [
            ("di-fgsm", "steps = 6\ndiversity = 0.0"),
            ("ti-fgsm", "steps = 6\ndiversity = 0.0\nkernel = 1"),
            ("admix", "steps = 6\nmixed = 1\nshare = 0.0\nscales = 1"),
        ] {
            let other = run(id, table);
            assert_eq!(points(&other), points(&mi), "{id} {norm}");
            for (own, mi) in other.rows.iter().zip(&mi.rows) {
                let beside = u64::from(id == "admix") * mi.queries.backward;
                assert_eq!(own.queries.forward, mi.queries.forward + beside, "{id}");
                assert_eq!(own.queries.backward, mi.queries.backward);
            }
        }
        // With them they are not. In Linf a smoother gradient may have the same signs.
        for (id, table) in [
            ("di-fgsm", "steps = 6\ndiversity = 1.0\nresize = 0.5"),
            ("ti-fgsm", "steps = 6\ndiversity = 0.0\nkernel = 3"),
            ("admix", "steps = 6"),
        ] {
            if norm == Norm::L2 {
                assert_ne!(points(&run(id, table)), points(&mi), "{id}");
            }
        }
    }
}

#[test]
fn a_row_costs_its_copies_the_points_and_the_judge() {
    let (samples, model) = images(30);
    for (id, table, copies) in [
        ("di-fgsm", "steps = 4\ndiversity = 1.0", 1),
        ("ti-fgsm", "steps = 4", 1),
        ("admix", "steps = 4\nmixed = 2\nscales = 3", 6),
    ] {
        let outcomes = attack(&model, &samples, Norm::L2, id, table).unwrap();
        let held = outcomes
            .rows
            .iter()
            .filter(|o| o.status == RunStatus::Robust);
        let costs: Vec<_> = held
            .map(|o| (o.queries.forward, o.queries.backward))
            .collect();
        assert!(!costs.is_empty());
        for cost in costs {
            assert_eq!(cost, (4 * (copies + 1) + 1, 4 * copies), "{id}");
        }
    }
}

/// Notes the points of its gradient queries.
struct Noted<'a>(&'a BurnModel, Mutex<Vec<Vec<f32>>>);

impl Network for Noted<'_> {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(self.0)
    }
    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let x = &query.x.blocks()[0];
        if x.is_tracked() {
            let mut noted = self.1.lock().unwrap();
            noted.extend(host(&x.clone().inner()).chunks(20).map(<[f32]>::to_vec));
        }
        self.0.forward(query)
    }
}

#[test]
fn admix_looks_at_the_mixtures_of_the_paper() {
    let (samples, model) = images(12);
    let noted = Noted(&model, Mutex::default());
    let table = "steps = 1\nmixed = 2\nscales = 3\nshare = 0.3";
    attack(&noted, &samples, Norm::Linf, "admix", table).unwrap();
    let seen = noted.1.into_inner().unwrap();
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let all: Vec<&[f32]> = (0..12).map(|i| samples.sample(i)[0]).collect();
    for (i, x) in all.iter().enumerate() {
        let (mut mixtures, mut with) = (0, 0);
        for (j, other) in all.iter().enumerate() {
            for scale in [1.0, 0.5, 0.25] {
                let expected: Vec<f32> = x
                    .iter()
                    .zip(*other)
                    .map(|(x, o)| scale * (x + 0.3 * o))
                    .collect();
                let times = seen.iter().filter(|s| close(s, &expected)).count();
                // Tiles are padded with copies of their first row.
                mixtures += times.min(2);
                with += usize::from(times > 0);
                if times > 0 {
                    assert_ne!(samples.labels[i], samples.labels[j], "of another class");
                }
            }
        }
        assert!(
            (3..=6).contains(&with) && mixtures >= with,
            "{with} {mixtures}"
        );
    }
}

#[test]
fn attacks_on_images_refuse_tables_and_parameters_out_of_range_are_named() {
    let case = Case::new(&[6], 3, 4, 1);
    let threat = case.within(Norm::Linf, 0.1);
    for id in ["di-fgsm", "ti-fgsm"] {
        let told = case.tried_on(Access::from(&case.model), id, "", &threat, |_| {});
        let told = told.unwrap_err().to_string();
        assert!(
            told.contains("an image for") && told.contains("mi-fgsm"),
            "{told}"
        );
    }
    let plain = "steps = 2\ndiversity = 0.0\nkernel = 1";
    case.run_on(Access::from(&case.model), "ti-fgsm", plain, &threat, |_| {});
    for (id, table, field) in [
        ("di-fgsm", "diversity = 1.5", "diversity"),
        ("di-fgsm", "resize = 1.0", "resize"),
        ("di-fgsm", "steps = 0", "steps"),
        ("di-fgsm", "decay = -1.0", "decay"),
        ("ti-fgsm", "kernel = 4", "kernel"),
        ("ti-fgsm", "step_size = 0.0", "step_size"),
        ("admix", "mixed = 0", "mixed"),
        ("admix", "scales = 17", "scales"),
        ("admix", "share = -0.1", "share"),
    ] {
        let error = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
    }
}
