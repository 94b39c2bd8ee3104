use burn::tensor::{Tensor, TensorData};
use proofmark_engine::Rows;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::Batch;

use super::Update;

/// Adds noise in proportion to the mean absolute entry: `g + share * mean|g| * normal`, so that features with
/// comparatively small gradients move in either direction.
///
/// With rounded scores or approximate gradients, the signs of these features are the least reliable; a plain sign step
/// moves them as far as the others.
#[derive(Debug, Clone, Copy)]
pub struct Jitter {
    /// Standard deviation of the noise, as a share of the mean absolute entry of a row.
    pub share: f32,
}

/// Noise of half the mean absolute entry.
pub const JITTER: Jitter = Jitter { share: 0.5 };

impl Update for Jitter {
    fn memories(&self) -> usize {
        0
    }

    fn apply(&self, gradient: Batch, _: &mut [Batch], rows: &Rows) -> Batch {
        let mut streams: Vec<Stream> = (rows.streams(Purpose::Direction, 0).iter())
            .map(Stream::new)
            .collect();
        gradient.map(|g| {
            let [n, features] = g.dims();
            let noise: Vec<f32> = (streams.iter_mut())
                .flat_map(|s| (0..features).map(|_| s.normal()).collect::<Vec<_>>())
                .collect();
            let noise = Tensor::<2>::from_data(TensorData::new(noise, [n, features]), &g.device());
            let size = g.clone().abs().mean_dim(1) * self.share;
            g + noise * size
        })
    }
}
