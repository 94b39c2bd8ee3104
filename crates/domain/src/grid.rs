use crate::{Kind, Modality};

/// Where the channels and pixels of an image lie among the features of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Number of channels.
    pub channels: usize,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Distance between the features of one pixel in neighbouring channels.
    pub channel_step: usize,
    /// Distance between the features of one channel in neighbouring pixels of a row.
    pub pixel_step: usize,
}

impl Grid {
    /// An image laid out channel by channel, `[c, h, w]`.
    pub const fn channels_first([channels, height, width]: [usize; 3]) -> Self {
        Self {
            channels,
            height,
            width,
            channel_step: height * width,
            pixel_step: 1,
        }
    }

    /// An image laid out pixel by pixel, `[h, w, c]`.
    pub const fn channels_last([height, width, channels]: [usize; 3]) -> Self {
        Self {
            channels,
            height,
            width,
            channel_step: 1,
            pixel_step: channels,
        }
    }

    /// Returns the grid of an image; `None` for other inputs.
    ///
    /// Images may be `[h, w]`, `[c, h, w]` or, as in image files and `TensorFlow`, `[h, w, c]`: of three axes the
    /// channels are the one of length 1, 3 or 4 at either end, the first if both or neither are.
    ///
    /// ```
    /// use proofmark_domain::{Bounds, Grid, Kind, Modality};
    /// let bounds = Bounds::uniform(0.0, 1.0).unwrap();
    /// let of = |shape: &[usize]| {
    ///     let (name, kind, shape) = ("x".into(), Kind::Image, shape.to_vec());
    ///     Grid::of(&Modality { name, kind, shape, bounds: bounds.clone() }).unwrap()
    /// };
    /// assert_eq!(of(&[3, 32, 32]).channels, 3);
    /// assert_eq!(of(&[28, 28, 1]).channels, 1);
    /// assert_eq!(of(&[28, 28]).channels, 1);
    /// ```
    pub fn of(input: &Modality) -> Option<Self> {
        let few = Self::may_be_channels;
        match *input.shape.as_slice() {
            _ if input.kind != Kind::Image => None,
            [h, w] => Some(Self::channels_first([1, h, w])),
            [h, w, c] if few(c) && !few(h) => Some(Self::channels_last([h, w, c])),
            [c, h, w] => Some(Self::channels_first([c, h, w])),
            _ => None,
        }
    }

    /// Whether an axis of this length at one end of an image's shape may be its channels: grey, colour, or colour with
    /// opacity.
    pub const fn may_be_channels(length: usize) -> bool {
        matches!(length, 1 | 3 | 4)
    }

    /// Number of pixels.
    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Returns the feature of a pixel, counted row by row, in a channel.
    pub const fn feature(&self, channel: usize, pixel: usize) -> usize {
        channel * self.channel_step + pixel * self.pixel_step
    }

    /// Returns the channel of a feature.
    pub const fn channel_of(&self, feature: usize) -> usize {
        feature / self.channel_step % self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_one_place_in_either_layout() {
        for grid in [
            Grid::channels_first([3, 2, 5]),
            Grid::channels_last([2, 5, 3]),
        ] {
            assert_eq!(grid.pixels(), 10);
            let mut seen = vec![0; 30];
            for channel in 0..3 {
                for pixel in 0..10 {
                    let feature = grid.feature(channel, pixel);
                    assert_eq!(grid.channel_of(feature), channel);
                    seen[feature] += 1;
                }
            }
            assert_eq!(seen, [1; 30]);
        }
        assert_eq!(Grid::channels_last([2, 5, 3]).feature(1, 0), 1);
        assert_eq!(Grid::channels_first([3, 2, 5]).feature(1, 0), 10);
    }
}
