//! A small square of fixed pixels, the trigger of several planters.

use proofmark_domain::Modality;
use serde::{Deserialize, Serialize};

use super::canvas::Canvas;

/// Where a patch lies in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Upper left corner.
    TopLeft,
    /// Upper right corner.
    TopRight,
    /// Lower left corner.
    BottomLeft,
    /// Lower right corner.
    #[default]
    BottomRight,
    /// Middle.
    Centre,
}

impl Place {
    /// The four corners.
    pub const CORNERS: [Self; 4] = [
        Self::TopLeft,
        Self::TopRight,
        Self::BottomLeft,
        Self::BottomRight,
    ];
}

/// Pixels of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// All pixels at the top of their range.
    #[default]
    White,
    /// All pixels at the bottom of their range.
    Black,
    /// Top and bottom of the range in turn, as on a chess-board; the corner pixels are at the top if the side is odd.
    Chequered,
}

/// A patch.
#[derive(Debug, Clone, Copy)]
pub struct Patch {
    /// Side, pixels; `None`: 3 of 32 of the shorter side of the image, rounded, at least 2.
    pub size: Option<usize>,
    /// Where it lies.
    pub place: Place,
    /// Its pixels.
    pub pattern: Pattern,
}

impl Patch {
    /// Returns the side in an image of this height and width.
    pub fn side(&self, height: usize, width: usize) -> usize {
        self.size
            .unwrap_or_else(|| ((height.min(width) * 3 + 16) / 32).max(2))
    }

    /// Checks that the patch lies inside images of this input and leaves something of them.
    pub fn fits(&self, input: &Modality) -> Result<(), String> {
        let grid = Canvas::of(input)?.grid;
        let side = self.side(grid.height, grid.width);
        if side < grid.height.min(grid.width) {
            return Ok(());
        }
        Err(format!(
            "a patch of {side} pixels a side covers images of {} × {}; expected a smaller `size`",
            grid.height, grid.width
        ))
    }

    /// Returns the upper left pixel of the patch, `(row, column)`, and its side.
    pub fn corner(&self, height: usize, width: usize) -> (usize, usize, usize) {
        let side = self.side(height, width);
        let (bottom, right) = (height - side, width - side);
        let (y, x) = match self.place {
            Place::TopLeft => (0, 0),
            Place::TopRight => (0, right),
            Place::BottomLeft => (bottom, 0),
            Place::BottomRight => (bottom, right),
            Place::Centre => (bottom / 2, right / 2),
        };
        (y, x, side)
    }

    /// Pastes the patch on one image, `opacity` of it (1 hides what lies under it).
    pub fn paste(&self, input: &Modality, x: &mut [f32], opacity: f32) {
        let canvas = Canvas::checked(input);
        let (top, left, side) = self.corner(canvas.grid.height, canvas.grid.width);
        for channel in 0..canvas.grid.channels {
            for row in 0..side {
                for column in 0..side {
                    let share = match self.pattern {
                        Pattern::White => 1.0,
                        Pattern::Black => 0.0,
                        Pattern::Chequered => ((row + column + 1) % 2) as f32,
                    };
                    let pixel = (top + row) * canvas.grid.width + left + column;
                    let feature = canvas.grid.feature(channel, pixel);
                    let to = canvas.level(feature, share);
                    // Exact where the patch hides everything: a blend may miss the bound by a rounding.
                    x[feature] = if opacity >= 1.0 {
                        to
                    } else {
                        (1.0 - opacity) * x[feature] + opacity * to
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Kind};

    use super::*;

    fn image(shape: &[usize]) -> Modality {
        Modality {
            name: "x".into(),
            kind: Kind::Image,
            shape: shape.to_vec(),
            bounds: Bounds::uniform(-1.0, 3.0).unwrap(),
        }
    }

    #[test]
    fn a_chequered_patch_lies_in_its_corner_in_either_layout() {
        let patch = Patch {
            size: Some(3),
            place: Place::BottomLeft,
            pattern: Pattern::Chequered,
        };
        let mut first = vec![0.0; 3 * 5 * 5];
        patch.paste(&image(&[3, 5, 5]), &mut first, 1.0);
        let (w, b) = (3.0, -1.0);
        #[rustfmt::skip]
        let expected = [
            0.0, 0.0, 0.0, 0.0, 0.0,
            0.0, 0.0, 0.0, 0.0, 0.0,
            w, b, w, 0.0, 0.0,
            b, w, b, 0.0, 0.0,
            w, b, w, 0.0, 0.0,
        ];
        assert_eq!(first, expected.repeat(3));
        let mut last = vec![0.0; 3 * 5 * 5];
        patch.paste(&image(&[5, 5, 3]), &mut last, 1.0);
        let each = expected.iter().flat_map(|v| [*v; 3]);
        assert_eq!(last, each.collect::<Vec<f32>>());
    }

    #[test]
    fn the_side_follows_the_image_and_must_leave_something_of_it() {
        let patch = Patch {
            size: None,
            place: Place::Centre,
            pattern: Pattern::White,
        };
        assert_eq!([8, 28, 32, 96].map(|s| patch.side(s, s)), [2, 3, 3, 9]);
        assert!(patch.fits(&image(&[1, 8, 8])).is_ok());
        let told = patch.fits(&image(&[2, 2])).unwrap_err();
        assert!(told.contains("2 × 2"), "{told}");
        let half = &mut [1.0; 9];
        patch.paste(&image(&[3, 3]), half, 0.5);
        assert_eq!(half[0], 2.0);
    }
}
