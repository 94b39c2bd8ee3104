//! The L2 and L1 proposals of Square: a window gets the shape of two pyramids and the mass of another window.

use proofmark_domain::Norm;
use proofmark_stats::random::Stream;
use proofmark_threat::Draw;

use super::canvas::{Canvas, Window};

/// Least side of a window, unless the canvas is narrower.
const LEAST: usize = 3;

/// Tiles along each side of the start.
const TILES: usize = 5;

/// A length below which a vector has no direction.
const NOTHING: f64 = 1e-9;

/// Arithmetic of the norm: sizes add up over features, and a length is a root of a sum of sizes.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    square: bool,
}

impl Sizes {
    fn of(norm: Norm) -> Self {
        Self {
            square: norm == Norm::L2,
        }
    }

    fn size(self, v: f64) -> f64 {
        if self.square { v * v } else { v.abs() }
    }

    fn length(self, size: f64) -> f64 {
        if self.square { size.sqrt() } else { size }
    }

    fn total(self, values: impl IntoIterator<Item = f64>) -> f64 {
        values.into_iter().map(|v| self.size(v)).sum()
    }

    /// Power of the rings of a pyramid: an L1 pyramid is steeper.
    fn power(self) -> i32 {
        if self.square { 2 } else { 4 }
    }
}

/// Returns a pyramid of unit length, row by row: rings of cells around the centre, ring `k` of height
/// `Σ_{j ≥ k} 1 / (j + 1)^power`.
fn pyramid(height: usize, width: usize, sizes: Sizes) -> Vec<f64> {
    let (row, column) = (height / 2, width / 2);
    let rings = row.max(column) + 1;
    let mut heights = vec![0.0; rings];
    let mut above = 0.0;
    for k in (0..rings).rev() {
        above += ((k + 1) as f64).powi(-sizes.power());
        heights[k] = above;
    }
    let ring = |i: usize| (i / width).abs_diff(row).max((i % width).abs_diff(column));
    let all: Vec<f64> = (0..height * width).map(|i| heights[ring(i)]).collect();
    scaled(all, sizes)
}

/// Returns a vector at unit length.
fn scaled(mut values: Vec<f64>, sizes: Sizes) -> Vec<f64> {
    let length = sizes.length(sizes.total(values.iter().copied()));
    for v in &mut values {
        *v /= length.max(f64::MIN_POSITIVE);
    }
    values
}

/// Returns two pyramids of opposite signs side by side, of unit length, row by row: one above the other, or beside it
/// if `turned`. A window of one row is always split along its columns.
fn eta([height, width]: [usize; 2], turned: bool, sizes: Sizes) -> Vec<f64> {
    let across = (turned && width > 1) || height == 1;
    let (along, other) = if across {
        (width, height)
    } else {
        (height, width)
    };
    let first = along / 2;
    // Built with the split along the rows, then read turned if it is along the columns.
    let mut halves = Vec::new();
    for (rows, sign) in [(first, 1.0), (along - first, -1.0)] {
        let (h, w) = if across { (other, rows) } else { (rows, other) };
        let half = if rows == 0 {
            Vec::new()
        } else {
            pyramid(h, w, sizes)
        };
        halves.push((half, w, sign));
    }
    let value = |i: usize| {
        let (row, column) = (i / width, i % width);
        let place = if across { column } else { row };
        let (half, w, sign) = &halves[usize::from(place >= first)];
        let (row, column) = match (place >= first, across) {
            (false, _) => (row, column),
            (true, true) => (row, column - first),
            (true, false) => (row - first, column),
        };
        sign * half[row * w + column]
    };
    scaled((0..height * width).map(value).collect(), sizes)
}

/// Returns ±1.
fn sign(stream: &mut Stream) -> f64 {
    if stream.next_u32() & 1 == 0 {
        1.0
    } else {
        -1.0
    }
}

/// Sets the start of a row: the canvas in tiles, each a window of pyramids with its own sign per channel, at the full
/// budget.
pub(super) fn tiles(canvas: &Canvas, draw: &mut Draw<'_>, stream: &mut Stream) {
    let sizes = Sizes::of(draw.norm);
    let sides = canvas.sides();
    let tile = sides.map(|side| (side / TILES).max(1));
    let [rows, columns] = [0, 1].map(|i| sides[i] / tile[i]);
    let [top, left] = [0, 1].map(|i| sides[i] % tile[i] / 2);
    let mut delta = vec![0.0; draw.x.len()];
    for at in 0..rows * columns {
        let bump = eta(tile, stream.next_u32() & 1 == 1, sizes);
        let window = Window {
            top: top + at / columns * tile[0],
            left: left + at % columns * tile[1],
            height: tile[0],
            width: tile[1],
        };
        for channel in 0..canvas.channels() {
            let sign = sign(stream);
            for (f, v) in canvas.features(window, channel).zip(&bump) {
                delta[f] = sign * v;
            }
        }
    }
    fill(draw, &delta, sizes);
}

/// Proposes a change of a row: one window loses its mass (its share of the budget), another gets it, as a pyramid added
/// to the window's present direction. Budget that is not used yet goes to the second window too.
pub(super) fn transfer(canvas: &Canvas, draw: &mut Draw<'_>, share: f64, stream: &mut Stream) {
    let sizes = Sizes::of(draw.norm);
    // An odd side has a centre; a side of the whole canvas stays.
    let mut window = canvas.window(share, LEAST);
    for (side, most) in window.iter_mut().zip(canvas.sides()) {
        *side = (*side | 1).min(most);
    }
    let (to, from) = (canvas.draw(window, stream), canvas.draw(window, stream));
    let bump = eta(window, stream.next_u32() & 1 == 1, sizes);
    let signs: Vec<f64> = (0..canvas.channels()).map(|_| sign(stream)).collect();
    move_mass(canvas, draw, [from, to], &bump, &signs);
}

/// Moves the mass of `from` to `to`, whose direction gets `bump` added with each channel's sign.
fn move_mass(
    canvas: &Canvas,
    draw: &mut Draw<'_>,
    [from, to]: [Window; 2],
    bump: &[f64],
    signs: &[f64],
) {
    let sizes = Sizes::of(draw.norm);
    let pairs = draw.x.iter().zip(draw.x0.iter());
    let mut delta: Vec<f64> = pairs
        .map(|(x, x0)| f64::from(*x) - f64::from(*x0))
        .collect();
    let used = sizes.total(delta.iter().copied());
    let unused = (sizes.size(draw.eps) - used).max(0.0) / canvas.channels() as f64;
    for (channel, sign) in signs.iter().enumerate() {
        let target: Vec<usize> = canvas.features(to, channel).collect();
        let own = sizes.total(target.iter().map(|f| delta[*f]));
        let mut mass = own;
        for row in from.top..from.top + from.height {
            for column in from.left..from.left + from.width {
                if !to.holds(row, column) {
                    let given = &mut delta[canvas.feature(row, column, channel)];
                    mass += sizes.size(*given);
                    *given = 0.0;
                }
            }
        }
        let length = sizes.length(own);
        let may = |f: usize| draw.lower[f] < draw.upper[f];
        let shape = |with: f64| -> Vec<f64> {
            let cells = target.iter().zip(bump);
            cells
                .map(|(f, v)| {
                    if may(*f) {
                        sign * v + with * delta[*f]
                    } else {
                        0.0
                    }
                })
                .collect()
        };
        let old = if length > NOTHING * draw.eps {
            1.0 / length
        } else {
            0.0
        };
        let mut new = shape(old);
        if sizes.length(sizes.total(new.iter().copied())) < NOTHING {
            // The pyramid cancelled the window's direction.
            new = shape(0.0);
        }
        let reach = sizes.length(mass + unused);
        for (f, v) in target.into_iter().zip(scaled(new, sizes)) {
            delta[f] = reach * v;
        }
    }
    fill(draw, &delta, sizes);
}

/// Moves the clean row along `delta` as far as spends the whole budget after clipping to the box, or as far as the box
/// allows.
fn fill(draw: &mut Draw<'_>, delta: &[f64], sizes: Sizes) {
    let room = |f: usize, d: f64| {
        let end = if d > 0.0 {
            draw.upper[f]
        } else {
            draw.lower[f]
        };
        (f64::from(end) - f64::from(draw.x0[f])).abs()
    };
    let rooms: Vec<f64> = delta.iter().enumerate().map(|(f, d)| room(f, *d)).collect();
    let mut by = 0.0;
    loop {
        let (mut full, mut open) = (0.0, 0.0);
        for (d, room) in delta.iter().zip(&rooms) {
            if by * d.abs() < *room {
                open += sizes.size(*d);
            } else {
                full += sizes.size(*room);
            }
        }
        let next = sizes.length((sizes.size(draw.eps) - full).max(0.0) / open);
        // Also false for 0/0 and for no open feature: once the set of full features stops growing, so does `by`.
        if next > by && next.is_finite() {
            by = next;
        } else {
            break;
        }
    }
    for (f, d) in delta.iter().enumerate() {
        let to = (f64::from(draw.x0[f]) + by * d) as f32;
        draw.x[f] = to.clamp(draw.lower[f], draw.upper[f]);
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Kind, Modality, Seed};
    use proofmark_stats::random::{Purpose, StreamKey};
    use proofmark_threat::row;

    use super::*;

    const L2: Sizes = Sizes { square: true };
    const L1: Sizes = Sizes { square: false };

    fn near(a: &[f64], b: &[f64]) {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(
            a.len() == b.len() && a.iter().zip(b).all(close),
            "{a:?} {b:?}"
        );
    }

    /// A 3x3 pyramid: the centre is 1 + 1/4, the ring around it 1/4.
    #[test]
    fn pyramids_by_hand() {
        let length = (1.25_f64.powi(2) + 8.0 * 0.25_f64.powi(2)).sqrt();
        let (edge, top) = (0.25 / length, 1.25 / length);
        let mut expected = [edge; 9];
        expected[4] = top;
        near(&pyramid(3, 3, L2), &expected);
        // In L1, 1 + 1/16 and 1/16.
        let length = 17.0 / 16.0 + 8.0 / 16.0;
        let mut expected = [1.0 / 16.0 / length; 9];
        expected[4] = 17.0 / 16.0 / length;
        near(&pyramid(3, 3, L1), &expected);
        // One row of three, split into one cell and two, each half of unit length. The centre of two cells is the
        // second.
        let two = (0.25_f64.powi(2) + 1.25_f64.powi(2)).sqrt();
        let half = 0.5_f64.sqrt();
        let row = [half, -half * 0.25 / two, -half * 1.25 / two];
        near(&eta([1, 3], false, L2), &row);
        near(&eta([3, 1], true, L2), &row);
        near(&eta([1, 1], false, L2), &[-1.0]);
    }

    #[test]
    fn turned_pyramids_are_transposed() {
        for sizes in [L2, L1] {
            let (plain, turned) = (eta([5, 5], false, sizes), eta([5, 5], true, sizes));
            let transposed: Vec<f64> = (0..25).map(|i| turned[i % 5 * 5 + i / 5]).collect();
            near(&plain, &transposed);
            assert!((sizes.total(plain) - 1.0).abs() < 1e-12);
        }
    }

    fn strip(features: usize) -> Canvas {
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![features],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        Canvas::new(&modality, None).unwrap()
    }

    fn window(left: usize, width: usize) -> Window {
        Window {
            top: 0,
            left,
            height: 1,
            width,
        }
    }

    /// The window of features 3 and 4 gives its mass of 0.3² + 0.4², and the 1 − 0.5² that is unused, to feature 0.
    #[test]
    fn mass_moves_by_hand() {
        let x0 = [0.0; 5];
        let mut x = [0.0, 0.0, 0.0, 0.3, 0.4];
        let mut draw = Draw {
            norm: Norm::L2,
            eps: 1.0,
            x: &mut x,
            x0: &x0,
            lower: &[-9.0; 5],
            upper: &[9.0; 5],
        };
        let windows = [window(3, 2), window(0, 2)];
        move_mass(&strip(5), &mut draw, windows, &[0.6, 0.8], &[-1.0]);
        let expected = [-0.6, -0.8, 0.0, 0.0, 0.0];
        assert!(
            x.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{x:?}"
        );
        // In L1 with half of the budget unused; the window's own direction is (0, 0, 1), so the pyramid is added to it.
        let mut x = [0.2, 0.0, 0.0, 0.0, 0.3];
        let mut draw = Draw {
            norm: Norm::L1,
            eps: 1.0,
            x: &mut x,
            x0: &x0,
            lower: &[-9.0; 5],
            upper: &[9.0; 5],
        };
        let windows = [window(0, 3), window(2, 3)];
        move_mass(&strip(5), &mut draw, windows, &[0.25, 0.5, 0.25], &[1.0]);
        // (0.25, 0.5, 1.25) of length 2, scaled to 0.2 + 0.3 + 0.5.
        let expected = [0.0, 0.0, 0.125, 0.25, 0.625];
        assert!(
            x.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{x:?}"
        );
    }

    #[test]
    fn the_whole_budget_is_spent_and_never_more() {
        let mut key = StreamKey::new(Seed(3), 0, Purpose::Direction);
        for norm in [Norm::L2, Norm::L1] {
            for (features, eps) in [(40, 0.5), (7, 0.2), (2, 0.1), (1, 0.05)] {
                let canvas = strip(features);
                let x0: Vec<f32> = (0..features).map(|f| (f % 5) as f32 / 4.0).collect();
                let (lower, upper) = (vec![0.0; features], vec![1.0; features]);
                let mut x = x0.clone();
                for step in 0..200 {
                    (key.step, key.draw) = (step, features as u32);
                    let mut stream = Stream::new(&key);
                    let mut draw = Draw {
                        norm,
                        eps,
                        x: &mut x,
                        x0: &x0,
                        lower: &lower,
                        upper: &upper,
                    };
                    if step == 0 {
                        tiles(&canvas, &mut draw, &mut stream);
                    } else {
                        transfer(&canvas, &mut draw, 0.3, &mut stream);
                    }
                    let spent = row::distance(norm, &x, &x0) / eps;
                    assert!(spent <= 1.0 + 1e-6, "{norm} {features} {step}: {spent}");
                    // Windows that only point out of the box leave a part of the budget unused.
                    assert!(spent > 0.999 || features < 8, "{norm} {step}: {spent}");
                    assert!(x.iter().all(|v| (0.0..=1.0).contains(v)));
                }
            }
        }
    }
}
