//! The shape of an input as score-based attacks see it: rows and columns of cells, each cell one feature per channel.

use proofmark_domain::{Grid, Modality};
use proofmark_engine::Job;
use proofmark_stats::random::Stream;

/// A rectangle of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Window {
    /// Returns whether a cell is inside.
    pub(super) const fn holds(&self, row: usize, column: usize) -> bool {
        row >= self.top
            && row < self.top + self.height
            && column >= self.left
            && column < self.left + self.width
    }
}

/// The cells of one modality that may change.
///
/// An image is a grid: the bounding box of its free pixels. A table, a waveform and an image with few free pixels
/// spread over a large area are strips: their free features (pixels) in order, one row.
#[derive(Debug)]
pub(super) struct Canvas {
    height: usize,
    width: usize,
    channels: usize,
    /// Distance between the features of one cell in neighbouring channels.
    stride: usize,
    /// Feature of each cell in the first channel.
    cells: Vec<usize>,
    /// Whether each cell may change in some channel.
    free: Vec<bool>,
}

/// A grid is made if at least one in this many cells of the bounding box may change.
const SPARSE: usize = 2;

/// Draws of a window before one without a free cell is accepted. On a grid at least half of the cells are free.
const DRAWS: usize = 64;

impl Canvas {
    /// Returns the canvas of a modality whose features may change where `mask` is set; `None` if none may.
    pub(super) fn new(modality: &Modality, mask: Option<&[bool]>) -> Option<Self> {
        let strip = Grid::channels_first([1, 1, modality.features()]);
        Self::over(&Grid::of(modality).unwrap_or(strip), mask)
    }

    /// Returns the canvas of an image whose features may change where `mask` is set; `None` if none may.
    pub(super) fn over(grid: &Grid, mask: Option<&[bool]>) -> Option<Self> {
        let Grid {
            channels,
            height,
            width,
            channel_step: stride,
            ..
        } = *grid;
        let may = |cell: usize| {
            let mut of = (0..channels).map(|c| grid.feature(c, cell));
            mask.is_none_or(|mask| of.any(|f| mask[f]))
        };
        let features =
            |cells: &[usize]| -> Vec<usize> { cells.iter().map(|c| grid.feature(0, *c)).collect() };
        let free: Vec<usize> = (0..grid.pixels()).filter(|cell| may(*cell)).collect();
        let (rows, columns) = (
            free.iter().map(|f| f / width),
            free.iter().map(|f| f % width),
        );
        let (top, bottom) = (rows.clone().min()?, rows.max()?);
        let (left, right) = (columns.clone().min()?, columns.max()?);
        let area = (bottom - top + 1) * (right - left + 1);
        if height == 1 || free.len() * SPARSE < area {
            return Some(Self {
                height: 1,
                width: free.len(),
                channels,
                stride,
                free: vec![true; free.len()],
                cells: features(&free),
            });
        }
        let cells: Vec<usize> = (top..=bottom)
            .flat_map(|row| (left..=right).map(move |column| row * width + column))
            .collect();
        Some(Self {
            height: bottom - top + 1,
            width: right - left + 1,
            channels,
            stride,
            free: cells.iter().map(|cell| may(*cell)).collect(),
            cells: features(&cells),
        })
    }

    /// Returns the number of rows and of columns.
    pub(super) const fn sides(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Returns the number of channels.
    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the number of cells.
    pub(super) const fn area(&self) -> usize {
        self.cells.len()
    }

    /// Returns the window that covers every cell.
    pub(super) const fn whole(&self) -> Window {
        Window {
            top: 0,
            left: 0,
            height: self.height,
            width: self.width,
        }
    }

    /// Returns the feature of a cell in a channel.
    pub(super) fn feature(&self, row: usize, column: usize, channel: usize) -> usize {
        self.cells[row * self.width + column] + channel * self.stride
    }

    /// Returns the features of a window in one channel, row by row.
    pub(super) fn features(
        &self,
        window: Window,
        channel: usize,
    ) -> impl Iterator<Item = usize> + '_ {
        let rows = window.top..window.top + window.height;
        rows.flat_map(move |row| {
            let from = row * self.width + window.left;
            let cells = &self.cells[from..from + window.width];
            cells.iter().map(move |cell| cell + channel * self.stride)
        })
    }

    /// Returns the height and width of a window over this share of the cells: a square, at least `least` wide, or as
    /// much of the shorter side as there is and a longer piece of the other.
    pub(super) fn window(&self, share: f64, least: usize) -> [usize; 2] {
        let area = share * self.area() as f64;
        let side = (area.sqrt().round() as usize).max(least);
        let along = |other: usize| ((area / other as f64).round() as usize).max(least);
        let (height, width) = if side > self.height {
            (self.height, along(self.height))
        } else if side > self.width {
            (along(self.width), self.width)
        } else {
            (side, side)
        };
        [height.min(self.height), width.min(self.width)]
    }

    /// Draws a window of this size that has a free cell, every position being equally likely, the last row and column
    /// included.
    pub(super) fn draw(&self, [height, width]: [usize; 2], stream: &mut Stream) -> Window {
        let mut window = Window {
            top: 0,
            left: 0,
            height,
            width,
        };
        for _ in 0..DRAWS {
            window.top = stream.below((self.height - height + 1) as u32) as usize;
            window.left = stream.below((self.width - width + 1) as u32) as usize;
            let mut rows = window.top..window.top + height;
            let is_free = rows.any(|row| {
                let from = row * self.width + window.left;
                self.free[from..from + width].contains(&true)
            });
            if is_free {
                break;
            }
        }
        window
    }
}

/// Returns the canvas of each modality that may change.
pub(super) fn canvases(job: &Job<'_>) -> Vec<Option<Canvas>> {
    let inputs = job.samples.modalities.iter().zip(job.threat.budgets());
    inputs
        .map(|(modality, budget)| {
            if !budget.moves() {
                return None;
            }
            Canvas::new(modality, budget.mask.as_deref())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Kind, Seed};
    use proofmark_stats::random::{Purpose, StreamKey};

    use super::*;

    fn modality(kind: Kind, shape: &[usize]) -> Modality {
        Modality {
            name: "x".into(),
            kind,
            shape: shape.to_vec(),
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        }
    }

    fn image(shape: [usize; 3]) -> Canvas {
        Canvas::over(&Grid::channels_first(shape), None).unwrap()
    }

    fn stream(draw: u32) -> Stream {
        let mut key = StreamKey::new(Seed(1), 0, Purpose::Direction);
        key.draw = draw;
        Stream::new(&key)
    }

    /// The sides of the reference code for square images, after the halvings of the share.
    #[test]
    fn windows_have_the_sides_of_the_reference() {
        let sides = |side: usize| -> Vec<usize> {
            let canvas = image([3, side, side]);
            let window = |halvings: i32| canvas.window(0.8 * 0.5_f64.powi(halvings), 1);
            let all: Vec<[usize; 2]> = (0..8).map(window).collect();
            assert!(all.iter().all(|[h, w]| h == w));
            all.iter().map(|s| s[0]).collect()
        };
        assert_eq!(sides(28), [25, 18, 13, 9, 6, 4, 3, 2]);
        assert_eq!(sides(32), [29, 20, 14, 10, 7, 5, 4, 3]);
        assert_eq!(sides(224), [200, 142, 100, 71, 50, 35, 25, 18]);
    }

    #[test]
    fn windows_keep_their_area_where_a_side_is_too_short() {
        // 139 cells would not fit into 128 rows.
        assert_eq!(image([3, 128, 188]).window(0.8, 1), [128, 150]);
        assert_eq!(image([3, 188, 128]).window(0.8, 1), [150, 128]);
        assert_eq!(image([1, 1, 50]).window(0.8, 1), [1, 40]);
        assert_eq!(image([1, 50, 1]).window(0.8, 1), [40, 1]);
        assert_eq!(image([1, 1, 50]).window(0.001, 1), [1, 1]);
        assert_eq!(image([1, 2, 2]).window(0.1, 3), [2, 2]);
        assert_eq!(image([3, 128, 188]).window(1.0, 1), [128, 188]);
    }

    /// With every size of window, every cell is inside some window, and every position occurs.
    #[test]
    fn every_cell_is_reached() {
        for shape in [[3, 128, 188], [1, 1, 50], [2, 7, 3], [1, 9, 1], [3, 1, 1]] {
            let canvas = image(shape);
            let [height, width] = canvas.sides();
            for share in [1.0, 0.8, 0.4, 0.1, 0.01] {
                let size = canvas.window(share, 1);
                let (mut rows, mut columns) = (vec![false; height], vec![false; width]);
                let (mut tops, mut lefts) = (vec![false; height], vec![false; width]);
                let mut stream = stream(0);
                for _ in 0..4000 {
                    let w = canvas.draw(size, &mut stream);
                    rows[w.top..w.top + w.height].fill(true);
                    columns[w.left..w.left + w.width].fill(true);
                    (tops[w.top], lefts[w.left]) = (true, true);
                }
                let all = |v: &[bool]| v.iter().all(|b| *b);
                assert!(all(&rows) && all(&columns), "{shape:?} {share}");
                let positions = (&tops[..=height - size[0]], &lefts[..=width - size[1]]);
                assert!(all(positions.0) && all(positions.1), "{shape:?} {share}");
            }
        }
    }

    #[test]
    fn features_of_a_window_are_those_of_its_cells() {
        let canvas = image([2, 3, 4]);
        let window = Window {
            top: 1,
            left: 2,
            height: 2,
            width: 2,
        };
        let of = |channel| canvas.features(window, channel).collect::<Vec<_>>();
        assert_eq!(of(0), [6, 7, 10, 11]);
        assert_eq!(of(1), [18, 19, 22, 23]);
        assert_eq!(canvas.feature(2, 3, 1), 23);
        assert!(window.holds(2, 3) && !window.holds(0, 3) && !window.holds(1, 1));
    }

    /// As photographs lie in files and TensorFlow's models take them.
    #[test]
    fn channels_may_lie_last() {
        let last = Canvas::new(&modality(Kind::Image, &[6, 8, 3]), None).unwrap();
        let first = Canvas::new(&modality(Kind::Image, &[3, 6, 8]), None).unwrap();
        assert_eq!((last.sides(), last.channels()), ([6, 8], 3));
        let window = Window {
            top: 4,
            left: 5,
            height: 2,
            width: 3,
        };
        for channel in 0..3 {
            let turned = first.features(window, channel).map(|f| f % 48 * 3 + f / 48);
            assert!(last.features(window, channel).eq(turned), "{channel}");
            assert_eq!(last.feature(5, 7, channel), 141 + channel);
        }
        let patch: Vec<bool> = (0..144).map(|f| f / 3 % 8 >= 5).collect();
        let masked = Canvas::new(&modality(Kind::Image, &[6, 8, 3]), Some(&patch)).unwrap();
        assert_eq!((masked.sides(), masked.feature(0, 0, 1)), ([6, 3], 16));
    }

    #[test]
    fn masks_shrink_the_canvas_to_what_may_change() {
        let shape = [3, 6, 8];
        let input = modality(Kind::Image, &shape);
        let masked = |may: &dyn Fn(usize) -> bool| {
            let mask: Vec<bool> = (0..144).map(may).collect();
            Canvas::new(&input, Some(&mask))
        };
        // A patch of rows 2 to 3, columns 5 to 7, with one pixel frozen.
        let patch = |f: usize| {
            let (row, column) = (f % 48 / 8, f % 8);
            (2..4).contains(&row) && column >= 5 && (row, column) != (2, 5)
        };
        let canvas = masked(&patch).unwrap();
        assert_eq!((canvas.sides(), canvas.channels()), ([2, 3], 3));
        assert_eq!(canvas.feature(0, 0, 1), 48 + 21);
        for draw in 0..100 {
            let w = canvas.draw([1, 1], &mut stream(draw));
            assert_ne!((w.top, w.left), (0, 0), "the frozen pixel alone");
        }
        // Two far corners: a strip of two pixels.
        let corners = masked(&|f| f % 48 == 0 || f % 48 == 47).unwrap();
        assert_eq!(corners.sides(), [1, 2]);
        assert_eq!(corners.feature(0, 1, 2), 143);
        assert!(masked(&|_| false).is_none());
        let table = Canvas::new(
            &modality(Kind::Table, &[4]),
            Some(&[true, false, true, true]),
        );
        let table = table.unwrap();
        let features: Vec<usize> = table.features(table.whole(), 0).collect();
        assert_eq!(features, [0, 2, 3]);
        let flat = Canvas::new(&modality(Kind::Audio, &[5, 4]), None).unwrap();
        assert_eq!(flat.sides(), [1, 20]);
    }
}
