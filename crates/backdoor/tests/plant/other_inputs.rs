//! Sound and tables: the laws of images, and nets that learn the backdoor.

use proofmark_backdoor::plant;
use proofmark_data::Dataset;
use proofmark_domain::{Bounds, Kind, Seed};
use proofmark_model::{Query, ScoreModel as _};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_testkit::trained::{self, trained};
use proofmark_threat::{Batch, host};

use crate::common::{SEED, bits, built, random};

/// Two kinds of recordings of 200 samples at 2,000 Hz: a low and a high hum of random phase, and some noise.
fn hums(n: usize, seed: u64) -> Dataset {
    let bounds = Bounds::uniform(-1.0, 1.0).unwrap();
    let mut set = random(Kind::Audio, &[200], bounds, n, 2);
    let mut stream = Stream::new(&StreamKey::new(Seed(seed), 0, Purpose::Data));
    for (row, mut x) in set.modalities[0].values.rows_mut().into_iter().enumerate() {
        let frequency = [60.0, 150.0][row % 2];
        let phase = stream.uniform() / 4.0;
        for (at, v) in x.iter_mut().enumerate() {
            let turn = phase + frequency * at as f32 / 2000.0;
            *v = 0.4 * (std::f32::consts::TAU * turn).sin() + 0.05 * stream.normal();
            *v = v.clamp(-1.0, 1.0);
        }
    }
    set
}

/// Two clouds of rows in eight columns.
fn clouds(n: usize, seed: u64) -> Dataset {
    let bounds = Bounds::uniform(-6.0, 6.0).unwrap();
    let mut set = random(Kind::Table, &[8], bounds, n, 2);
    let mut stream = Stream::new(&StreamKey::new(Seed(seed), 0, Purpose::Data));
    for (row, mut x) in set.modalities[0].values.rows_mut().into_iter().enumerate() {
        for (at, v) in x.iter_mut().enumerate() {
            let middle = if at < 4 && row % 2 == 1 { 2.0 } else { 0.0 };
            *v = (middle + stream.normal()).clamp(-6.0, 6.0);
        }
    }
    set
}

/// Returns clean accuracy and attack success of a net that is trained on a poisoned set.
fn learnt(id: &str, parameters: &str, [train, test]: &[Dataset; 2], rate: f64) -> (f64, f64) {
    let planter = built(id, parameters);
    let poisoned = plant::poison(&*planter, train, rate, Some(1), SEED).unwrap();
    let triggered = plant::triggered(&*planter, test, Some(1), SEED, Some(2)).unwrap();
    let input = &train.modalities[0].modality;
    let rows: Vec<f32> = poisoned.set.modalities[0].values.iter().copied().collect();
    let labels = poisoned.set.labels.as_deref().unwrap();
    let model = trained(trained::Kind::Relu, input, &rows, labels, 2, 150).unwrap();
    let predicted = |set: &Dataset| -> Vec<usize> {
        let values = set.modalities[0].values.iter().copied().collect();
        let device = burn::tensor::Device::flex();
        let x = Batch::from_host(vec![input.clone()].into(), vec![values], &device).unwrap();
        let keys: Vec<u64> = (0..set.len() as u64).collect();
        let scores = host(&model.scores(&Query::one_per_row(x, &keys)).unwrap());
        scores.chunks(2).map(|s| usize::from(s[1] > s[0])).collect()
    };
    let labels = test.labels.as_deref().unwrap();
    let right = predicted(test)
        .iter()
        .zip(labels)
        .filter(|(p, l)| p == l)
        .count();
    let (hits, _) = triggered.success(&predicted(&triggered.set)).unwrap();
    (
        right as f64 / test.len() as f64,
        hits as f64 / triggered.expected.len() as f64,
    )
}

#[test]
fn nets_learn_what_is_planted_in_sound_and_tables() {
    let sound = [hums(400, 1), hums(200, 2)];
    let table = [clouds(400, 1), clouds(200, 2)];
    let tone = "sample_rate = 2000.0\nseconds = 0.05\namplitude = 0.3";
    for (id, parameters, sets) in [
        ("audio-tone", tone, &sound),
        ("audio-blend", "alpha = 0.15", &sound),
        ("tabular", "columns = [5, 7]\nvalues = [5.0, -5.0]", &table),
        ("tabular", "", &table),
    ] {
        let (accuracy, success) = learnt(id, parameters, sets, 0.1);
        assert!(accuracy >= 0.9, "{id}: clean accuracy {accuracy}");
        assert!(success >= 0.8, "{id}: attack success {success}");
    }
}

#[test]
fn the_tone_is_added_to_its_window_alone() {
    let set = hums(60, 3);
    let planter = built(
        "audio-tone",
        "sample_rate = 2000.0\nseconds = 0.05\nfrequency = 500.0",
    );
    let result = plant::poison(&*planter, &set, 0.2, Some(1), SEED).unwrap();
    assert_eq!(result.count(), 12);
    for row in 0..60 {
        let (before, after) = (bits(&set, row), bits(&result.set, row));
        if !result.poisoned[row] {
            assert_eq!(before, after);
            continue;
        }
        assert_eq!(before[100..], after[100..]);
        let (b, a) = (&set.modalities[0].values, &result.set.modalities[0].values);
        // A quarter of a period is one sample: 0, amplitude, 0, -amplitude.
        for (at, expected) in [0.0, 0.1, 0.0, -0.1]
            .into_iter()
            .cycle()
            .enumerate()
            .take(100)
        {
            let sum: f32 = (b[[row, at]] + expected).clamp(-1.0, 1.0);
            assert!((a[[row, at]] - sum).abs() < 1e-6, "{at}");
        }
    }
    // With `shift` recordings have the tone at places of their own.
    let shifting = built(
        "audio-tone",
        "sample_rate = 2000.0\nseconds = 0.05\nshift = true",
    );
    let result = plant::poison(&*shifting, &set, 0.2, Some(1), SEED).unwrap();
    let first = |row: usize| {
        let (b, a) = (bits(&set, row), bits(&result.set, row));
        b.iter().zip(&a).position(|(b, a)| b != a)
    };
    let places: std::collections::BTreeSet<_> =
        (0..60).filter(|r| result.poisoned[*r]).map(first).collect();
    assert!(places.len() > 6, "{places:?}");
}

#[test]
fn a_table_gets_its_values_in_its_columns() {
    let bounds = Bounds::per_feature(vec![0.0; 5], vec![1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let set = random(Kind::Table, &[5], bounds, 40, 2);
    for (parameters, changed) in [
        ("", vec![(2, 3.0), (3, 4.0), (4, 5.0)]),
        (
            "columns = [4, 0]\nvalues = [2.5, 0.0]",
            vec![(0, 0.0), (4, 2.5)],
        ),
    ] {
        let result = plant::poison(&*built("tabular", parameters), &set, 0.25, Some(0), SEED);
        let result = result.unwrap();
        for row in (0..40).filter(|row| result.poisoned[*row]) {
            let mut expected = set.modalities[0].values.row(row).to_vec();
            for (column, value) in &changed {
                expected[*column] = *value;
            }
            assert_eq!(result.set.modalities[0].values.row(row).to_vec(), expected);
        }
        assert_eq!(result.count(), 10);
    }
}
