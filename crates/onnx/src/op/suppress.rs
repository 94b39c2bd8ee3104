//! Non-maximum suppression of overlapping boxes.

use super::OperatorEntry;
use crate::array::Array;
use crate::node::{NodeSpec, OpResult, Run, one, run};

/// A box by its smaller and larger corner.
#[derive(Debug, Clone, Copy)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    fn of(b: &[f32], centred: bool) -> Self {
        if centred {
            let (half_width, half_height) = (b[2] / 2.0, b[3] / 2.0);
            return Self {
                low: [b[1] - half_height, b[0] - half_width],
                high: [b[1] + half_height, b[0] + half_width],
            };
        }
        Self {
            low: [b[0].min(b[2]), b[1].min(b[3])],
            high: [b[0].max(b[2]), b[1].max(b[3])],
        }
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Whether the intersection is more than `threshold` of the union.
    fn overlaps(&self, other: &Self, threshold: f32) -> bool {
        let side = |i: usize| self.high[i].min(other.high[i]) - self.low[i].max(other.low[i]);
        let (height, width) = (side(0), side(1));
        if height <= 0.0 || width <= 0.0 {
            return false;
        }
        let shared = height * width;
        let (a, b) = (self.area(), other.area());
        let together = a + b - shared;
        a > 0.0 && b > 0.0 && together > 0.0 && shared / together > threshold
    }
}

/// Returns the boxes to keep, best first; of equal scores the first.
fn kept(boxes: &[Corners], scores: &[f32], most: usize, overlap: f32, least: f32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len()).filter(|i| scores[*i] > least).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let mut kept: Vec<usize> = Vec::new();
    for i in order {
        if kept.len() == most {
            break;
        }
        if !kept.iter().any(|k| boxes[*k].overlaps(&boxes[i], overlap)) {
            kept.push(i);
        }
    }
    kept
}

fn non_max_suppression(node: &NodeSpec<'_>) -> OpResult<Run> {
    let centred = node.flag("center_point_box", false)?;
    run(move |x| {
        let (boxes, scores) = (x.array(0)?, x.array(1)?);
        let most = x.scalar_opt(2)?.unwrap_or(0.0).max(0.0) as usize;
        let overlap = x.scalar_opt(3)?.unwrap_or(0.0) as f32;
        let least = x.scalar_opt(4)?.map_or(f32::NEG_INFINITY, |s| s as f32);
        let (own, given) = (boxes.shape().to_vec(), scores.shape().to_vec());
        let ([batch, n, 4], [_, classes, _]) = (&own[..], &given[..]) else {
            return Err(format!(
                "boxes of shape {own:?} and scores of shape {given:?}"
            ));
        };
        if given != [*batch, *classes, *n] {
            return Err(format!(
                "boxes of shape {own:?} and scores of shape {given:?}"
            ));
        }
        let (boxes, scores) = (boxes.to_f32()?, scores.to_f32()?);
        let mut chosen: Vec<i64> = Vec::new();
        for sample in 0..*batch {
            let own = &boxes[sample * n * 4..(sample + 1) * n * 4];
            let own: Vec<Corners> = own.chunks(4).map(|b| Corners::of(b, centred)).collect();
            for class in 0..*classes {
                let from = (sample * classes + class) * n;
                let scores = &scores[from..from + n];
                for i in kept(&own, scores, most, overlap, least) {
                    chosen.extend([sample as i64, class as i64, i as i64]);
                }
            }
        }
        one(Array::try_new([chosen.len() / 3, 3], chosen)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] =
    &[OperatorEntry::new("NonMaxSuppression", non_max_suppression).on_host()];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed, number};

    fn case(boxes: Vec<f32>, scores: Vec<f32>) -> Case {
        Case::new("NonMaxSuppression")
            .host(Array::new([1, boxes.len() / 4, 4], boxes))
            .host(Array::new([1, 1, scores.len()], scores))
    }

    #[test]
    fn overlapping_boxes_are_suppressed() {
        // The first two boxes share two thirds of their union; the third touches neither; corners are given in either
        // order.
        let boxes = vec![
            0.0, 0.0, 1.0, 1.0, 1.2, 1.0, 0.2, 0.0, 0.0, 5.0, 1.0, 6.0, 0.0, 5.0, 1.0, 6.0,
        ];
        let scores = vec![0.5, 0.9, 0.7, 0.7];
        let most = |n: i64| Array::new([1], vec![n]);
        let all = case(boxes.clone(), scores.clone())
            .host(most(9))
            .host(number(0.5));
        let rows = Array::new([2, 3], vec![0i64, 0, 1, 0, 0, 2]);
        assert_eq!(computed(&all), rows);
        let one = case(boxes.clone(), scores.clone())
            .host(most(1))
            .host(number(0.5));
        assert_eq!(computed(&one), Array::new([1, 3], vec![0i64, 0, 1]));
        let least = case(boxes.clone(), scores.clone())
            .host(most(9))
            .host(number(0.7))
            .host(number(0.6));
        assert_eq!(computed(&least), rows);
        let none = case(boxes, scores);
        assert_eq!(computed(&none).shape(), [0, 3]);
    }

    #[test]
    fn shapes_must_fit() {
        let e = case(vec![0.0; 8], vec![0.5]).run().unwrap_err();
        assert!(e.contains("boxes of shape [1, 2, 4]"), "{e}");
    }
}
