use proofmark_domain::{Bounds, Grid, Kind, MapSpec, Modality, Seed};
use proofmark_stats::random::{Purpose, Stream, StreamKey};

use super::{Map, map};

fn image(shape: &[usize]) -> Modality {
    Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: shape.to_vec(),
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    }
}

fn stream(i: u64) -> Stream {
    Stream::new(&StreamKey::new(Seed(5), i, Purpose::Transform))
}

fn values(n: usize, i: u64) -> Vec<f32> {
    let mut stream = stream(1000 + i);
    (0..n).map(|_| stream.uniform()).collect()
}

fn of(text: &str, shape: &[usize]) -> std::sync::Arc<dyn Map> {
    map(&text.parse::<MapSpec>().unwrap(), &image(shape)).unwrap()
}

/// Images of one pixel a side and others that nobody tests, in both layouts.
const SHAPES: [&[usize]; 5] = [&[1, 6, 9], &[3, 7, 5], &[8, 8, 3], &[11, 4], &[1, 1, 1]];

#[test]
fn without_rotation_and_translation_an_image_is_the_same_to_the_bit() {
    for shape in SHAPES {
        let map = of("spatial", shape);
        let x = values(shape.iter().product(), 0);
        assert_eq!(map.apply(&x, &[0.0; 3], &mut stream(0)), x, "{shape:?}");
    }
}

#[test]
fn a_shift_by_whole_pixels_moves_every_value_and_pads_the_rest() {
    let (h, w) = (10, 20);
    for padding in ["zero", "edge"] {
        let map = of(&format!("spatial:shift=0.2:padding={padding}"), &[2, h, w]);
        let x = values(2 * h * w, 1);
        // All of the limits: two pixels down and four to the left.
        let moved = map.apply(&x, &[0.0, 1.0, -1.0], &mut stream(0));
        for c in 0..2 {
            for y in 0..h {
                for column in 0..w {
                    let (from_y, from_x) = (y as isize - 2, column as isize + 4);
                    let inside = from_y >= 0 && from_x < w as isize;
                    let source = (from_y.max(0) as usize) * w + from_x.min(w as isize - 1) as usize;
                    let expected = if inside || padding == "edge" {
                        x[c * h * w + source]
                    } else {
                        0.0
                    };
                    let got = moved[c * h * w + y * w + column];
                    assert!((got - expected).abs() < 1e-6, "{padding} {y} {column}");
                }
            }
        }
    }
    let map = of("spatial:degrees=45:shift=0.2", &[2, h, w]);
    assert_eq!(map.shown(&[-1.0, 0.5, 1.0]), [-45.0, 1.0, 4.0]);
}

#[test]
fn a_quarter_turn_moves_every_value_and_leaves_a_symmetric_image() {
    let n = 7;
    let map = of("spatial:degrees=90:shift=0", &[1, n, n]);
    let x = values(n * n, 2);
    let turned = map.apply(&x, &[1.0, 0.0, 0.0], &mut stream(0));
    for y in 0..n {
        for column in 0..n {
            let expected = x[(column) * n + (n - 1 - y)];
            let other = x[(n - 1 - column) * n + y];
            let got = turned[y * n + column];
            let close = |v: f32| (got - v).abs() < 1e-5;
            assert!(close(expected) || close(other), "{y} {column}");
        }
    }
    // The mean over the four quarter turns is symmetric: no further turn changes it.
    let mut symmetric = vec![0.0; n * n];
    let mut copy = x;
    for _ in 0..4 {
        symmetric
            .iter_mut()
            .zip(&copy)
            .for_each(|(s, c)| *s += c / 4.0);
        copy = map.apply(&copy, &[1.0, 0.0, 0.0], &mut stream(0));
    }
    let again = map.apply(&symmetric, &[1.0, 0.0, 0.0], &mut stream(0));
    for (a, b) in again.iter().zip(&symmetric) {
        assert!((a - b).abs() < 1e-5);
    }
}

#[test]
fn gradients_are_pulled_back_by_the_transposed_jacobian() {
    for (text, step, rough) in [
        ("spatial:degrees=40:shift=0.3", 1e-3_f32, 2e-2),
        ("spatial:degrees=40:shift=0.3:padding=edge", 1e-3, 2e-2),
        ("patch:share=0.08:shape=round", 1e-2, 1e-3),
        ("patch:share=0.08:degrees=30:scale=1.3", 1e-2, 1e-3),
    ] {
        for shape in [&[2, 14, 11][..], &[12, 16, 3]] {
            let map = of(text, shape);
            let (n, p) = (shape.iter().product(), map.parameters().features());
            // Smooth, so that bilinear kinks are small.
            let grid = Grid::of(&image(shape)).unwrap();
            let mut x = vec![0.0; n];
            for c in 0..grid.channels {
                for pixel in 0..grid.pixels() {
                    let (y, column) = (pixel / grid.width, pixel % grid.width);
                    let wave = (y as f32 / 5.0 + c as f32).sin() * (column as f32 / 4.0).cos();
                    x[grid.feature(c, pixel)] = 0.5 + 0.3 * wave;
                }
            }
            let at: Vec<f32> = values(p, 3).iter().map(|v| v - 0.5).collect();
            let g: Vec<f32> = values(n, 4).iter().map(|v| v - 0.5).collect();
            let back = map.pull_back(&x, &at, &g, &mut stream(7));
            let value = |at: &[f32]| -> f64 {
                let moved = map.apply(&x, at, &mut stream(7));
                moved
                    .iter()
                    .zip(&g)
                    .map(|(m, g)| f64::from(*m) * f64::from(*g))
                    .sum()
            };
            let mut largest = 0.0_f64;
            let mut off = 0.0_f64;
            for i in 0..p {
                let (mut up, mut down) = (at.clone(), at.clone());
                up[i] += step;
                down[i] -= step;
                let slope = (value(&up) - value(&down)) / f64::from(up[i] - down[i]);
                largest = largest.max(slope.abs());
                off = off.max((slope - f64::from(back[i])).abs());
            }
            assert!(
                largest > 0.0 && off < rough * largest,
                "{text} {shape:?}: {off} of {largest}"
            );
        }
    }
}

#[test]
fn a_patch_covers_its_share_anywhere_inside_and_nothing_else_changes() {
    for (text, least, most) in [
        ("patch:share=0.09:degrees=0:scale=1", 0.083, 0.084),
        (
            "patch:share=0.09:shape=round:degrees=180:scale=1",
            0.075,
            0.105,
        ),
        ("patch:share=0.09:degrees=45:scale=1.3", 0.045, 0.165),
    ] {
        let (h, w) = (30, 40);
        let map = of(text, &[3, h, w]);
        let p = map.parameters().features();
        let x = vec![0.25; 3 * h * w];
        let mut places = std::collections::BTreeSet::new();
        let mut touched = vec![false; h * w];
        for draw in 0..200 {
            let pasted = map.apply(&x, &vec![1.0; p], &mut stream(draw));
            let changed: Vec<usize> = (0..h * w).filter(|i| pasted[*i] != 0.25).collect();
            assert!(changed.iter().all(|i| (pasted[*i] - 1.0).abs() < 1e-6));
            let share = changed.len() as f64 / (h * w) as f64;
            assert!((least..=most).contains(&share), "{text}: {share}");
            for i in &changed {
                touched[*i] = true;
            }
            places.insert(changed);
        }
        assert!(places.len() > 100);
        // The edge is reached less often, since all of the patch is inside.
        let reached = touched.iter().filter(|t| **t).count();
        assert!(reached > h * w * 3 / 4, "{text}: {reached}");
    }
}

#[test]
fn a_patch_that_stays_upright_is_copied() {
    let map = of("patch:share=0.04:degrees=0:scale=1", &[1, 20, 20]);
    assert_eq!(map.parameters().shape, [1, 4, 4]);
    let at: Vec<f32> = (0..16).map(|i| -1.0 + i as f32 / 8.0).collect();
    let shown = map.shown(&at);
    assert!((shown[0] - 0.0).abs() < 1e-6 && (shown[15] - 0.9375).abs() < 1e-6);
    let pasted = map.apply(&[0.5; 400], &at, &mut stream(3));
    // Its centre falls between pixels, so values are mixed, within those of the patch.
    let under: Vec<f32> = pasted.into_iter().filter(|v| *v != 0.5).collect();
    assert!((14..=25).contains(&under.len()), "{}", under.len());
    assert!(under.iter().all(|v| (0.0..=0.9375).contains(v)));
    assert!(under.windows(2).filter(|w| w[0] < w[1]).count() >= under.len() - 1 - 4);
}

#[test]
fn tables_and_patches_larger_than_the_image_are_refused() {
    let spec = |text: &str| text.parse::<MapSpec>().unwrap();
    let table = Modality {
        kind: Kind::Table,
        ..image(&[7])
    };
    let told = map(&spec("spatial"), &table).unwrap_err();
    assert!(told.contains("no image"), "{told}");
    let told = map(&spec("patch:share=1"), &image(&[1, 8, 8])).unwrap_err();
    assert!(
        told.contains("the image of input `image` is 8 × 8"),
        "{told}"
    );
    // Upright and unscaled, all of a square image may be covered.
    assert!(map(&spec("patch:share=1:degrees=0:scale=1"), &image(&[1, 8, 8])).is_ok());
    assert!(
        map(
            &spec("patch:share=0.5:degrees=0:scale=1"),
            &image(&[1, 4, 50])
        )
        .is_err()
    );
}
