use burn::tensor::Device;
use prost::Message as _;

use crate::array::Array;
use crate::check::Case;
use crate::load::OnnxFile;
use crate::session::Session;
use crate::sketch::{graph, info, model, node};

fn floats(v: &[f32]) -> Array {
    Array::new([v.len()], v.to_vec())
}

fn scaled(x: Case, scales: &[f32]) -> Case {
    x.absent().host(floats(scales))
}

fn sized(x: Case, sizes: &[i64]) -> Case {
    x.absent().absent().host(Array::list(sizes.to_vec()))
}

fn image() -> Case {
    Case::new("Resize").scattered(&[1, 2, 4, 5], -1.0, 1.0)
}

#[test]
fn gradients() {
    for mode in ["nearest", "linear", "cubic"] {
        scaled(image(), &[1.0, 1.0, 2.0, 2.0])
            .text("mode", mode)
            .assert_gradient();
        scaled(image(), &[1.0, 1.0, 0.6, 1.5])
            .text("mode", mode)
            .assert_gradient();
        sized(image(), &[1, 2, 7, 3])
            .text("mode", mode)
            .assert_gradient();
        let coordinates = |c| {
            sized(image(), &[1, 2, 3, 8])
                .text("mode", mode)
                .text("coordinate_transformation_mode", c)
        };
        for c in [
            "align_corners",
            "asymmetric",
            "pytorch_half_pixel",
            "half_pixel_symmetric",
        ] {
            coordinates(c).assert_gradient();
        }
        image()
            .host(floats(&[0.0, 0.0, 0.2, -0.3, 1.0, 1.0, 0.8, 1.2]))
            .absent()
            .host(Array::list(vec![1, 2, 3, 8]))
            .text("mode", mode)
            .text("coordinate_transformation_mode", "tf_crop_and_resize")
            .float("extrapolation_value", 10.0)
            .assert_gradient();
    }
    scaled(image(), &[1.0, 1.0, 0.5, 0.4])
        .text("mode", "cubic")
        .int("antialias", 1)
        .assert_gradient();
    Case::new("Upsample")
        .scattered(&[1, 1, 2, 3], -1.0, 1.0)
        .host(floats(&[1.0, 1.0, 2.0, 3.0]))
        .opset(9)
        .text("mode", "linear")
        .assert_gradient();
}

/// Long axes use another computation.
#[test]
fn long_axes_agree_with_short_ones() {
    for mode in ["linear", "cubic"] {
        let long: Vec<f64> = (0..70).map(|i| f64::from(i * i % 17)).collect();
        let run = |v: &[f64]| {
            let x = Case::new("Resize").tracked(&[1, 1, v.len()], v.to_vec());
            scaled(x, &[1.0, 1.0, 2.0]).text("mode", mode)
        };
        let a = run(&long).run().unwrap()[0].to_f64().unwrap();
        let b = run(&long[..40]).run().unwrap()[0].to_f64().unwrap();
        for i in 0..76 {
            assert!((a[i] - b[i]).abs() < 1e-4, "{i}: {} and {}", a[i], b[i]);
        }
        run(&long).assert_gradient();
    }
}

#[test]
fn nearest_follows_the_rounding_mode() {
    let expected: [(&str, f32, &[f64]); 6] = [
        ("round_prefer_floor", 2.0, &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]),
        ("round_prefer_ceil", 2.0, &[1.0, 2.0, 2.0, 3.0, 3.0, 3.0]),
        ("round_prefer_floor", 1.5, &[1.0, 2.0, 2.0, 3.0]),
        ("round_prefer_ceil", 1.5, &[1.0, 2.0, 2.0, 3.0]),
        ("floor", 1.5, &[1.0, 1.0, 2.0, 3.0]),
        ("ceil", 1.5, &[1.0, 2.0, 3.0, 3.0]),
    ];
    for (mode, scale, expected) in expected {
        let on_device = Case::new("Resize").tracked(&[1, 3], vec![1.0, 2.0, 3.0]);
        let on_host = Case::new("Resize").host(Array::new([1, 3], vec![1i32, 2, 3]));
        for x in [on_device, on_host] {
            let y = scaled(x, &[1.0, scale])
                .text("coordinate_transformation_mode", "asymmetric")
                .text("nearest_mode", mode)
                .run()
                .unwrap();
            assert_eq!(y[0].to_f64().unwrap(), expected, "{mode}");
        }
    }
}

#[test]
fn old_versions_round_by_size() {
    let line = |scale: f32, opset: i64| {
        Case::new("Resize")
            .tracked(&[1, 4], vec![1.0, 2.0, 3.0, 4.0])
            .host(floats(&[1.0, scale]))
            .opset(opset)
            .run()
            .unwrap()[0]
            .to_f64()
            .unwrap()
    };
    assert_eq!(line(0.6, 10), [1.0, 3.0]);
    assert_eq!(line(1.5, 10), [1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
    let y = Case::new("Upsample")
        .tracked(&[1, 2], vec![1.0, 2.0])
        .floats("scales", &[1.0, 2.0])
        .opset(7)
        .run()
        .unwrap();
    assert_eq!(y[0].to_f64().unwrap(), [1.0, 1.0, 2.0, 2.0]);
}

#[test]
fn whole_numbers_are_picked_on_the_host() {
    let x = Case::new("Resize").host(Array::new([1, 2, 2], vec![1i64 << 60, 2, 3, 4]));
    let y = scaled(x, &[1.0, 1.0, 2.0])
        .text("coordinate_transformation_mode", "asymmetric")
        .text("nearest_mode", "floor")
        .run()
        .unwrap();
    let big = 1i64 << 60;
    assert_eq!(
        y[0],
        Array::new([1, 2, 4], vec![big, big, 2, 2, 3, 3, 4, 4])
    );
}

#[test]
fn invalid_shapes_and_attributes_are_errors() {
    let e = |c: Case| c.run().unwrap_err();
    assert!(e(image()).contains("neither"));
    assert!(e(scaled(image(), &[1.0])).contains("1 scales"));
    assert!(e(scaled(image(), &[1.0, 1.0, 0.0, 1.0])).contains("scale of 0"));
    assert!(e(scaled(image(), &[1.0, 1.0, f32::NAN, 1.0])).contains("scale of NaN"));
    assert!(e(scaled(image(), &[1.0, 1.0, 0.1, 1.0])).contains("resized to 0"));
    assert!(e(scaled(image(), &[1.0, 1.0, 1e7, 1.0])).contains("at most"));
    assert!(e(sized(image(), &[1, 2, -3, 4])).contains("size of -3"));
    assert!(e(sized(image(), &[1, 2, 3, 4]).text("mode", "sharp")).contains("`mode`"));
    assert!(e(sized(image(), &[1, 2, 3, 4]).text("nearest_mode", "up")).contains("nearest_mode"));
    assert!(e(sized(image(), &[3]).ints("axes", &[7])).contains("axis 7"));
    let crop = sized(image(), &[1, 2, 3, 4]);
    crop.text("coordinate_transformation_mode", "tf_crop_and_resize")
        .run()
        .unwrap();
}

/// Compares with values computed by hand: the last output lies on the last input, whatever length the scale implies.
fn aligned(shape: &[usize], x: &[f64], scales: &[f32], mode: &str, expected: &[f64]) {
    let x = Case::new("Resize").tracked(shape, x.to_vec());
    let y = scaled(x, scales)
        .text("mode", mode)
        .text("coordinate_transformation_mode", "align_corners")
        .run()
        .unwrap()[0]
        .to_f64()
        .unwrap();
    assert_eq!(y.len(), expected.len(), "{y:?}");
    for (y, e) in y.iter().zip(expected) {
        assert!((y - e).abs() < 1e-5, "{y} instead of {e} ({scales:?})");
    }
}

#[test]
fn corners_are_aligned_if_scale_times_length_is_not_whole() {
    let line = |x: &[f64], scale: f32, mode: &str, expected: &[f64]| {
        aligned(&[1, 1, x.len()], x, &[1.0, 1.0, scale], mode, expected);
    };
    // 4.5 gives 4 outputs, at 0, 2/3, 4/3 and 2.
    line(&[0.0, 3.0, 12.0], 1.5, "linear", &[0.0, 2.0, 6.0, 12.0]);
    line(&[0.0, 3.0, 12.0], 1.5, "nearest", &[0.0, 3.0, 3.0, 12.0]);
    // 2.4 gives 2 outputs: both ends. 1.2 gives 1: the first. 2.8 gives 2.
    line(&[5.0, 1.0, 2.0, 7.0], 0.6, "linear", &[5.0, 7.0]);
    line(&[5.0, 1.0, 2.0, 7.0], 0.3, "linear", &[5.0]);
    line(&[5.0, 1.0, 2.0, 7.0], 0.7, "cubic", &[5.0, 7.0]);
    // 3.75 gives 3 outputs, at 0, 2 and 4.
    line(&[1.0, 9.0, 4.0, 9.0, 6.0], 0.75, "linear", &[1.0, 4.0, 6.0]);
    // The curve halfway between equal steps lies halfway. 3 inputs times 1.7 is 5.1, which gives 5 outputs, at 0, 1/2,
    // 1, 3/2 and 2; the weights at 1/2 are -3/32, 19/32, 19/32 and -3/32, and the first input stands in for those
    // before it.
    let at = |a: f64, b: f64, c: f64, d: f64| (19.0 * (b + c) - 3.0 * (a + d)) / 32.0;
    let (a, b, c) = (2.0, 4.0, 10.0);
    let expected = [a, at(a, a, b, c), b, at(a, b, c, c), c];
    line(&[a, b, c], 1.7, "cubic", &expected);
    // Rows at 0, 2/3, 4/3 and 2, columns at 0 and 3.
    let image = [
        [0.0, 7.0, 7.0, 6.0],
        [3.0, 7.0, 7.0, 9.0],
        [12.0, 7.0, 7.0, 0.0],
    ];
    aligned(
        &[1, 1, 3, 4],
        image.as_flattened(),
        &[1.0, 1.0, 1.5, 0.7],
        "linear",
        &[0.0, 6.0, 2.0, 8.0, 6.0, 6.0, 12.0, 0.0],
    );
}

#[test]
fn a_single_output_in_pytorchs_coordinates_is_the_first_input() {
    for (mode, antialias) in [("linear", 0), ("cubic", 0), ("linear", 1), ("cubic", 1)] {
        let x = Case::new("Resize").tracked(&[1, 1, 2], vec![4.0, 9.0]);
        let y = scaled(x, &[1.0, 1.0, 0.6])
            .text("mode", mode)
            .int("antialias", antialias)
            .text("coordinate_transformation_mode", "pytorch_half_pixel")
            .run()
            .unwrap()[0]
            .to_f64()
            .unwrap();
        match (mode, antialias) {
            (_, 0) => assert_eq!(y, [4.0], "{mode}"),
            // The triangle is 1/0.6 wide: weights 1, and 0.4 twice, once for the first input repeated before itself.
            ("linear", _) => assert!((y[0] - (1.4 * 4.0 + 0.4 * 9.0) / 1.8).abs() < 1e-5, "{y:?}"),
            _ => assert!(4.0 < y[0] && y[0] < 6.5, "{y:?}"),
        }
    }
}

#[test]
fn cropping_scales_the_length_of_the_whole_axis() {
    let x = Case::new("Resize").tracked(&[1, 1, 5], vec![0.0, 1.0, 2.0, 3.0, 4.0]);
    let y = x
        .host(floats(&[0.0, 0.0, 0.25, 1.0, 1.0, 0.75]))
        .host(floats(&[1.0, 1.0, 0.6]))
        .text("mode", "linear")
        .text("coordinate_transformation_mode", "tf_crop_and_resize")
        .run()
        .unwrap();
    assert_eq!(y[0], Array::new([1, 1, 3], vec![1.0f32, 2.0, 3.0]));
}

#[test]
fn an_axis_that_keeps_its_length_is_left_where_onnxruntime_leaves_it() {
    // Twice as many rows, or the same number; 1.25 × 2 columns, rounded down to 2.
    for (rows, antialias, expected) in [(2.0, 0, 2.8), (2.0, 1, 4.0), (1.0, 0, 4.0), (1.0, 1, 4.0)]
    {
        let x = Case::new("Resize").tracked(&[1, 2], vec![0.0, 4.0]);
        let y = scaled(x, &[rows, 1.25])
            .text("mode", "linear")
            .int("antialias", antialias)
            .run()
            .unwrap()[0]
            .to_f64()
            .unwrap();
        // At 0.5 / 1.25 - 0.5, before the first input, and 1.5 / 1.25 - 0.5 = 0.7.
        assert_eq!(y[0], 0.0);
        assert!((y[1] - expected).abs() < 1e-6, "{rows} {antialias}: {y:?}");
    }
}

/// In double precision these fall on the other side; the expected values are those of onnxruntime 1.32.
#[test]
fn coordinates_are_computed_in_single_precision() {
    let picked = |n: usize, scale: f32, coordinates: &str, mode: &str| {
        let x = Case::new("Resize").tracked(&[1, n], (0..n).map(|i| i as f64).collect());
        scaled(x, &[1.0, scale])
            .text("coordinate_transformation_mode", coordinates)
            .text("nearest_mode", mode)
            .run()
            .unwrap()[0]
            .to_f64()
            .unwrap()
    };
    // 0.5 / 0.2 - 0.5 is 2; with the float nearest to 0.2, in double precision, it is a little less.
    let y = picked(11, 0.2, "pytorch_half_pixel", "floor");
    assert_eq!(y, [2.0, 7.0]);
    // 4 / (4/3) is 3.
    let y = picked(13, 4.0 / 3.0, "asymmetric", "floor");
    let expected = [0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 10, 11, 12];
    assert_eq!(y, expected.map(f64::from));
    // 9 / 1.2 is 7.4999995 in single precision, which counts as a half.
    assert_eq!(picked(13, 1.2, "asymmetric", "round_prefer_ceil")[9], 8.0);
    assert_eq!(picked(13, 1.2, "asymmetric", "round_prefer_floor")[9], 7.0);
    // 6.5 / 1.5 + 11/2 (1 - 16 / 16.5) - 0.5 is 4; with the adjustment of the ends in single precision, a little less.
    assert_eq!(picked(11, 1.5, "half_pixel_symmetric", "floor")[6], 3.0);
}

/// Returns a session of one Resize of `x`, whose last length is declared, or left open by -1.
fn session(length: i64, scale: f32, coordinates: &str) -> Session {
    let resize = node("Resize", &["x", "", "s"], &["y"])
        .text("mode", "linear")
        .text("coordinate_transformation_mode", coordinates);
    let mut g = graph(vec![resize], &["x"], &["y"]).constant("s", &floats(&[1.0, 1.0, scale]));
    g.input = vec![info("x", 1, &[1, 1, length])];
    let file = OnnxFile::decode("m", model(g).encode_to_vec(), None).unwrap();
    Session::new(file, &Device::flex()).unwrap()
}

#[test]
fn fractions_are_noted_once_for_each_length() {
    let run = |s: &Session, n: usize| {
        s.run(&[Array::new([1, 1, n], vec![1.0f32; n])]).unwrap();
        s.notes()
    };
    let open = session(-1, 1.5, "align_corners");
    // 1.5 × 4 is whole.
    assert!(run(&open, 4).is_empty());
    let [note] = &run(&open, 3)[..] else {
        panic!("{:?}", open.notes());
    };
    for word in ["align_corners", "scale 1.5 × length 3", "the 4 outputs"] {
        assert!(note.contains(word), "no `{word}` in: {note}");
    }
    assert_eq!(run(&open, 3).len(), 1);
    assert_eq!(run(&open, 5).len(), 2);
    // Other coordinates do not depend on the fraction, unless no length changes.
    assert!(run(&session(-1, 1.5, "half_pixel"), 3).is_empty());
    let [note] = &run(&session(-1, 1.1, "half_pixel"), 3)[..] else {
        panic!("one note");
    };
    assert!(note.contains("no length changes"), "{note}");
}

#[test]
fn a_crop_that_onnxruntime_skips_is_noted() {
    let resize = node("Resize", &["x", "r", "", "n"], &["y"])
        .text("mode", "linear")
        .text("coordinate_transformation_mode", "tf_crop_and_resize");
    let g = graph(vec![resize], &["x"], &["y"])
        .constant("r", &floats(&[0.0, 0.25, 1.0, 0.75]))
        .constant("n", &Array::list(vec![1, 5]));
    let file = OnnxFile::decode("m", model(g).encode_to_vec(), None).unwrap();
    let session = Session::new(file, &Device::flex()).unwrap();
    let x = Array::new([1, 5], vec![0.0f32, 1.0, 2.0, 3.0, 4.0]);
    let y = session.run(&[x]).unwrap();
    assert_eq!(y[0], Array::new([1, 5], vec![1.0f32, 1.5, 2.0, 2.5, 3.0]));
    let [note] = &session.notes()[..] else {
        panic!("{:?}", session.notes());
    };
    assert!(note.contains("onnxruntime does not crop it"), "{note}");
}
