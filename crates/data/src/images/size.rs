//! Sizes of images, and the transforms of torchvision's `Resize` and `CenterCrop` on a Pillow image.
//!
//! **Maths.** Bilinear with antialiasing: a pixel of the result is the mean of the input pixels under a triangle of
//! half-width `max(1, in / out)` around its position, columns first, then rows. Weights are rounded to 22 bits and each
//! pass to 8, as in Pillow, so that the results equal Pillow's bit for bit.
//!
//! **Reference.** Pillow, `src/libImaging/Resample.c`; torchvision, `transforms/functional.py`.

use std::fmt;
use std::str::FromStr;

/// Height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// Number of rows.
    pub height: u32,
    /// Number of columns.
    pub width: u32,
}

/// Maximum length of a side; a longer one would take too much memory.
const LONGEST: u32 = 8192;

/// `N` for a square, or `HxW`.
impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (height, width) = text.split_once('x').unwrap_or((text, text));
        let side = |t: &str| t.trim().parse().ok().filter(|n| (1..=LONGEST).contains(n));
        match (side(height), side(width)) {
            (Some(height), Some(width)) => Ok(Self { height, width }),
            _ => Err(format!(
                "size `{text}`; expected N or HxW, such as 224 or 240x320, at most {LONGEST}"
            )),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// Target size of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// Length of the shorter side; the other stays in proportion.
    Shorter(u32),
    /// Both sides.
    To(Side),
}

/// `N` for the shorter side, or `HxW`.
impl FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side: Side = text.parse()?;
        Ok(if text.contains('x') {
            Self::To(side)
        } else {
            Self::Shorter(side.height)
        })
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shorter(n) => write!(f, "{n}"),
            Self::To(side) => write!(f, "{side}"),
        }
    }
}

impl Resize {
    /// Returns the new size of an image of size `from`.
    pub(super) fn of(self, from: Side) -> Side {
        match self {
            Self::To(side) => side,
            Self::Shorter(short) => {
                let (least, most) = (from.height.min(from.width), from.height.max(from.width));
                let long = u64::from(short) * u64::from(most) / u64::from(least.max(1));
                let long = u32::try_from(long).unwrap_or(u32::MAX);
                if from.width <= from.height {
                    Side {
                        height: long,
                        width: short,
                    }
                } else {
                    Side {
                        height: short,
                        width: long,
                    }
                }
            }
        }
    }
}

/// Rows of pixels, channels innermost.
pub(super) struct Pixels {
    pub(super) side: Side,
    pub(super) channels: usize,
    pub(super) values: Vec<u16>,
}

impl Pixels {
    /// Returns the centre of the image; `None` if the image is smaller than `to`.
    pub(super) fn cropped(&self, to: Side) -> Option<Self> {
        // Half a pixel is rounded to even, as Python rounds.
        let start = |from: u32, to: u32| {
            let rest = from.checked_sub(to)?;
            Some((rest / 2 + u32::from(rest % 4 == 3)) as usize)
        };
        let (top, left) = (
            start(self.side.height, to.height)?,
            start(self.side.width, to.width)?,
        );
        let row = self.side.width as usize * self.channels;
        let (from, length) = (left * self.channels, to.width as usize * self.channels);
        let rows = self.values.chunks_exact(row).skip(top);
        let kept = rows.take(to.height as usize);
        Some(Self {
            side: to,
            channels: self.channels,
            values: kept
                .flat_map(|r| &r[from..from + length])
                .copied()
                .collect(),
        })
    }

    /// Resizes an 8-bit image.
    pub(super) fn resized(self, to: Side) -> Self {
        let (height, width) = (self.side.height as usize, self.side.width as usize);
        let (new_height, new_width) = (to.height as usize, to.width as usize);
        let channels = self.channels;
        let mut values = self.values;
        if new_width != width {
            let weights = weights(width, new_width);
            let mut out = Vec::with_capacity(height * new_width * channels);
            for row in values.chunks_exact(width * channels) {
                for (first, kernel) in &weights {
                    for c in 0..channels {
                        let pixel = |i: usize| row[(first + i) * channels + c];
                        out.push(weighted(kernel, pixel));
                    }
                }
            }
            values = out;
        }
        if new_height != height {
            let row = new_width * channels;
            let mut out = Vec::with_capacity(new_height * row);
            for (first, kernel) in &weights(height, new_height) {
                for x in 0..row {
                    out.push(weighted(kernel, |i| values[(first + i) * row + x]));
                }
            }
            values = out;
        }
        Self {
            side: to,
            channels,
            values,
        }
    }
}

const PRECISION: u32 = 22;

fn weighted(kernel: &[i64], pixel: impl Fn(usize) -> u16) -> u16 {
    let half = 1 << (PRECISION - 1);
    let sum: i64 = kernel
        .iter()
        .enumerate()
        .map(|(i, k)| k * i64::from(pixel(i)))
        .sum();
    ((sum + half) >> PRECISION).clamp(0, 255) as u16
}

/// Returns for each position of the result the first contributing pixel and the weights from there on.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<i64>)> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let place = |x: usize| {
        let center = (x as f64 + 0.5) * scale;
        let first = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(from);
        let triangle = |x: usize| (1.0 - ((x as f64 - center + 0.5) / support).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(triangle).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: &f64| (0.5 + w / sum * f64::from(1 << PRECISION)) as i64;
        (first, weights.iter().map(fixed).collect())
    };
    (0..to).map(place).collect()
}
