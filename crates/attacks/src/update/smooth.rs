use proofmark_domain::Grid;
use proofmark_engine::Rows;
use proofmark_threat::Batch;

use super::Update;

/// Convolves the gradient of an image, channel by channel, with a Gaussian. That is nearly the mean gradient over shifted
/// copies of the image, for one backward pass.
///
/// The kernel has `2k + 1` pixels a side and deviation `k / √3`; beyond the edges the gradient counts as 0. Inputs that
/// are no images pass unchanged. Source: Dong et al., "Evading Defenses to Transferable Adversarial Examples by
/// Translation-Invariant Attacks", CVPR 2019, section 3.3.
#[derive(Debug, Clone, Copy)]
pub struct Smooth {
    /// Side of the kernel in pixels, odd. 0 stands for the odd number nearest to a twentieth of the image's shorter side
    /// (15 of 299 pixels, as in the paper), at least 3.
    pub kernel: u32,
}

impl Smooth {
    /// Returns the weights along one axis, which sum to 1.
    fn weights(self, grid: &Grid) -> Vec<f32> {
        let reach = match self.kernel {
            0 => {
                let side = grid.height.min(grid.width) as f64;
                (((side / 20.0 - 1.0) / 2.0).round() as usize).max(1)
            }
            kernel => kernel as usize / 2,
        };
        let k = reach as f64;
        let weight = |i: usize| {
            let away = i as f64 - k;
            if reach == 0 {
                1.0
            } else {
                (-1.5 * (away / k).powi(2)).exp()
            }
        };
        let sum: f64 = (0..=2 * reach).map(weight).sum();
        (0..=2 * reach).map(|i| (weight(i) / sum) as f32).collect()
    }
}

/// Convolves lines of `n` values, `step` apart, that begin at `starts`.
fn convolve(
    values: &[f32],
    weights: &[f32],
    n: usize,
    step: usize,
    starts: impl Iterator<Item = usize>,
) -> Vec<f32> {
    let reach = weights.len() / 2;
    let mut out = vec![0.0; values.len()];
    for start in starts {
        for i in 0..n {
            let from = i.saturating_sub(reach)..(i + reach + 1).min(n);
            let sum = from.map(|j| weights[j + reach - i] * values[start + j * step]);
            out[start + i * step] = sum.sum();
        }
    }
    out
}

impl Update for Smooth {
    fn memories(&self) -> usize {
        0
    }

    fn apply(&self, gradient: Batch, _: &mut [Batch], _: &Rows) -> Batch {
        let modalities = gradient.modalities().clone();
        let mut values = gradient.to_host();
        for (values, modality) in values.iter_mut().zip(modalities.iter()) {
            let Some(grid) = Grid::of(modality) else {
                continue;
            };
            let weights = self.weights(&grid);
            let features = modality.features();
            for image in values.chunks_mut(features) {
                let smooth = smoothed(image, &grid, &weights);
                image.copy_from_slice(&smooth);
            }
        }
        Batch::from_host(modalities, values, &gradient.device()).expect("as many values")
    }
}

fn smoothed(image: &[f32], grid: &Grid, weights: &[f32]) -> Vec<f32> {
    let channels = 0..grid.channels;
    let line = |pixel: usize| channels.clone().map(move |c| grid.feature(c, pixel));
    let rows = (0..grid.height).flat_map(|y| line(y * grid.width));
    let along = convolve(image, weights, grid.width, grid.pixel_step, rows);
    let columns = (0..grid.width).flat_map(line);
    let step = grid.pixel_step * grid.width;
    convolve(&along, weights, grid.height, step, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_the_paper_for_its_images_and_three_pixels_for_small_ones() {
        let side = |n: usize| {
            let grid = Grid::channels_first([3, n, n]);
            Smooth { kernel: 0 }.weights(&grid).len()
        };
        assert_eq!([8, 32, 224, 299].map(side), [3, 3, 11, 15]);
        let grid = Grid::channels_first([1, 8, 8]);
        let weights = Smooth { kernel: 3 }.weights(&grid);
        // exp(-1.5) to both sides of 1, normalised.
        let expected = [0.154_281, 0.691_438, 0.154_281];
        for (w, e) in weights.iter().zip(expected) {
            assert!((w - e).abs() < 1e-5, "{weights:?}");
        }
        assert_eq!(Smooth { kernel: 1 }.weights(&grid), [1.0]);
    }

    #[test]
    fn one_entry_becomes_the_kernel_and_channels_do_not_mix() {
        for grid in [
            Grid::channels_first([2, 4, 5]),
            Grid::channels_last([4, 5, 2]),
        ] {
            let mut image = vec![0.0; 40];
            image[grid.feature(1, 5 + 2)] = 1.0;
            // The upper left corner of the other channel: the kernel is cut off.
            image[grid.feature(0, 0)] = 1.0;
            let smooth = smoothed(&image, &grid, &[0.25, 0.5, 0.25]);
            let at = |c: usize, y: usize, x: usize| smooth[grid.feature(c, y * 5 + x)];
            assert_eq!(
                [at(1, 1, 2), at(1, 0, 2), at(1, 2, 3)],
                [0.25, 0.125, 0.0625]
            );
            assert_eq!(
                [at(0, 0, 0), at(0, 0, 1), at(0, 1, 1)],
                [0.25, 0.125, 0.0625]
            );
            assert_eq!([at(1, 0, 0), at(0, 1, 2), at(1, 3, 2)], [0.0; 3]);
        }
    }
}
