//! Tests the steepest step inside the box: hand-computed, and no random step of the same length gains more.
#![allow(clippy::float_cmp, reason = "hand-computed values are exact")]

use proofmark_domain::Norm;
use proptest::prelude::*;

use super::reference::assert_near;
use super::{Point, Stride, ball};

/// Clips to the box, like the projection.
fn cut(x: Vec<f32>) -> Vec<f32> {
    x.into_iter().map(|x| x.clamp(0.0, 1.0)).collect()
}

/// Takes a step of `length` from `x` in the box `[0, 1]`, spread over at least `features` features.
fn step(norm: Norm, x: &[f32], g: &[f32], length: f64, features: usize) -> Vec<f32> {
    let (mut x, n) = (x.to_vec(), x.len());
    let (x0, lower, upper) = (x.clone(), vec![0.0; n], vec![1.0; n]);
    let stride = Stride {
        size: 1.0,
        length,
        // Slightly less, because the number of features is rounded up.
        spread: (features as f32 - 0.5) / n as f32,
        plain: false,
    };
    ball(norm).ascend(&mut Point::new(&mut x, &x0, &lower, &upper), g, &stride);
    x
}

fn by_l2(x: &[f32], g: &[f32], length: f64) -> Vec<f32> {
    cut(step(Norm::L2, x, g, length, 1))
}

fn by_l1(x: &[f32], g: &[f32], length: f64, features: usize) -> Vec<f32> {
    cut(step(Norm::L1, x, g, length, features))
}

#[test]
fn hand_computed_l2() {
    // Inside the box: a unit vector. 3-4-5.
    assert_near(&by_l2(&[0.5; 2], &[3.0, -4.0], 0.25), &[0.65, 0.3]);
    // The first feature points out of the box: the other two get the whole length.
    assert_near(
        &by_l2(&[0.0, 0.5, 0.5], &[-99.0, 3.0, -4.0], 0.25),
        &[0.0, 0.65, 0.3],
    );
    // The first feature has room for only 0.3; sqrt(0.5² - 0.3²) = 0.4 is left for the second.
    assert_near(&by_l2(&[0.7, 0.5], &[10.0, 1.0], 0.5), &[1.0, 0.9]);
    // Not enough room for the whole step: it goes to the corner. No gradient: no move.
    assert_eq!(by_l2(&[0.5, 0.25], &[1.0, -1e-9], 9.0), [1.0, 0.0]);
    assert_eq!(by_l2(&[0.5, 0.25], &[0.0, -0.0], 9.0), [0.5, 0.25]);
}

#[test]
fn hand_computed_l1() {
    // In order of slope, each up to its room: 0.25, then 0.5, then the rest.
    assert_eq!(
        by_l1(&[0.75, 0.5, 0.5], &[3.0, -2.0, 1.0], 0.875, 1),
        [1.0, 0.0, 0.625]
    );
    // Spread over at least two: 0.25 each; the first is at its bound.
    assert_eq!(
        by_l1(&[1.0, 0.5, 0.5, 0.5], &[9.0, -2.0, 1.0, 0.5], 0.5, 2),
        [1.0, 0.25, 0.75, 0.5]
    );
    // Ties go to the lower feature; without a gradient nothing moves.
    assert_eq!(by_l1(&[0.5; 3], &[1.0; 3], 0.25, 1), [0.75, 0.5, 0.5]);
    assert_eq!(by_l1(&[0.5; 3], &[0.0; 3], 0.25, 1), [0.5; 3]);
    assert_eq!(by_l1(&[0.5; 2], &[1.0, -1.0], 9.0, 1), [1.0, 0.0]);
}

#[test]
fn features_that_meet_their_bound_are_written_beyond_it() {
    // mu = 0.4 for the second feature; the first, which has room for 0.3, would move by 4.
    let x = step(Norm::L2, &[0.7, 0.5, 0.5], &[10.0, 1.0, 0.0], 0.5, 1);
    assert_near(&x, &[4.7, 0.9, 0.5]);
    // One feature may take all of 0.5: the first moves that far, beyond its room of 0.25.
    let x = step(Norm::L1, &[0.75, 0.5, 1.0], &[3.0, -2.0, 9.0], 0.5, 1);
    assert_eq!(x, [1.25, 0.25, 1.5]);
}

proptest! {
    /// No other step of the same length in the box gains more: checked against random ones.
    #[test]
    fn nothing_is_steeper(
        features in prop::collection::vec((0.0..1.0_f32, -3.0..3.0_f32, -1.0..1.0_f64), 1..12),
        length in 0.01..2.0_f64,
    ) {
        let x: Vec<f32> = features.iter().map(|f| f.0).collect();
        let g: Vec<f32> = features.iter().map(|f| f.1).collect();
        let gain = |d: &[f64]| d.iter().zip(&g).map(|(d, g)| d * f64::from(*g)).sum::<f64>();
        let taken = |y: Vec<f32>| -> Vec<f64> {
            y.iter().zip(&x).map(|(y, x)| f64::from(*y) - f64::from(*x)).collect()
        };
        let norms: [fn(&[f64]) -> f64; 2] = [
            |d| d.iter().map(|d| d * d).sum::<f64>().sqrt(),
            |d| d.iter().map(|d| d.abs()).sum(),
        ];
        for (ours, norm) in [by_l2(&x, &g, length), by_l1(&x, &g, length, 1)].into_iter().zip(norms) {
            let ours = taken(ours);
            // Each coordinate is rounded to `f32`: half of its last bit, at most 3e-8 up to 1.
            let rounding = 3e-8 * features.len() as f64;
            prop_assert!(norm(&ours) <= length * (1.0 + 1e-9) + rounding);
            // A random direction, clipped to the box and scaled back into the ball if it is too long.
            let other: Vec<f64> = features.iter()
                .map(|f| (f64::from(f.0) + 3.0 * length * f.2).clamp(0.0, 1.0) - f64::from(f.0)).collect();
            let shrink = (length / norm(&other).max(1e-30)).min(1.0);
            let other: Vec<f64> = other.iter().map(|d| d * shrink).collect();
            prop_assert!(gain(&other) <= gain(&ours) + 1e-5, "{other:?} over {ours:?}");
        }
    }
}
