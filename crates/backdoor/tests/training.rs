//! Probes of training sets on activations with a known answer.

use proofmark_backdoor::probe::input::Status;
use proofmark_backdoor::probe::training::{
    self, ALL, FeatureSet, TrainingReport, TrainingRequest, review_csv,
};
use proofmark_domain::{SampleId, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

/// Activations by class: normal around a mean far from 0, the same spread in all classes, and poisoned samples.
struct Simulated {
    values: Vec<f32>,
    labels: Vec<usize>,
    poisoned: Vec<bool>,
    width: usize,
}

struct Plan<'a> {
    sizes: &'a [usize],
    width: usize,
    /// Poisoned samples, their class and how far away they are.
    poison: (usize, usize, f32),
    /// Whether activations are rectified, so that they are not normal.
    rectified: bool,
}

impl Simulated {
    fn new(plan: &Plan<'_>, key: u64) -> Self {
        let mut stream = Stream::new(&StreamKey::new(Seed(11), key, Purpose::Data));
        let mut normal = move || stream.normal();
        let width = plan.width;
        let mut all = Self {
            values: Vec::new(),
            labels: Vec::new(),
            poisoned: Vec::new(),
            width,
        };
        let (count, target, distance) = plan.poison;
        let mut direction: Vec<f32> = (0..width).map(|_| normal()).collect();
        let norm = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
        for d in &mut direction {
            *d *= distance / norm;
        }
        // Some directions vary more than others, as in a net.
        let spread: Vec<f32> = (0..width).map(|i| 1.0 + 1.5 / (1.0 + i as f32)).collect();
        for (class, n) in plan.sizes.iter().enumerate() {
            let mean: Vec<f32> = (0..width).map(|_| 3.0 * normal() + 2.0).collect();
            let bad = if class == target { count } else { 0 };
            for i in 0..n + bad {
                let poisoned = i >= *n;
                for j in 0..width {
                    let mut v = mean[j] + spread[j] * normal();
                    if poisoned {
                        v += direction[j];
                    }
                    all.values.push(if plan.rectified { v.max(0.0) } else { v });
                }
                all.labels.push(class);
                all.poisoned.push(poisoned);
            }
        }
        all
    }

    fn set(&self, classes: usize) -> FeatureSet {
        FeatureSet::new("simulated", &self.values, &self.labels, classes).unwrap()
    }
}

fn examine(probe: &str, set: &FeatureSet, level: f64) -> TrainingReport {
    let probe = training::build(probe, &Default::default()).unwrap();
    let ids: Vec<SampleId> = (0..set.len() as u64).map(SampleId::Row).collect();
    let request = TrainingRequest {
        set,
        ids: &ids,
        level,
        seed: Seed(0),
        progress: &|_| true,
    };
    training::examine(probe.as_ref(), &request).unwrap()
}

fn auroc(clean: &[f64], poisoned: &[f64]) -> f64 {
    let wins: f64 = poisoned
        .iter()
        .flat_map(|p| {
            clean
                .iter()
                .map(move |c| f64::from(u8::from(c < p)) + 0.5 * f64::from(u8::from(c == p)))
        })
        .sum();
    wins / (clean.len() * poisoned.len()) as f64
}

/// Suspicions of a class's clean and poisoned samples.
fn suspicions(report: &TrainingReport, all: &Simulated, class: usize) -> (Vec<f64>, Vec<f64>) {
    let of = |poisoned: bool| {
        report
            .samples
            .iter()
            .filter(|s| s.label == class && all.poisoned[s.row] == poisoned)
            .map(|s| s.suspicion)
            .collect()
    };
    (of(false), of(true))
}

/// A class far from 0 with 5 % poisoned samples: the first principal direction of centred activations is that of the
/// poison, the first singular direction of uncentred ones that of the mean.
#[test]
fn centred_spectral_signatures_rank_what_uncentred_ones_miss() {
    let (mut centred, mut uncentred) = (0.0, 0.0);
    let runs = 12;
    for key in 0..runs {
        let plan = Plan {
            sizes: &[570],
            width: 32,
            poison: (30, 0, 16.0),
            rectified: false,
        };
        let all = Simulated::new(&plan, key);
        let report = examine("spectral", &all.set(1), 0.02);
        // One class cannot be compared, but its samples are ranked.
        assert_eq!(report.status, Status::CannotTell);
        let (clean, poisoned) = suspicions(&report, &all, 0);
        centred += auroc(&clean, &poisoned) / runs as f64;
        // The first singular direction by power iteration, without subtracting the mean.
        let mut v = vec![1.0_f64; all.width];
        for _ in 0..100 {
            let mut next = vec![0.0; all.width];
            for row in all.values.chunks(all.width) {
                let along: f64 = row.iter().zip(&v).map(|(x, v)| f64::from(*x) * v).sum();
                next.iter_mut()
                    .zip(row)
                    .for_each(|(n, x)| *n += along * f64::from(*x));
            }
            let norm = next.iter().map(|n| n * n).sum::<f64>().sqrt();
            v = next.into_iter().map(|n| n / norm).collect();
        }
        let of = |wanted: bool| -> Vec<f64> {
            all.values
                .chunks(all.width)
                .zip(&all.poisoned)
                .filter(|(_, p)| **p == wanted)
                .map(|(row, _)| {
                    let along: f64 = row.iter().zip(&v).map(|(x, v)| f64::from(*x) * v).sum();
                    along * along
                })
                .collect()
        };
        uncentred += auroc(&of(false), &of(true)) / runs as f64;
    }
    assert!(centred >= 0.99, "centred {centred:.3}");
    assert!(uncentred < 0.9, "uncentred {uncentred:.3}");
}

const EVEN: [usize; 10] = [200; 10];

#[test]
fn the_poisoned_class_is_named_with_its_share() {
    for probe in ["spectral", "activation_clustering", "scan"] {
        let plan = Plan {
            sizes: &EVEN,
            width: 24,
            poison: (40, 6, 14.0),
            rectified: true,
        };
        let all = Simulated::new(&plan, 77);
        let report = examine(probe, &all.set(10), 0.02);
        assert_eq!(
            report.status,
            Status::Found,
            "{probe}: {:?}",
            report.classes
        );
        assert_eq!(report.target, Some(6), "{probe}");
        let right = report
            .samples
            .iter()
            .filter(|s| s.suspected && all.poisoned[s.row])
            .count();
        assert!(
            right >= 36 && report.suspected <= 46,
            "{probe}: {right} of {}",
            report.suspected
        );
        assert!(
            (report.share - 40.0 / 2040.0).abs() < 0.004,
            "{probe}: {}",
            report.share
        );
        // The list to review begins with them.
        let csv = review_csv(&report, false);
        assert_eq!(csv.lines().count(), report.suspected + 1);
        assert!(csv.lines().nth(1).unwrap().ends_with(",1"));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(
            serde_json::from_str::<TrainingReport>(&text).unwrap(),
            report
        );
        let unknown = text.replacen('{', "{\"more\":1,", 1);
        assert!(serde_json::from_str::<TrainingReport>(&unknown).is_err());
    }
}

/// Clean sets, even and imbalanced ones with small classes, and rectified ones: at the level 0.05 each probe calls no more
/// than a twentieth poisoned, within the error of 40 sets.
#[test]
fn clean_sets_raise_few_false_alarms() {
    let imbalanced = [400, 300, 200, 150, 100, 80, 60, 45, 35, 31];
    for probe in ["spectral", "activation_clustering", "scan"] {
        let mut alarms = Vec::new();
        for key in 0..40 {
            let plan = Plan {
                sizes: if key % 2 == 0 { &[80; 10] } else { &imbalanced },
                width: 12,
                poison: (0, 0, 0.0),
                rectified: key % 3 == 0,
            };
            let report = examine(probe, &Simulated::new(&plan, 1000 + key).set(10), 0.05);
            assert_ne!(report.status, Status::CannotTell, "{probe}");
            if report.status == Status::Found {
                alarms.push((key, report.target, report.p_value));
            }
        }
        // 7 or more of 40 have probability 0.003 at a rate of 0.05.
        assert!(alarms.len() < 7, "{probe}: {alarms:?}");
    }
}

#[test]
fn classes_that_cannot_be_split_say_why() {
    let mut values = Vec::new();
    let mut labels = Vec::new();
    let mut stream = Stream::new(&StreamKey::new(Seed(1), 5, Purpose::Data));
    for class in 0..6 {
        for _ in 0..if class == 1 { 7 } else { 50 } {
            for _ in 0..4 {
                // Class 2 has constant activations.
                values.push(if class == 2 { 0.25 } else { stream.normal() });
            }
            labels.push(class);
        }
    }
    let set = FeatureSet::new("l", &values, &labels, 7).unwrap();
    for entry in ALL {
        let report = examine(entry.meta.id, &set, 0.02);
        let why = |class: usize| report.classes[class].reason.clone().unwrap();
        assert!(why(1).contains("7 samples"), "{}", why(1));
        assert!(why(2).contains("equal"), "{}", why(2));
        assert!(why(6).contains("0 samples"), "{}", why(6));
        assert_eq!(report.samples.len(), set.len());
        assert_eq!(report.status, Status::None, "{}", entry.meta.id);
    }
    // All constant: nothing to compare, and no alarm.
    let set = FeatureSet::new(
        "l",
        &vec![1.0; 400],
        &(0..200).map(|i| i / 40).collect::<Vec<_>>(),
        5,
    )
    .unwrap();
    for entry in ALL {
        let report = examine(entry.meta.id, &set, 0.02);
        assert_eq!(report.status, Status::CannotTell);
        assert!(report.reason.unwrap().contains("0 classes"));
    }
}

/// A clean set in which every sample is there twice is still clean.
#[test]
fn duplicates_raise_no_alarm() {
    let plan = Plan {
        sizes: &[60; 8],
        width: 10,
        poison: (0, 0, 0.0),
        rectified: false,
    };
    let mut all = Simulated::new(&plan, 4242);
    let (values, labels) = (all.values.clone(), all.labels.clone());
    all.values.extend(values);
    all.labels.extend(labels);
    for entry in ALL {
        let report = examine(entry.meta.id, &all.set(8), 0.02);
        assert_eq!(report.status, Status::None, "{}", entry.meta.id);
    }
}

/// If most of a class is poisoned, only trusted samples tell which part is the bad one.
#[test]
fn trusted_samples_tell_which_part_is_poisoned() {
    let plan = Plan {
        sizes: &EVEN,
        width: 16,
        poison: (300, 3, 14.0),
        rectified: false,
    };
    let all = Simulated::new(&plan, 9);
    let set = all.set(10);
    let right = |report: &TrainingReport| {
        report
            .samples
            .iter()
            .filter(|s| s.suspected && all.poisoned[s.row])
            .count()
    };
    let blind = examine("scan", &set, 0.02);
    assert_eq!((blind.target, right(&blind)), (Some(3), 0));
    // Ten clean samples of each class, the first ones.
    let mut own = (Vec::new(), Vec::new());
    for class in 0..10 {
        for row in set.rows(class).iter().take(10) {
            own.0.extend(&all.values[row * 16..(row + 1) * 16]);
            own.1.push(class);
        }
    }
    let clean = FeatureSet::new("simulated", &own.0, &own.1, 10).unwrap();
    let told = examine("scan", &set.trusting(&clean).unwrap(), 0.02);
    assert_eq!(told.target, Some(3));
    assert!(
        right(&told) > 280 && told.suspected < 310,
        "{}",
        right(&told)
    );
}

#[test]
fn faults_of_a_set_are_named() {
    let error = |values: &[f32], labels: &[usize]| {
        FeatureSet::new("fc", values, labels, 3)
            .unwrap_err()
            .to_string()
    };
    assert!(error(&[], &[]).contains("no labelled samples"));
    assert!(error(&[1.0; 5], &[0, 1]).contains("5 activations for 2 labels"));
    assert!(error(&[1.0; 4], &[0, 3]).contains("label 3 of sample 1"));
    assert!(error(&[1.0, 2.0, f32::NAN, 1.0], &[0, 1]).contains("not finite at sample 1"));
    let wide = vec![0.0; 2 * 3000];
    assert!(error(&wide, &[0, 1]).contains("at most 2048"));
    let set = FeatureSet::new("fc", &[1.0, 2.0], &[0, 1], 3).unwrap();
    let probe = training::build("spectral", &Default::default()).unwrap();
    let run = |level: f64, ids: &[SampleId]| {
        let request = TrainingRequest {
            set: &set,
            ids,
            level,
            seed: Seed(0),
            progress: &|_| true,
        };
        training::examine(probe.as_ref(), &request)
            .unwrap_err()
            .to_string()
    };
    assert!(run(0.02, &[]).contains("0 ids for 2 samples"));
    assert!(run(1.0, &[SampleId::Row(0), SampleId::Row(1)]).contains("level = 1"));
    for (id, table, field) in [
        ("spectral", "rate = 0.7", "rate"),
        ("activation_clustering", "dims = 0", "dims"),
        ("scan", "starts = 99", "starts"),
        ("scann", "", "did you mean `scan`"),
    ] {
        let e = training::build(id, &table.parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(e.contains(field), "{e}");
    }
}
