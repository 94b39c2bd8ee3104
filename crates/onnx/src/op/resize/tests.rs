use crate::array::Array;
use crate::check::Case;

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

/// Long axes are computed in another way.
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
fn the_nearest_is_what_the_mode_says() {
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
fn what_does_not_fit_is_an_error() {
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
