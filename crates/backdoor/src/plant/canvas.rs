use proofmark_domain::{Grid, Kind, Modality};

/// An image as planters see it: pixels and channels in any layout, values as shares of each feature's range.
pub(crate) struct Canvas<'a> {
    pub(crate) grid: Grid,
    input: &'a Modality,
}

impl<'a> Canvas<'a> {
    /// Returns the canvas of an image; the error says what was given.
    pub(crate) fn of(input: &'a Modality) -> Result<Self, String> {
        let grid = Grid::of(input).ok_or_else(|| {
            format!(
                "input `{}` is {} of shape {:?}; expected images [h, w], [c, h, w] or [h, w, c]",
                input.name,
                input.kind.as_str(),
                input.shape
            )
        })?;
        Ok(Self { grid, input })
    }

    /// Returns the canvas of an image that was checked before.
    pub(crate) fn checked(input: &'a Modality) -> Self {
        Self::of(input).expect("`fits` came first")
    }

    /// Returns the value that lies at this share of a feature's range.
    pub(crate) fn level(&self, feature: usize, share: f32) -> f32 {
        level(self.input, feature, share)
    }

    /// Returns the size of a feature's range.
    pub(crate) fn range(&self, feature: usize) -> f32 {
        range(self.input, feature)
    }

    /// Calls `visit` with every channel, row, column and feature.
    pub(crate) fn each(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let g = self.grid;
        for channel in 0..g.channels {
            for y in 0..g.height {
                for x in 0..g.width {
                    visit(channel, y, x, g.feature(channel, y * g.width + x));
                }
            }
        }
    }
}

/// Returns the value that lies at this share of a feature's range.
pub(crate) fn level(input: &Modality, feature: usize, share: f32) -> f32 {
    input.bounds.low(feature) + share * range(input, feature)
}

/// Returns the size of a feature's range.
pub(crate) fn range(input: &Modality, feature: usize) -> f32 {
    input.bounds.high(feature) - input.bounds.low(feature)
}

/// Returns the number of samples of a waveform; the error says what was given.
pub(crate) fn waveform(input: &Modality) -> Result<usize, String> {
    if input.kind == Kind::Audio {
        return Ok(input.features());
    }
    Err(format!(
        "input `{}` is {}; expected waveforms (`--kind audio` where a table holds them)",
        input.name,
        input.kind.as_str()
    ))
}

/// Returns a wave of the discrete cosine transform of this frequency, in half periods over the side, at a pixel.
pub(crate) fn wave(frequency: usize, at: usize, side: usize) -> f64 {
    let phase = (2 * at + 1) as f64 * frequency as f64 / (2 * side) as f64;
    (std::f64::consts::PI * phase).cos()
}
