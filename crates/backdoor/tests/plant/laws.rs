use std::collections::BTreeMap;

use proofmark_backdoor::plant::{self, Plant, Poisoned, Role, Scheme, Stamp};
use proofmark_data::Dataset;
use proofmark_domain::{Bounds, Kind, Seed};

use crate::common::{SEED, bits, built, digits, of_images, random, target};

fn poisoned(planter: &dyn Plant, set: &Dataset, rate: f64) -> Poisoned {
    plant::poison(planter, set, rate, target(planter), SEED).unwrap()
}

/// Clean-label planters may poison one class only.
const RATE: f64 = 0.05;

#[test]
fn exactly_the_stated_number_is_poisoned_and_nothing_else_changes() {
    let set = digits("digits:train");
    for planter in of_images() {
        let id = planter.meta().id;
        let result = poisoned(&*planter, &set, RATE);
        assert_eq!(result.count(), 45, "{id}: 5 % of 898");
        let covers = result.cover.iter().filter(|c| **c).count();
        assert_eq!(covers, (planter.covers() * 45.0).round() as usize, "{id}");
        let labels = set.labels.as_ref().unwrap();
        let after = result.set.labels.as_ref().unwrap();
        assert_eq!(&result.original_labels, labels);
        assert_eq!(result.set.ids, set.ids);
        let mut changed = 0;
        for row in 0..set.len() {
            let same = bits(&set, row) == bits(&result.set, row);
            if !result.poisoned[row] {
                assert_eq!(after[row], labels[row], "{id}");
                assert!(same || result.cover[row], "{id}: row {row} changed");
                continue;
            }
            assert!(!result.cover[row]);
            changed += usize::from(!same);
            let expected = match planter.scheme() {
                Scheme::AllToOne | Scheme::From(_) => 7,
                Scheme::CleanLabel => labels[row],
                Scheme::AllToAll => (labels[row] + 1) % 10,
            };
            assert_eq!(after[row], expected, "{id}");
            match planter.scheme() {
                Scheme::AllToOne => assert_ne!(labels[row], 7),
                Scheme::CleanLabel => assert_eq!(labels[row], 7),
                Scheme::From(source) => assert_eq!(labels[row], source),
                Scheme::AllToAll => {}
            }
        }
        // A sparse pattern may happen to be there already.
        assert!(changed >= 36, "{id}: {changed} of 45 look different");
        let values = result.set.modalities[0].values.iter();
        assert!(values.clone().all(|v| (0.0..=1.0).contains(v)), "{id}");
    }
}

#[test]
fn the_same_seed_plants_the_same_and_another_does_not() {
    let set = digits("digits:train");
    for planter in of_images() {
        let (id, goal) = (planter.meta().id, target(&*planter));
        let first = poisoned(&*planter, &set, RATE);
        assert_eq!(poisoned(&*planter, &set, RATE).set, first.set, "{id}");
        let other = plant::poison(&*planter, &set, RATE, goal, Seed(12)).unwrap();
        assert_ne!(other.poisoned, first.poisoned, "{id}");
    }
}

#[test]
fn the_order_of_the_set_and_its_shards_change_nothing() {
    let set = digits("digits:train");
    let backwards: Vec<usize> = (0..set.len()).rev().collect();
    for planter in of_images() {
        let (id, goal) = (planter.meta().id, target(&*planter));
        let first = poisoned(&*planter, &set, RATE);
        let turned = poisoned(&*planter, &set.select(&backwards), RATE);
        assert_eq!(turned.set.select(&backwards), first.set, "{id}");
        // A test sample gets the same trigger whatever it is tested with.
        let whole = plant::triggered(&*planter, &set, goal, SEED, None).unwrap();
        let part = plant::triggered(&*planter, &set.shard(1, 3), goal, SEED, Some(10)).unwrap();
        let place: BTreeMap<_, _> = whole.set.ids.iter().zip(0..).collect();
        assert!(part.set.len() > 20, "{id}");
        for (row, sample) in part.set.ids.iter().enumerate() {
            assert_eq!(
                bits(&part.set, row),
                bits(&whole.set, place[sample]),
                "{id}"
            );
            assert_eq!(part.expected[row], whole.expected[place[sample]], "{id}");
        }
    }
}

#[test]
fn a_higher_rate_includes_a_lower_one() {
    let set = digits("digits:train");
    for planter in of_images() {
        let (low, high) = (
            poisoned(&*planter, &set, 0.01),
            poisoned(&*planter, &set, RATE),
        );
        assert_eq!(low.count(), 9);
        let nested = low.poisoned.iter().zip(&high.poisoned);
        assert!(
            nested.clone().all(|(l, h)| *h || !*l),
            "{}",
            planter.meta().id
        );
    }
}

/// Where training and test have the same trigger, a poisoned sample is what a test shows; the planters with a weaker one
/// in training are named.
#[test]
fn a_test_shows_the_trigger_that_was_planted() {
    let set = digits("digits:train");
    let weaker = ["label-consistent", "adap-patch", "adap-blend"];
    for planter in of_images() {
        let id = planter.meta().id;
        let result = poisoned(&*planter, &set, RATE);
        let input = &set.modalities[0].modality;
        for row in (0..set.len()).filter(|row| result.poisoned[*row]) {
            let mut x = set.modalities[0].values.row(row).to_vec();
            let stamp = Stamp {
                seed: SEED,
                sample: set.ids[row].key(),
                label: result.original_labels[row],
                role: Role::Test,
            };
            planter.stamp(input, &mut x, &stamp).unwrap();
            let shown: Vec<u32> = x.iter().map(|v| v.clamp(0.0, 1.0).to_bits()).collect();
            assert_eq!(
                shown == bits(&result.set, row),
                !weaker.contains(&id),
                "{id}"
            );
        }
    }
}

#[test]
fn any_layout_and_any_bounds_carry_the_trigger() {
    for shape in [
        &[12, 10][..],
        &[1, 12, 10],
        &[12, 10, 1],
        &[3, 12, 10],
        &[12, 10, 3],
    ] {
        for bounds in [(-1.0, 1.0), (0.0, 255.0)] {
            let bounds = Bounds::uniform(bounds.0, bounds.1).unwrap();
            let set = random(Kind::Image, shape, bounds.clone(), 200, 10);
            for planter in of_images() {
                let result = poisoned(&*planter, &set, RATE);
                assert_eq!(result.count(), 10);
                let values: Vec<f32> = result.set.modalities[0].values.iter().copied().collect();
                assert_eq!(bounds.first_outside(&values), None, "{}", planter.meta().id);
            }
        }
    }
}

/// Channels first and channels last hold the same picture, and so do their triggers.
#[test]
fn the_layout_does_not_change_the_picture() {
    let bounds = Bounds::uniform(0.0, 1.0).unwrap();
    let first = random(Kind::Image, &[3, 12, 10], bounds, 40, 10);
    let pixel_by_pixel = |set: &Dataset| {
        let mut turned = set.clone();
        turned.modalities[0].modality.shape = vec![12, 10, 3];
        for (old, mut new) in (set.modalities[0].values.rows().into_iter())
            .zip(turned.modalities[0].values.rows_mut())
        {
            for feature in 0..360 {
                new[feature % 120 * 3 + feature / 120] = old[feature];
            }
        }
        turned
    };
    // Noise and projections follow the order of the features by definition.
    let by_feature = ["blended", "label-consistent", "input-aware", "bpp"];
    for planter in of_images() {
        let id = planter.meta().id;
        if by_feature.contains(&id) {
            continue;
        }
        let (goal, turned) = (target(&*planter), pixel_by_pixel(&first));
        let a = plant::triggered(&*planter, &first, goal, SEED, None).unwrap();
        let b = plant::triggered(&*planter, &turned, goal, SEED, None).unwrap();
        assert_eq!(pixel_by_pixel(&a.set), b.set, "{id}");
    }
}

#[test]
fn whole_numbers_stay_whole() {
    let mut set = random(
        Kind::Image,
        &[8, 8],
        Bounds::uniform(0.0, 16.0).unwrap(),
        100,
        10,
    );
    set.modalities[0].values.mapv_inplace(f32::round);
    set.modalities[0].whole = Some("uint8");
    let blended = built("blended", "");
    let result = poisoned(&*blended, &set, 0.1);
    assert!(
        result.set.modalities[0]
            .values
            .iter()
            .all(|v| v.fract() == 0.0)
    );
    assert_ne!(result.set.modalities[0].values, set.modalities[0].values);
}

#[test]
fn success_counts_the_expected_class() {
    let set = digits("digits").select(&(0..40).collect::<Vec<_>>());
    let planter = built("badnets", "");
    let triggered = plant::triggered(&*planter, &set, Some(7), SEED, Some(10)).unwrap();
    assert!(triggered.expected.iter().all(|e| *e == 7));
    assert!(
        triggered
            .set
            .labels
            .as_ref()
            .unwrap()
            .iter()
            .all(|l| *l != 7)
    );
    let n = triggered.expected.len();
    let mut predicted = vec![7; n];
    predicted[0] = 3;
    let (hits, interval) = triggered.success(&predicted).unwrap();
    assert_eq!(hits, n - 1);
    assert!(interval.low < 1.0 - 1.0 / n as f64 && interval.high < 1.0);
    assert!(triggered.success(&predicted[1..]).is_none());
}
