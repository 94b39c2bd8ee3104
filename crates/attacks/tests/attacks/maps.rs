//! Attacks behind a map, on models for which it is known which rotation, shift or patch succeeds.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use proofmark_domain::{Bounds, Epsilon, Kind, MapSpec, Modality, Norm, RunStatus, Seed};
use proofmark_engine::{Access, EngineError, Job, Judge, Outcome, Outcomes, Rule, Samples, Silent};
use proofmark_model::BurnModel;
use proofmark_model::wrap::Mapped;
use proofmark_threat::Threat;
use proofmark_threat::map::{Map, map};

use crate::common::{broken, gauge, samples};

const SIZE: usize = 16;

fn image() -> Modality {
    Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: vec![1, SIZE, SIZE],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    }
}

/// A model of two classes: 1 where the weighted sum of the pixels is above `from`.
fn linear(weight: impl Fn(usize, usize) -> f32, from: f32) -> BurnModel {
    let weights: Vec<f32> = (0..SIZE * SIZE)
        .flat_map(|i| [0.0, weight(i / SIZE, i % SIZE)])
        .collect();
    BurnModel::closure(vec![image()], 2, &Device::flex(), move |x| {
        let device = x[0].device();
        let w = Tensor::<1>::from_floats(weights.as_slice(), &device).reshape([SIZE * SIZE, 2]);
        x[0].clone().matmul(w) - Tensor::<1>::from_floats([0.0, from], &device).unsqueeze::<2>()
    })
    .unwrap()
}

fn of_class_0(values: &[Vec<f32>]) -> Samples {
    let n = values.len();
    samples(vec![image()], vec![values.concat()], vec![0; n])
}

struct Case {
    samples: Samples,
    at_rest: Samples,
    map: Arc<dyn Map>,
    judge: Judge,
}

impl Case {
    fn new(text: &str, samples: Samples) -> Self {
        let spec: MapSpec = text.parse().unwrap();
        let map = map(&spec, &image()).unwrap();
        let at_rest = Samples {
            modalities: vec![map.parameters().clone()].into(),
            values: vec![vec![0.0; samples.len() * map.parameters().features()]],
            ..samples.clone()
        };
        let judge = Judge {
            draws: map.draws(),
            rule: Rule::Majority,
        };
        Self {
            samples,
            at_rest,
            map,
            judge,
        }
    }

    fn run(
        &self,
        model: &BurnModel,
        eps: f64,
        id: &str,
        table: &str,
        batch: usize,
    ) -> Result<Outcomes, EngineError> {
        let keys = &self.samples.keys;
        let mapped = Mapped::new(
            Access::from(model),
            self.map.clone(),
            keys,
            &self.samples.values[0],
            Seed(3),
        )
        .unwrap();
        let rows: Vec<usize> = (0..self.samples.len()).collect();
        let threat = Threat::uniform(
            &self.at_rest.modalities,
            Norm::Linf,
            &Epsilon::new(eps).unwrap(),
        );
        let mut job = Job::new(&self.at_rest, &rows, &threat, &Silent);
        job.judge = self.judge;
        job.batch = batch;
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        attack.run(Access::from(&mapped), &job)
    }
}

/// A blob of mass 1 around column `at`, well inside the image.
fn blob(at: f32) -> Vec<f32> {
    let left = at.floor();
    let mut x = vec![0.0; SIZE * SIZE];
    for (row, share) in [(7, 0.5), (8, 0.5)] {
        x[row * SIZE + left as usize] = share * (1.0 - (at - left));
        x[row * SIZE + left as usize + 1] = share * (at - left);
    }
    x
}

#[test]
fn a_shift_breaks_exactly_the_images_whose_centre_it_takes_over_the_boundary() {
    // The weighted sum is the column of the centre: a shift by `s` pixels adds `s`, bilinear or not.
    let model = linear(|_, column| column as f32, 9.0);
    let limit = 0.15 * SIZE as f64;
    let distances = [0.05, 0.45, 0.99, 1.01, 1.5];
    let blobs = distances.map(|d| blob(9.0 - (d * limit) as f32));
    let case = Case::new("spatial:degrees=0:shift=0.15", of_class_0(&blobs));
    for (id, table) in [("grid", "points = 5"), ("pgd", "restarts = 2"), ("fmn", "")] {
        let outcomes = case.run(&model, 1.0, id, table, 64).unwrap();
        for (o, d) in outcomes.rows.iter().zip(distances) {
            assert_eq!(o.status == RunStatus::Broken, d < 1.0, "{id} {d}");
        }
        if id == "fmn" {
            for (o, d) in outcomes
                .rows
                .iter()
                .zip(distances)
                .filter(|(_, d)| *d < 1.0)
            {
                assert!((gauge(o) / d - 1.0).abs() < 0.02, "{d}: {}", gauge(o));
            }
        }
        // Half of the limits reach half as far.
        let half = case.run(&model, 0.5, id, table, 64).unwrap();
        assert_eq!(broken(&half), 2, "{id}");
    }
}

#[test]
fn no_rotation_changes_an_image_without_structure() {
    // The smallest change of any pixel would take it over the boundary.
    let sum: f32 = (0..SIZE * SIZE)
        .map(|i| 0.5 * ((i / SIZE * 31 % 7) as f32 - (i % SIZE) as f32))
        .sum();
    let flat = vec![vec![0.5; SIZE * SIZE]; 2];
    let model_at = |from: f32| linear(|row, column| (row * 31 % 7) as f32 - column as f32, from);
    let case = Case::new(
        "spatial:degrees=180:shift=1:padding=edge",
        of_class_0(&flat),
    );
    for id in ["grid", "pgd"] {
        assert_eq!(
            broken(&case.run(&model_at(sum + 1e-2), 1.0, id, "", 64).unwrap()),
            0
        );
    }
    // With zeros beside it, it has an edge.
    let case = Case::new("spatial:degrees=180:shift=1", of_class_0(&flat));
    assert_eq!(
        broken(
            &case
                .run(&model_at(sum + 1e-2), 1.0, "grid", "", 64)
                .unwrap()
        ),
        2
    );
}

/// Pixels under an upright patch of a sixteenth of the image.
const SIDE: usize = 4;
const UPRIGHT: &str = "patch:share=0.0625:degrees=0:scale=1:placements=9";

#[test]
fn a_patch_on_a_linear_model_breaks_exactly_where_its_weights_allow_it() {
    // Every pixel counts the same, so that it does not matter where the patch is.
    let (pixels, under) = ((SIZE * SIZE) as f32, (SIDE * SIDE) as f32);
    let grey = [0.1_f32, 0.2, 0.3, 0.4];
    let sums = grey.map(|a| pixels * a + under * (1.0 - a));
    let samples = || of_class_0(&grey.map(|a| vec![a; SIZE * SIZE]));
    for (i, sum) in sums.iter().enumerate() {
        for (factor, expected) in [(0.999, 4 - i), (1.001, 3 - i)] {
            let model = linear(|_, _| 1.0, sum * factor);
            let mut case = Case::new(UPRIGHT, samples());
            case.judge.rule = if factor < 1.0 { Rule::All } else { Rule::Any };
            for (id, table) in [
                ("pgd", "steps = 20"),
                ("apgd", "steps = 20\neot = 3"),
                ("uap-pgd", "epochs = 30\nminibatch = 1\ncap = 1e9"),
            ] {
                let outcomes = case.run(&model, 1.0, id, table, 64).unwrap();
                assert_eq!(broken(&outcomes), expected, "{id} {i} {factor}");
            }
        }
    }
}

#[test]
fn the_judge_draws_placements_of_its_own_and_counts_them_by_the_rule() {
    // A patch counts in the left fifth of the image alone.
    let model = linear(
        |_, column| if column < 3 { 1.0 } else { 0.0 },
        3.0 * 16.0 * 0.2 + 2.0,
    );
    let samples = of_class_0(&vec![vec![0.2; SIZE * SIZE]; 6]);
    let mut case = Case::new(
        "patch:share=0.0625:degrees=0:scale=1:placements=41",
        samples,
    );
    let mut found = Vec::new();
    for rule in [Rule::Any, Rule::Majority, Rule::All] {
        case.judge.rule = rule;
        found.push(broken(
            &case
                .run(&model, 1.0, "uap-pgd", "epochs = 40\nminibatch = 1", 64)
                .unwrap(),
        ));
    }
    assert_eq!(found, [6, 0, 0]);
}

fn results(outcomes: &Outcomes) -> Vec<(RunStatus, u64, Option<Vec<u32>>)> {
    let bits = |o: &Outcome| Some(o.point.as_ref()?.x[0].iter().map(|v| v.to_bits()).collect());
    outcomes
        .rows
        .iter()
        .map(|o| (o.status, o.queries.forward, bits(o)))
        .collect()
}

#[test]
fn neither_batch_nor_threads_change_anything_behind_a_map() {
    let model = linear(|row, column| ((row * 5 + column * 3) % 7) as f32 - 3.0, 6.0);
    let noisy = |i: usize| {
        (0..SIZE * SIZE)
            .map(|f| ((f * 37 + i * 101) % 89) as f32 / 89.0)
            .collect()
    };
    let all: Vec<Vec<f32>> = (0..20).map(noisy).collect();
    for (text, id, table) in [
        ("spatial", "pgd", "restarts = 2"),
        ("spatial", "grid", "points = 3"),
        (UPRIGHT, "apgd", "steps = 5\neot = 2"),
        (UPRIGHT, "uap-pgd", "epochs = 3"),
    ] {
        let case = Case::new(text, of_class_0(&all));
        let first = case.run(&model, 1.0, id, table, 64).unwrap();
        let other = case.run(&model, 1.0, id, table, 3).unwrap();
        assert_eq!(results(&first), results(&other), "{text} {id}");
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let alone = pool.install(|| case.run(&model, 1.0, id, table, 64).unwrap());
        assert_eq!(results(&first), results(&alone), "{text} {id}");
    }
}

#[test]
fn grids_of_many_features_and_shared_ids_are_refused() {
    let model = linear(|_, _| 1.0, 100.0);
    let case = Case::new(UPRIGHT, of_class_0(&vec![vec![0.2; SIZE * SIZE]; 2]));
    let told = case
        .run(&model, 1.0, "grid", "", 64)
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("16 in input `patch`") && told.contains("100000 points"),
        "{told}"
    );
    let values = &case.samples.values[0];
    let told = Mapped::new(
        Access::from(&model),
        case.map.clone(),
        &[4, 4],
        values,
        Seed(0),
    );
    assert!(
        told.unwrap_err()
            .to_string()
            .contains("two samples of one id")
    );
    let error = proofmark_attacks::build("grid", &"points = 1".parse().unwrap()).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("points"));
}
