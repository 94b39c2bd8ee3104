use proofmark_domain::Grid;
use proofmark_engine::Rows;
use proofmark_threat::Batch;

use super::{Back, Points, View};

/// Shrinks an image to a random size and puts it at a random place in a frame of the original size.
///
/// Bilinear interpolation, as `PyTorch` without aligned corners. The frame is filled with the number within the bounds
/// that is nearest to 0. Inputs that are no images, or have a side of one pixel, stay as they are. Source: Xie et al.,
/// "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019, section 3.2.
#[derive(Debug, Clone, Copy)]
pub struct Diverse {
    /// Probability that a copy is changed at all, in `[0, 1]`.
    pub probability: f32,
    /// Smallest size, as a share of the side, above 0 and below 1.
    pub resize: f32,
}

/// Where one axis of the changed image comes from: for each place the two places of the original and the weight of the
/// second, or none in the frame.
type Axis = Vec<Option<(usize, usize, f32)>>;

/// Both axes of one changed image, the vertical one first; none if it is not changed.
type Placed = Option<[Axis; 2]>;

impl View for Diverse {
    fn copies(&self) -> usize {
        1
    }

    fn look(&self, points: &Points, rows: &Rows) -> (Batch, Back) {
        let mut streams = points.streams(rows, 0);
        let modalities = points.x.modalities().clone();
        let mut values = points.x.to_host();
        let mut placed: Vec<Option<(Grid, Vec<Placed>)>> = Vec::new();
        for (m, moves) in points.moves(rows).iter().enumerate() {
            let modality = &modalities[m];
            let Some(grid) = Grid::of(modality).filter(|g| g.height > 1 && g.width > 1) else {
                placed.push(None);
                continue;
            };
            let drawn: Vec<Placed> = (moves.iter().zip(&mut streams))
                .map(|(moves, stream)| {
                    if !moves || stream.uniform() >= self.probability {
                        return None;
                    }
                    let smallest = (self.resize * grid.height as f32) as usize;
                    let smallest = smallest.clamp(1, grid.height - 1);
                    let height = smallest + stream.below((grid.height - smallest) as u32) as usize;
                    let width = (grid.width * height + grid.height / 2) / grid.height;
                    let width = width.clamp(1, grid.width);
                    let mut axis = |side: usize, to: usize| {
                        let offset = stream.below((side - to + 1) as u32) as usize;
                        axis(side, to, offset)
                    };
                    Some([axis(grid.height, height), axis(grid.width, width)])
                })
                .collect();
            let features = modality.features();
            let images = values[m].chunks_mut(features).zip(&drawn);
            for (image, placed) in images.filter_map(|(i, p)| Some((i, p.as_ref()?))) {
                let fill =
                    |f: usize| 0.0_f32.clamp(modality.bounds.low(f), modality.bounds.high(f));
                let changed: Vec<f32> = changed(&grid, placed, image, fill);
                image.copy_from_slice(&changed);
            }
            placed.push(Some((grid, drawn)));
        }
        let device = points.x.device();
        let same = modalities.clone();
        let seen = Batch::from_host(modalities, values, &device).expect("as many values");
        let back = move |gradient: Batch| {
            let mut values = gradient.to_host();
            for (m, placed) in placed.iter().enumerate() {
                let Some((grid, drawn)) = placed else {
                    continue;
                };
                let features = same[m].features();
                let images = values[m].chunks_mut(features).zip(drawn);
                for (image, placed) in images.filter_map(|(i, p)| Some((i, p.as_ref()?))) {
                    let returned: Vec<f32> = returned(grid, placed, image);
                    image.copy_from_slice(&returned);
                }
            }
            Batch::from_host(same.clone(), values, &gradient.device()).expect("as many values")
        };
        (seen, Box::new(back))
    }
}

/// Returns where an axis of `side` pixels comes from if it is shrunk to `to` pixels that begin at `offset`.
fn axis(side: usize, to: usize, offset: usize) -> Axis {
    let scale = side as f32 / to as f32;
    let source = |k: usize| {
        let at = ((k as f32 + 0.5) * scale - 0.5).max(0.0);
        let first = (at as usize).min(side - 1);
        (first, (first + 1).min(side - 1), at - first as f32)
    };
    (0..side)
        .map(|k| {
            (offset..offset + to)
                .contains(&k)
                .then(|| source(k - offset))
        })
        .collect()
}

/// Calls `each` with every feature of the changed image, and the features of the original with their weights; without
/// any in the frame.
fn visit(
    grid: &Grid,
    [rows, columns]: &[Axis; 2],
    mut each: impl FnMut(usize, Option<[(usize, f32); 4]>),
) {
    for channel in 0..grid.channels {
        let feature = |y: usize, x: usize| grid.feature(channel, y * grid.width + x);
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                let from = row.zip(*column).map(|((y0, y1, v), (x0, x1, u))| {
                    [
                        (feature(y0, x0), (1.0 - v) * (1.0 - u)),
                        (feature(y0, x1), (1.0 - v) * u),
                        (feature(y1, x0), v * (1.0 - u)),
                        (feature(y1, x1), v * u),
                    ]
                });
                each(feature(y, x), from);
            }
        }
    }
}

fn changed(
    grid: &Grid,
    placed: &[Axis; 2],
    image: &[f32],
    fill: impl Fn(usize) -> f32,
) -> Vec<f32> {
    let mut changed = vec![0.0; image.len()];
    visit(grid, placed, |feature, from| {
        changed[feature] = match from {
            Some(from) => from.iter().map(|(f, weight)| weight * image[*f]).sum(),
            None => fill(feature),
        };
    });
    changed
}

/// Returns the gradient at the original image for one at the changed image: the transposed map.
fn returned(grid: &Grid, placed: &[Axis; 2], gradient: &[f32]) -> Vec<f32> {
    let mut returned = vec![0.0; gradient.len()];
    visit(grid, placed, |feature, from| {
        for (f, weight) in from.into_iter().flatten() {
            returned[f] += weight * gradient[feature];
        }
    });
    returned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_by_hand() {
        // Four pixels shrunk to two at offset 1: each is the mean of two neighbours.
        let expected = [None, Some((0, 1, 0.5)), Some((2, 3, 0.5)), None];
        assert_eq!(axis(4, 2, 1), expected);
        let whole: Vec<_> = (0..3).map(|k| Some((k, (k + 1).min(2), 0.0))).collect();
        assert_eq!(axis(3, 3, 0), whole);
    }

    /// `<T x, y> = <x, T' y>` for the linear part, in both layouts.
    #[test]
    fn the_way_back_is_the_transpose() {
        for grid in [
            Grid::channels_first([2, 5, 7]),
            Grid::channels_last([5, 7, 2]),
        ] {
            let placed = [axis(5, 4, 1), axis(7, 5, 0)];
            let value = |i: usize, k: usize| ((i * k + 3) % 11) as f32 / 11.0 - 0.4;
            let x: Vec<f32> = (0..70).map(|i| value(i, 7)).collect();
            let y: Vec<f32> = (0..70).map(|i| value(i, 5)).collect();
            let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            let there = dot(&changed(&grid, &placed, &x, |_| 0.0), &y);
            let back = dot(&x, &returned(&grid, &placed, &y));
            assert!((there - back).abs() < 1e-5, "{there} {back}");
            assert!(there.abs() > 0.1, "{there}");
        }
    }

    #[test]
    fn an_even_image_keeps_its_colour_in_a_frame() {
        let grid = Grid::channels_first([1, 4, 4]);
        let placed = [axis(4, 3, 1), axis(4, 2, 0)];
        let image = changed(&grid, &placed, &[0.5; 16], |_| -1.0);
        let (inside, frame) = image.iter().partition::<Vec<f32>, _>(|v| **v > 0.0);
        assert_eq!((inside.len(), frame.len()), (6, 10));
        assert!(inside.iter().all(|v| (v - 0.5).abs() < 1e-6));
    }
}
