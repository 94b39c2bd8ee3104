//! What holds for every attack: each entry of `proofmark_attacks::ALL`, in every norm that it supports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Needs, Norm, Observation, Role, RunStatus};
use proofmark_engine::{Attack, Checkpoint, EngineError, Job, Others, Outcome, Outcomes};
use proofmark_model::BurnModel;
use proofmark_threat::Threat;

use crate::common::{Case, access, broken};

/// Parameters with which an attack ends soon. One that is not named here runs with its defaults.
fn quick(id: &str, norm: Norm) -> &'static str {
    match id {
        "suite" => "attacks = [\"fgsm\", \"pgd\"]",
        "autoattack-1" if norm == Norm::L1 => "version = \"l1\"",
        "cw" | "ead" => "searches = 5\nsteps = 40",
        "nes" | "spsa" => "steps = 10\nsamples = 20",
        "square" | "simba" | "sparse-rs" => "queries = 40",
        "hopskipjump" | "rays" | "surfree" | "boundary" => "queries = 400",
        "pdpgd" => "steps = 100",
        "apgd-mt" => "rounds = [[3, 6], [2, 10]]",
        "bim" | "pgd" | "mi-fgsm" | "di-fgsm" | "ti-fgsm" | "admix" | "adam-pgd" | "apgd"
        | "apgd-t" | "fmn" | "fab" | "fab-t" | "deepfool" | "ddn" | "sigma-zero" => "steps = 12",
        _ => "",
    }
}

/// A case of images of this shape around a linear model, and samples of several classes that may be mixed into them.
struct Images {
    case: Case,
    others: Arc<Others>,
}

impl Images {
    fn new(shape: [usize; 3], classes: usize, n: usize, seed: u64) -> Self {
        let case = Case::images(shape, classes, n, seed);
        // As many as there are of each class at least, so that every sample has another one to be mixed with.
        let others = (n.max(8)..).find_map(|m| {
            let (values, labels) = case.linear.samples(m, seed ^ 1);
            let both = labels.iter().any(|l| *l != labels[0]);
            both.then(|| Others {
                values,
                keys: (100..100 + m as u64).collect(),
                labels: Some(labels),
            })
        });
        Self {
            case,
            others: Arc::new(others.expect("some number of samples has two classes")),
        }
    }

    /// Runs an attack on the linear model.
    fn run<'a>(
        &'a self,
        named: (&str, &str),
        threat: &'a Threat,
        change: impl FnOnce(&mut Job<'a>),
    ) -> Outcomes {
        self.run_on(&self.case.model, named, threat, change)
    }

    /// The same on another model.
    fn run_on<'a>(
        &'a self,
        model: &BurnModel,
        named: (&str, &str),
        threat: &'a Threat,
        change: impl FnOnce(&mut Job<'a>),
    ) -> Outcomes {
        self.tried(model, named, threat, change).unwrap()
    }

    fn tried<'a>(
        &'a self,
        model: &BurnModel,
        (id, table): (&str, &str),
        threat: &'a Threat,
        change: impl FnOnce(&mut Job<'a>),
    ) -> Result<Outcomes, EngineError> {
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        let mut job = self.case.job(threat);
        job.others = Some(&self.others);
        change(&mut job);
        attack.run(access(model, gives(attack.as_ref())), &job)
    }

    /// Stops an attack when it asks for the fourth time.
    fn stopped(&self, named: (&str, &str), threat: &Threat) -> Outcomes {
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
        self.run(named, threat, |job| job.stop = &stop)
    }

    /// Calls `check` with each attack and each norm that it supports, and makes sure that none is left out.
    fn every_attack(&self, check: impl Fn(&str, Norm)) {
        for entry in proofmark_attacks::ALL {
            let id = entry.meta.id;
            // One change for all samples depends on all of them, and a grid serves for a handful of features: both have
            // tests of their own (`universal.rs`, `maps.rs`).
            let built = proofmark_attacks::build(id, &quick(id, Norm::Linf).parse().unwrap());
            if built.unwrap().is_universal() || id == "grid" {
                continue;
            }
            let supported = |norm: &Norm| {
                let threat = self.case.at(*norm, 1e-3);
                let named = (id, quick(id, *norm));
                match self.tried(&self.case.model, named, &threat, |job| job.stop = &|| true) {
                    Ok(_) => true,
                    Err(EngineError::Norm { .. }) => false,
                    Err(e) => panic!("{id} {norm}: {e}"),
                }
            };
            let norms: Vec<Norm> = Norm::ALL.into_iter().filter(supported).collect();
            assert!(!norms.is_empty(), "{id} supports no norm");
            for norm in norms {
                check(id, norm);
            }
        }
    }
}

/// Returns the access with which an attack is run: what it needs, and all there is for suites, which choose by it.
fn gives(attack: &dyn Attack) -> Needs {
    if attack.members().is_empty() {
        attack.meta().needs
    } else {
        Needs::Gradients
    }
}

type Bits = (
    RunStatus,
    u64,
    u64,
    Vec<Observation>,
    Option<(Vec<Vec<f32>>, u64)>,
);

fn bits(outcomes: &Outcomes) -> Vec<Bits> {
    let row = |o: &Outcome| {
        let point = o.point.as_ref().map(|p| (p.x.clone(), p.gauge.to_bits()));
        let (forward, backward) = (o.queries.forward, o.queries.backward);
        (o.status, forward, backward, o.observed.clone(), point)
    };
    outcomes.rows.iter().map(row).collect()
}

#[test]
fn batches_shards_threads_and_stops_change_nothing() {
    let images = Images::new([1, 4, 5], 4, 7, 3);
    images.every_attack(|id, norm| {
        let (threat, named) = (images.case.at(norm, 1.3), (id, quick(id, norm)));
        let whole = bits(&images.run(named, &threat, |_| {}));
        for batch in [1, 3] {
            let again = images.run(named, &threat, |job| job.batch = batch);
            assert!(bits(&again) == whole, "{id} {norm} batch {batch}");
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
        let again = pool.unwrap().install(|| images.run(named, &threat, |_| {}));
        assert!(bits(&again) == whole, "{id} {norm} threads");
        for shard in [&[0, 3, 6][..], &[1, 4], &[2, 5]] {
            let part = bits(&images.run(named, &threat, |job| job.rows = shard));
            for (row, one) in shard.iter().zip(part) {
                assert!(one == whole[*row], "{id} {norm} shard with {row}");
            }
        }
        let rest = match images.stopped(named, &threat).checkpoint {
            Some(checkpoint) => {
                let read = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
                images.run(named, &threat, |job| {
                    job.resume = Some(&read);
                })
            }
            // It ended before it was asked a fourth time whether to stop.
            None => images.stopped(named, &threat),
        };
        assert!(bits(&rest) == whole, "{id} {norm} resumed");
    });
}

/// The linear model of a case, with `change` applied to inputs and scores.
fn changed(
    case: &Case,
    change: impl Fn(&Tensor<2>, Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
) -> BurnModel {
    let (linear, device) = (&case.linear, Device::flex());
    let weights = &linear.weights[0];
    let flat: Vec<f32> = weights.iter().flatten().copied().collect();
    let weights = TensorData::new(flat, [weights.len(), linear.classes]);
    let weights = Tensor::<2>::from_data(weights, &device);
    let forward = move |x: &[Tensor<2>]| change(&x[0], x[0].clone().matmul(weights.clone()));
    BurnModel::closure(linear.modalities.clone(), linear.classes, &device, forward).unwrap()
}

/// What the ledger of the rows says is what the model was asked, row by row, if nothing is padded or begun early.
#[test]
fn the_ledger_is_what_the_model_was_asked() {
    let images = Images::new([1, 4, 5], 4, 5, 4);
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let model = changed(&images.case, move |x, scores| {
        counter.fetch_add(x.dims()[0] as u64, Ordering::Relaxed);
        scores
    });
    images.every_attack(|id, norm| {
        let threat = images.case.at(norm, 1.3);
        asked.store(0, Ordering::Relaxed);
        let outcomes = images.run_on(&model, (id, quick(id, norm)), &threat, |job| {
            job.tile = None;
        });
        let forward: u64 = outcomes.rows.iter().map(|o| o.queries.forward).sum();
        let asked = asked.load(Ordering::Relaxed);
        assert_eq!((forward, outcomes.computed), (asked, asked), "{id} {norm}");
    });
}

/// Scores that are all negative decide as the same scores would with any other offset.
#[test]
fn an_offset_of_all_scores_changes_no_decision() {
    let images = Images::new([1, 4, 5], 3, 6, 5);
    let negative = changed(&images.case, |_, scores| scores - 64.0);
    images.every_attack(|id, norm| {
        // Far from the boundary on both sides, where rounding at 64 plays no part.
        for factor in [0.7, 4.0] {
            let (threat, named) = (images.case.at(norm, factor), (id, quick(id, norm)));
            let plain = images.run(named, &threat, |_| {});
            let shifted = images.run_on(&negative, named, &threat, |_| {});
            let near = broken(&plain).abs_diff(broken(&shifted));
            assert!(near <= 1, "{id} {norm} {factor}");
            assert!(factor > 1.0 || broken(&shifted) == 0, "{id} {norm}");
        }
    });
}

/// The unit of the scores plays no part in what climbs on the margin: powers of two change no other bit, so results are
/// equal wherever nothing is divided by a fixed number.
#[test]
fn the_unit_of_the_scores_changes_nothing() {
    // These climb on the cross-entropy, which has a unit, or weigh scores against a count, as their pages say.
    let with_a_unit = ["pdpgd", "autoattack-1", "suite", "sigma-zero"];
    let images = Images::new([1, 4, 5], 3, 6, 9);
    for power in [40.0_f32, -40.0] {
        let scaled = changed(&images.case, move |_, scores| scores * power.exp2());
        images.every_attack(|id, norm| {
            // In L0 the default suite runs `sigma-zero`.
            if with_a_unit.contains(&id) || (id, norm) == ("proofmark-1", Norm::L0) {
                return;
            }
            let mut table: toml::Table = quick(id, norm).parse().unwrap();
            table.insert("loss".into(), "margin".into());
            if proofmark_attacks::build(id, &table).is_err() {
                table.remove("loss");
            }
            let (named, threat) = ((id, table.to_string()), images.case.at(norm, 1.3));
            let plain = images.run((named.0, &named.1), &threat, |_| {});
            let other = images.run_on(&scaled, (named.0, &named.1), &threat, |_| {});
            assert!(bits(&plain) == bits(&other), "{id} {norm} 2^{power}");
        });
    }
}

/// Where one row's scores are NaN that row is invalid, and the others end as they do without it.
#[test]
fn scores_that_are_not_finite_stay_in_their_row() {
    const MARK: f32 = 0.123_456;
    let mut images = Images::new([1, 4, 5], 4, 6, 6);
    let mask: Vec<bool> = (0..20).map(|f| f > 0).collect();
    for r in 0..6 {
        images.case.samples.values[0][r * 20] = if r == 2 { MARK } else { 0.5 };
        let row = images.case.samples.values[0][r * 20..(r + 1) * 20].to_vec();
        let scores = images.case.linear.scores(&[&row]);
        let best = |a: usize, c: usize| if scores[c] > scores[a] { c } else { a };
        images.case.samples.labels[r] = (0..4).fold(0, best);
    }
    let model = changed(&images.case, |x, scores| {
        let [rows, classes] = scores.dims();
        let marked = x.clone().slice([0..rows, 0..1]).equal_elem(MARK);
        scores.mask_fill(marked.expand([rows, classes]), f32::NAN)
    });
    images.every_attack(|id, norm| {
        let eps = images
            .case
            .exact(norm)
            .iter()
            .map(|(d, _)| 2.0 * d)
            .collect();
        let threat = images.case.each(norm, eps, Some(mask.clone()));
        let named = (id, quick(id, norm));
        let all = images.run_on(&model, named, &threat, |_| {});
        let nan = &all.rows[2];
        assert_eq!(nan.status, RunStatus::Invalid, "{id} {norm}");
        assert!(
            nan.observed.contains(&Observation::NonFiniteScores),
            "{id} {norm}"
        );
        let others = images.run_on(&model, named, &threat, |job| {
            job.rows = &[0, 1, 3, 4, 5];
        });
        let mut all = bits(&all);
        all.remove(2);
        assert!(all == bits(&others), "{id} {norm}");
    });
}

/// Two and three classes, one sample: an attack that sees a budget of four times the distance breaks it, noise aside.
#[test]
fn few_classes_and_single_samples_are_attacked() {
    for classes in [2, 3] {
        let images = Images::new([1, 4, 5], classes, 1, 7);
        images.every_attack(|id, norm| {
            let named = (id, quick(id, norm));
            let below = images.run(named, &images.case.at(norm, 0.7), |_| {});
            assert_eq!(broken(&below), 0, "{id} {norm} {classes} classes");
            let above = images.run(named, &images.case.at(norm, 4.0), |_| {});
            // In L0 PDPGD ends with up to four times too many features.
            let is_search = role(id) == Role::Attack && (id, norm) != ("pdpgd", Norm::L0);
            assert!(
                broken(&above) == 1 || !is_search,
                "{id} {norm} {classes} classes"
            );
        });
    }
}

/// A sample of 128 by 188 pixels, which is no square and no power of two. Attacks without gradients would need more
/// queries than a test can spend on 24,064 features without structure; two others more steps.
#[test]
fn wide_images_are_attacked() {
    let images = Images::new([1, 128, 188], 3, 1, 8);
    images.every_attack(|id, norm| {
        let threat = images.case.at(norm, 6.0);
        let found = images.run((id, quick(id, norm)), &threat, |_| {});
        let entry = proofmark_attacks::ALL.iter().find(|e| e.meta.id == id);
        let by_gradients = entry.is_some_and(|e| e.meta.needs == Needs::Gradients);
        if by_gradients && id != "pdpgd" && id != "sigma-zero" {
            assert_eq!(broken(&found), 1, "{id} {norm}");
        }
        let status = found.rows[0].status;
        assert!(
            matches!(status, RunStatus::Broken | RunStatus::Robust),
            "{id} {norm}: {status:?}"
        );
    });
}

fn role(id: &str) -> Role {
    let entry = proofmark_attacks::ALL.iter().find(|e| e.meta.id == id);
    entry.expect("a registered attack").meta.role
}
