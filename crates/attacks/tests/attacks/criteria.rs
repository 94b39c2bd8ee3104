//! Every criterion on affine models, where the distance at which it is met is known: attacks succeed just above it and
//! never below, whatever counts as success.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{
    Bounds, Coupling, Criteria, Kind, Modality, Norm, Observation, RunStatus, Seed,
};
use proofmark_engine::criterion::{References, build};
use proofmark_engine::{Access, Criterion, Job, Outcomes, Samples, Silent, Starts};
use proofmark_model::BurnModel;
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_testkit::linear_distance;
use proofmark_threat::{Budget, Radius, Threat};

use crate::common::{access, broken, gauge, samples};

const FEATURES: usize = 12;
const ROWS: usize = 12;

/// A model `y = W x + b` with samples, a criterion, and the planes behind which it is met.
struct Known {
    name: &'static str,
    modality: Modality,
    model: BurnModel,
    samples: Samples,
    criterion: Arc<dyn Criterion>,
    /// Per sample: normals and how far the sample is from them, any of which will do.
    planes: Vec<Vec<(Vec<f64>, f64)>>,
    rows: Vec<usize>,
}

/// Weights by output, and samples near the middle of the box.
struct Made {
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    x: Vec<Vec<f32>>,
}

fn stream(seed: u64, part: u64) -> Stream {
    Stream::new(&StreamKey::new(Seed(seed), part, Purpose::Data))
}

impl Made {
    fn new(outputs: usize, seed: u64) -> Self {
        let mut normal = stream(seed, 0);
        let mut uniform = stream(seed, 1);
        let mut row = || (0..FEATURES).map(|_| normal.normal()).collect();
        Self {
            weights: (0..outputs).map(|_| row()).collect(),
            bias: vec![0.0; outputs],
            x: (0..ROWS)
                .map(|_| {
                    (0..FEATURES)
                        .map(|_| 0.35 + 0.3 * uniform.uniform())
                        .collect()
                })
                .collect(),
        }
    }

    /// All outputs move in the same direction and are `apart` from each other; the first stays at 0 if `anchored`.
    fn parallel(apart: &[f32], anchored: bool, seed: u64) -> Self {
        let mut made = Self::new(apart.len(), seed);
        let direction = made.weights[0].clone();
        let middle: f32 = direction.iter().map(|w| 0.5 * w).sum();
        for (o, gap) in apart.iter().enumerate() {
            made.weights[o].clone_from(&direction);
            made.bias[o] = gap - middle;
        }
        if anchored {
            (made.weights[0], made.bias[0]) = (vec![0.0; FEATURES], 0.0);
        }
        made
    }

    fn outputs(&self, row: usize) -> Vec<f64> {
        let sum = |(w, b): (&Vec<f32>, &f32)| -> f64 {
            let terms = w.iter().zip(&self.x[row]);
            f64::from(*b)
                + terms
                    .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    .sum::<f64>()
        };
        self.weights.iter().zip(&self.bias).map(sum).collect()
    }

    /// Returns `Σ_o at[o] W_o`.
    fn normal(&self, at: &[(usize, f64)]) -> Vec<f64> {
        let sum = |f: usize| {
            at.iter()
                .map(|(o, s)| s * f64::from(self.weights[*o][f]))
                .sum()
        };
        (0..FEATURES).map(sum).collect()
    }

    fn decided(&self) -> Vec<usize> {
        let best = |row| {
            let z = self.outputs(row);
            (0..z.len()).fold(0, |best, c| if z[c] > z[best] { c } else { best })
        };
        (0..ROWS).map(best).collect()
    }

    fn known(
        &self,
        name: &'static str,
        criteria: &[&str],
        labels: Vec<usize>,
        references: &References,
        planes: impl Fn(usize, &[f64]) -> Vec<(Vec<f64>, f64)>,
    ) -> Known {
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![FEATURES],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let device = Device::flex();
        let outputs = self.weights.len();
        let flat = (0..FEATURES).flat_map(|f| self.weights.iter().map(move |w| w[f]));
        let weights = TensorData::new(flat.collect::<Vec<f32>>(), [FEATURES, outputs]);
        let weights = Tensor::<2>::from_data(weights, &device);
        let bias = TensorData::new(self.bias.clone(), [1, outputs]);
        let bias = Tensor::<2>::from_data(bias, &device);
        let model = BurnModel::closure(vec![modality.clone()], outputs, &device, move |x| {
            x[0].clone().matmul(weights.clone()) + bias.clone()
        });
        let criteria = Criteria::parse(criteria.iter().copied()).unwrap();
        let x = self.x.iter().flatten().copied().collect();
        Known {
            name,
            samples: samples(vec![modality.clone()], vec![x], labels),
            modality,
            model: model.unwrap().named("affine"),
            criterion: build(&criteria, false, outputs, references).unwrap(),
            planes: (0..ROWS)
                .map(|row| planes(row, &self.outputs(row)))
                .collect(),
            rows: (0..ROWS).collect(),
        }
    }
}

impl Known {
    fn exact(&self, norm: Norm, row: usize) -> f64 {
        let x = self.samples.sample(row)[0];
        let of = |(w, margin): &(Vec<f64>, f64)| {
            linear_distance(norm, w, *margin, x, &[0.0; FEATURES], &[1.0; FEATURES])
        };
        let distances = self.planes[row].iter().filter_map(of);
        let nearest = distances.fold(f64::INFINITY, f64::min);
        assert!(
            nearest.is_finite() && nearest > 0.0,
            "{}: {nearest}",
            self.name
        );
        nearest
    }

    /// Returns a threat with each row's budget at `factor` times its own exact distance.
    fn at(&self, norm: Norm, factor: f64) -> Threat {
        let eps: Vec<f64> = (0..ROWS).map(|r| factor * self.exact(norm, r)).collect();
        let budget = Budget {
            modality: "x".into(),
            norm,
            radius: Radius::PerSample(eps.into()),
            mask: None,
        };
        let modalities = [self.modality.clone()];
        Threat::new(&modalities, vec![budget], Coupling::Independent, ROWS).unwrap()
    }

    /// Returns the corner of the box behind each sample's first plane.
    fn corners(&self) -> Starts {
        let corner = |row: usize| -> Arc<[Vec<f32>]> {
            let normal = &self.planes[row][0].0;
            let x: Vec<f32> = (normal.iter())
                .map(|w| f32::from(u8::from(*w > 0.0)))
                .collect();
            Arc::from([x])
        };
        (0..ROWS).map(|row| (row, corner(row))).collect()
    }

    fn attack(&self, id: &str, table: &str, threat: &Threat) -> Outcomes {
        self.run(id, table, threat, |_| {})
    }

    fn run<'a>(
        &'a self,
        id: &str,
        table: &str,
        threat: &'a Threat,
        change: impl FnOnce(&mut Job<'a>),
    ) -> Outcomes {
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        let access = access(&self.model, attack.meta().needs);
        let mut job = Job::new(&self.samples, &self.rows, threat, &Silent);
        job.goal = self.criterion.as_ref();
        change(&mut job);
        attack.run(access, &job).unwrap()
    }
}

/// Criteria that can be met in one way only, or in two that are mirror images.
#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn single() -> Vec<Known> {
    let none = References::default();
    let mut all = Vec::new();
    let two = Made::new(2, 1);
    let lead = |made: &Made, k: f64| {
        let (labels, normals) = (
            made.decided(),
            [[(1, 1.0), (0, -1.0)], [(0, 1.0), (1, -1.0)]],
        );
        let normals = normals.map(|n| made.normal(&n));
        move |row: usize, z: &[f64]| {
            let own = labels[row];
            vec![(normals[own].clone(), z[own] - z[1 - own] + k)]
        }
    };
    all.push(two.known(
        "margin",
        &["margin=0.7"],
        two.decided(),
        &none,
        lead(&two, 0.7),
    ));
    // p_1 - p_0 = 0.4 where the scores differ by ln(1.4 / 0.6).
    let k = (1.4_f64 / 0.6).ln();
    let criterion = ["probability-margin=0.4"];
    all.push(two.known(
        "probability-margin",
        &criterion,
        two.decided(),
        &none,
        lead(&two, k),
    ));
    // The label stays at 0, the others follow each other: the third is the last to overtake it.
    let parade = Made::parallel(&[0.0, -3.0, -2.5, -3.5, -4.5], true, 2);
    let normal = parade.normal(&[(1, 1.0)]);
    all.push(
        parade.known("top-k", &["top-k=3"], vec![0; ROWS], &none, |_, z| {
            let mut others = z[1..].to_vec();
            others.sort_by(|a, b| b.total_cmp(a));
            vec![(normal.clone(), -others[2])]
        }),
    );
    let one = Made::new(1, 3);
    let (up, down) = (one.normal(&[(0, 1.0)]), one.normal(&[(0, -1.0)]));
    let own: Vec<f64> = (0..ROWS)
        .map(|r| one.outputs(r)[0] as f32)
        .map(f64::from)
        .collect();
    let off: Vec<f64> = (own.iter().enumerate())
        .map(|(r, y)| y + if r % 2 == 0 { 0.3 } else { -0.2 })
        .collect();
    let values = |v: &[f64]| References {
        values: Some(v.to_vec().into()),
        labels: None,
    };
    all.push(one.known(
        "own answer",
        &["regression=0.8"],
        vec![0; ROWS],
        &values(&own),
        |_, _| vec![(up.clone(), 0.8), (down.clone(), 0.8)],
    ));
    all.push(one.known(
        "target",
        &["regression=0.8"],
        vec![0; ROWS],
        &values(&off),
        |r, y| {
            vec![
                (up.clone(), 0.8 + off[r] - y[0]),
                (down.clone(), 0.8 - off[r] + y[0]),
            ]
        },
    ));
    let high = own.iter().copied().fold(f64::NEG_INFINITY, f64::max) + 0.5;
    let interval = format!("interval=-inf,{high}");
    all.push(
        one.known("interval", &[&interval], vec![0; ROWS], &none, |_, y| {
            vec![(up.clone(), high - y[0])]
        }),
    );
    // Both at once: moving up, the later of the two.
    let both = ["regression=0.8", interval.as_str()];
    all.push(one.known(
        "conjunction",
        &both,
        vec![0; ROWS],
        &values(&own),
        |_, y| vec![(up.clone(), f64::max(0.8, high - y[0]))],
    ));
    // Three labels that do not apply, which follow each other: the second flips at its own score.
    let labels = Made::parallel(&[-2.0, -2.6, -3.4], false, 4);
    let normal = labels.normal(&[(0, 1.0)]);
    let absent = References {
        values: None,
        labels: Some(vec![false; 3 * ROWS].into()),
    };
    all.push(labels.known(
        "two labels",
        &["multi-label:least=2"],
        vec![0; ROWS],
        &absent,
        |_, z| vec![(normal.clone(), -z[1])],
    ));
    // The logit of 0.6.
    let above = (0.6_f64 / 0.4).ln();
    let third = ["multi-label:label=2:threshold=0.6"];
    all.push(
        labels.known("one label", &third, vec![0; ROWS], &absent, |_, z| {
            vec![(normal.clone(), above - z[2])]
        }),
    );
    all
}

/// Criteria with several ways, of which an attack cannot know the nearest.
fn several() -> Vec<Known> {
    let five = Made::new(5, 6);
    let labels = five.decided();
    let margin = five.known(
        "margin",
        &["margin=0.5"],
        labels.clone(),
        &References::default(),
        |row, z| {
            let own = labels[row];
            let others = (0..5).filter(|c| *c != own);
            let plane = |c: usize| (five.normal(&[(c, 1.0), (own, -1.0)]), z[own] - z[c] + 0.5);
            others.map(plane).collect()
        },
    );
    let four = Made::new(4, 7);
    let applies: Vec<bool> = (0..ROWS)
        .flat_map(|r| four.outputs(r))
        .map(|z| z > 0.0)
        .collect();
    let references = References {
        values: None,
        labels: Some(applies.clone().into()),
    };
    let any = four.known(
        "any label",
        &["multi-label"],
        vec![0; ROWS],
        &references,
        |row, z| {
            let sign = |l: usize| if applies[4 * row + l] { -1.0 } else { 1.0 };
            (0..4)
                .map(|l| (four.normal(&[(l, sign(l))]), -sign(l) * z[l]))
                .collect()
        },
    );
    let three = Made::new(3, 8);
    let own: Vec<f64> = (0..ROWS)
        .flat_map(|r| three.outputs(r))
        .map(|y| f64::from(y as f32))
        .collect();
    let references = References {
        values: Some(own.into()),
        labels: None,
    };
    let bounds = [0.4, 1.2, 0.6];
    let each = three.known(
        "each output",
        &["regression=0.4,1.2,0.6"],
        vec![0; ROWS],
        &references,
        |_, _| {
            let way = |(o, s): (usize, f64)| (three.normal(&[(o, s)]), bounds[o]);
            (0..3)
                .flat_map(|o| [(o, 1.0), (o, -1.0)])
                .map(way)
                .collect()
        },
    );
    vec![margin, any, each]
}

#[test]
fn gradient_attacks_succeed_just_above_the_distance_and_never_below() {
    for known in single() {
        for norm in [Norm::Linf, Norm::L2] {
            for (id, table) in [
                ("pgd", "steps = 60\nrestarts = 3"),
                ("apgd", "steps = 60\nrestarts = 3"),
            ] {
                let what = format!("{} {id} {norm}", known.name);
                let above = known.attack(id, table, &known.at(norm, 1.02));
                assert_eq!(broken(&above), ROWS, "{what} above");
                let below = known.attack(id, table, &known.at(norm, 0.98));
                assert_eq!(broken(&below), 0, "{what} below");
                let rejected = |o: &proofmark_engine::Outcome| {
                    o.observed.contains(&Observation::WitnessRejected)
                };
                assert!(!above.rows.iter().any(rejected), "{what}");
            }
        }
    }
}

#[test]
fn minimum_norm_attacks_end_at_the_distance() {
    for known in single() {
        for norm in [Norm::Linf, Norm::L2] {
            for (id, table, most) in [
                ("fmn", "steps = 200", 1.03),
                ("fab", "", 1.01),
                ("deepfool", "", 1.01),
            ] {
                let found = known.attack(id, table, &known.at(norm, 1.0));
                let gauges: Vec<f64> = found.rows.iter().map(gauge).collect();
                let what = format!("{} {id} {norm}: {gauges:.4?}", known.name);
                assert!(gauges.iter().all(|g| *g <= most), "{what}");
                assert!(gauges.iter().all(|g| *g >= 1.0 - 1e-3), "{what}");
            }
        }
    }
}

#[test]
fn attacks_by_scores_and_by_decisions_follow_any_criterion() {
    for known in single() {
        let table = "queries = 1500\nrescale = true\nrestarts = 2";
        for (norm, above) in [(Norm::Linf, 1.05), (Norm::L2, 3.0)] {
            let found = broken(&known.attack("square", table, &known.at(norm, above)));
            assert!(found >= ROWS - 1, "{} {norm}: {found}", known.name);
            let below = known.attack("square", table, &known.at(norm, 0.98));
            assert_eq!(broken(&below), 0, "{} {norm}", known.name);
        }
        // It begins in the corner of the box where the criterion is met; random points seldom meet a large lead.
        let starts = Arc::new(known.corners());
        let found = known.run("hopskipjump", "", &known.at(Norm::L2, 1.0), |job| {
            job.starts = Some(&starts);
        });
        let mut gauges: Vec<f64> = found.rows.iter().map(gauge).collect();
        gauges.sort_by(f64::total_cmp);
        let what = format!("{} hopskipjump: {gauges:.3?}", known.name);
        assert!(gauges[ROWS / 2] <= 1.2 && gauges[0] >= 1.0 - 1e-3, "{what}");
    }
}

/// An attack that takes each way in its turn finds the nearest one.
#[test]
fn ways_are_targets() {
    for known in several() {
        for norm in [Norm::Linf, Norm::L2] {
            let what = format!("{} {norm}", known.name);
            let by_turns = known.attack("apgd-t", "steps = 60", &known.at(norm, 1.02));
            assert_eq!(broken(&by_turns), ROWS, "{what} apgd-t");
            let found = known.attack("fab-t", "", &known.at(norm, 1.0));
            let gauges: Vec<f64> = found.rows.iter().map(gauge).collect();
            assert!(
                gauges.iter().all(|g| (0.999..1.01).contains(g)),
                "{what} fab-t {gauges:.4?}"
            );
            for id in ["pgd", "apgd", "apgd-t"] {
                let below = known.attack(id, "steps = 30", &known.at(norm, 0.98));
                assert_eq!(broken(&below), 0, "{what} {id}");
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_batch() {
    for known in single().into_iter().chain(several()) {
        let threat = known.at(Norm::Linf, 1.02);
        for (id, table) in [
            ("pgd", "steps = 10"),
            ("fmn", "steps = 10"),
            ("square", "queries = 50"),
        ] {
            let whole = known.attack(id, table, &threat);
            let again = known.run(id, table, &threat, |job| {
                job.batch = 5;
                job.compaction = false;
            });
            let points = |o: &Outcomes| -> Vec<_> {
                o.rows
                    .iter()
                    .map(|r| (r.row, r.status, r.point.clone()))
                    .collect()
            };
            assert_eq!(points(&whole), points(&again), "{} {id}", known.name);
        }
    }
}

/// `y = ln(0.6 − x)` is −∞ at 0.6 and not a number beyond: neither is a success, however far it is from the reference.
#[test]
fn outputs_that_are_not_finite_never_succeed() {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![1],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let model = BurnModel::closure(vec![modality.clone()], 1, &Device::flex(), |x| {
        (x[0].clone().neg() + 0.6).log()
    });
    let model = model.unwrap();
    let samples = samples(vec![modality.clone()], vec![vec![0.5, 0.1]], vec![0; 2]);
    let references = References {
        values: Some(vec![0.1_f64.ln(), 0.5_f64.ln()].into()),
        labels: None,
    };
    let criteria = Criteria::parse(["regression=30"]).unwrap();
    let criterion = build(&criteria, false, 1, &references).unwrap();
    let eps = proofmark_domain::Epsilon::new(0.3).unwrap();
    let threat = Threat::uniform(&[modality], Norm::Linf, &eps);
    let rows = [0, 1];
    for (id, table) in [
        ("pgd", "steps = 20\nstep_size = 0.1"),
        ("square", "queries = 40"),
    ] {
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        let mut job = Job::new(&samples, &rows, &threat, &Silent);
        job.goal = criterion.as_ref();
        let found = attack.run(Access::Gradients(&model), &job).unwrap();
        assert_eq!(found.rows[0].status, RunStatus::Invalid, "{id}");
        assert_eq!(found.rows[1].status, RunStatus::Robust, "{id}");
    }
}
