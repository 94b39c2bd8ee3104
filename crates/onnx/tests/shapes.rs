//! How samples are read as a model's input: never reinterpreted across axes, transposed only for a stated or declared
//! layout.

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{DecisionModel, Query, ScoreModel};
use proofmark_onnx::writer::{Attr, FLOAT, OnnxWriter};
use proofmark_onnx::{Array, Layout, OnnxFile, OnnxModel, OnnxOptions, Session};
use proofmark_threat::{Batch, host};

fn numbers(n: usize, salt: f64) -> Vec<f32> {
    (0..n)
        .map(|i| (2.0 * ((i as f64 + salt) * 0.618_033_988_749_894_9).fract() - 1.0) as f32)
        .collect()
}

fn modality(name: &str, shape: &[usize]) -> Modality {
    Modality {
        name: name.into(),
        kind: if shape.len() == 3 {
            Kind::Image
        } else {
            Kind::Table
        },
        shape: shape.to_vec(),
        bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
    }
}

fn file(bytes: &[u8]) -> OnnxFile {
    OnnxFile::decode("net.onnx", bytes.to_vec(), None).unwrap()
}

fn bind(bytes: &[u8], shape: &[usize], layout: Option<Layout>) -> Result<OnnxModel, String> {
    let mut options = OnnxOptions::default();
    options.layout = layout;
    OnnxModel::new(
        file(bytes),
        &[modality("x", shape)],
        &options,
        &Device::flex(),
    )
    .map_err(|e| e.to_string())
}

fn scores(model: &OnnxModel, values: &[f32]) -> Vec<f32> {
    let own = DecisionModel::signature(model).modalities.clone();
    let rows = values.len() / own[0].features();
    let x = Batch::from_host(own, vec![values.to_vec()], &Device::flex()).unwrap();
    let keys: Vec<u64> = (0..rows as u64).collect();
    host(&model.scores(&Query::one_per_row(x, &keys)).unwrap())
}

/// Returns the file's output for values that already have its shape.
fn runs(bytes: &[u8], shape: &[usize], values: &[f32]) -> Vec<f32> {
    let session = Session::new(file(bytes), &Device::flex()).unwrap();
    let x = Array::try_new(shape.to_vec(), values.to_vec()).unwrap();
    session.run(&[x]).unwrap()[0].to_f32().unwrap()
}

#[track_caller]
fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 1e-5, "{a:?}\n{b:?}");
    }
}

#[track_caller]
fn refused(result: Result<OnnxModel, String>, words: &[&str]) {
    let Err(problem) = result else {
        panic!("taken as it is");
    };
    for word in words {
        assert!(problem.contains(word), "no `{word}` in: {problem}");
    }
}

/// A file with four scores of the maximum over `axes`, with weights that distinguish the channels.
fn summed(dims: &str, channels: i64, axes: &[i64]) -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", FLOAT, dims)
        .integers("axes", axes)
        .constant("w", &[channels, 4], &numbers((channels * 4) as usize, 0.3))
        .node("Relu", &["x"], &["r"], &[])
        .node(
            "ReduceMax",
            &["r", "axes"],
            &["s"],
            &[("keepdims", Attr::Int(0))],
        )
        .node("MatMul", &["s", "w"], &["y"], &[])
        .output("y")
        .bytes()
}

/// A convolution over three channels (channels first), then the maximum of each map.
fn convolution(dims: &str) -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", FLOAT, dims)
        .constant("w", &[4, 3, 2, 2], &numbers(48, 0.7))
        .node("Conv", &["x", "w"], &["c"], &[])
        .node("GlobalMaxPool", &["c"], &["g"], &[])
        .node("Flatten", &["g"], &["y"], &[])
        .output("y")
        .bytes()
}

/// The same network as a file with channels last.
fn channels_last(dims: &str) -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", FLOAT, dims)
        .constant("w", &[4, 3, 2, 2], &numbers(48, 0.7))
        .node(
            "Transpose",
            &["x"],
            &["t"],
            &[("perm", Attr::Ints(vec![0, 3, 1, 2]))],
        )
        .node("Conv", &["t", "w"], &["c"], &[])
        .node("GlobalMaxPool", &["c"], &["g"], &[])
        .node("Flatten", &["g"], &["y"], &[])
        .output("y")
        .bytes()
}

/// A weighted sum of all values, flattened.
fn row(dims: &str, features: i64) -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", FLOAT, dims)
        .constant("w", &[features, 4], &numbers((features * 4) as usize, 0.3))
        .node("Flatten", &["x"], &["f"], &[])
        .node("MatMul", &["f", "w"], &["y"], &[])
        .output("y")
        .bytes()
}

/// Reorders `[c, h, w]` values of each sample to `[h, w, c]`.
fn to_last(values: &[f32], [c, h, w]: [usize; 3]) -> Vec<f32> {
    values
        .chunks(c * h * w)
        .flat_map(|sample| (0..h * w).flat_map(move |p| (0..c).map(move |k| sample[k * h * w + p])))
        .collect()
}

#[test]
fn axes_in_another_order_are_refused_with_both_shapes() {
    let signal = summed("N,3,100", 3, &[2]);
    let x = numbers(2 * 300, 0.0);
    let expected = runs(&signal, &[2, 3, 100], &x);
    // Shaped like data read from `[n, 3, 100]`, as declared, and flat.
    for shape in [&[1, 3, 100][..], &[3, 100], &[300]] {
        close(&scores(&bind(&signal, shape, None).unwrap(), &x), &expected);
    }
    for shape in [&[1, 100, 3][..], &[100, 3]] {
        let told = ["`x`", "[3, 100]", "[100, 3]", "another order", "transpose"];
        refused(bind(&signal, shape, None), &told);
    }
    refused(
        bind(&signal, &[1, 20, 15], None),
        &["[3, 100]", "[20, 15]", "as many values along other axes"],
    );
    refused(
        bind(&signal, &[1, 3, 99], None),
        &["[3, 100]", "[3, 99]", "297 values"],
    );
    // Height and width exchanged, in every layout.
    let image = convolution("N,3,12,16");
    for (shape, layout) in [
        ([3, 16, 12], None),
        ([16, 12, 3], None),
        ([3, 16, 12], Some(Layout::Nchw)),
        ([16, 12, 3], Some(Layout::Nchw)),
    ] {
        refused(bind(&image, &shape, layout), &["[3, 12, 16]", "transpose"]);
    }
    refused(
        bind(&summed("1,1,12,16", 16, &[1, 2]), &[1, 16, 12], None),
        &["[1, 12, 16]", "[1, 16, 12]", "transpose"],
    );
    // Images with flattened pixels may not be split into other axes, nor the reverse.
    refused(bind(&image, &[3, 192], None), &["[3, 12, 16]", "[3, 192]"]);
    // Exported for one sample, without a batch dimension.
    let bare = summed("3,100", 3, &[1]);
    refused(bind(&bare, &[100, 3], None), &["[3, 100]", "[100, 3]"]);
    close(
        &scores(&bind(&bare, &[3, 100], None).unwrap(), &x[..300]),
        &runs(&bare, &[3, 100], &x[..300]),
    );
}

#[test]
fn axes_of_length_one_may_be_added_or_dropped() {
    let sound = summed("N,1,50", 1, &[2]);
    let x = numbers(100, 0.0);
    let expected = runs(&sound, &[2, 1, 50], &x);
    for shape in [&[50][..], &[1, 50], &[1, 1, 50], &[50, 1]] {
        close(&scores(&bind(&sound, shape, None).unwrap(), &x), &expected);
    }
    let open = summed("N,1,L", 1, &[2]);
    close(&scores(&bind(&open, &[50], None).unwrap(), &x), &expected);
    let grey = row("N,1,5,10", 50);
    let expected = runs(&grey, &[2, 1, 5, 10], &x);
    for shape in [&[1, 5, 10][..], &[5, 10, 1], &[50]] {
        close(&scores(&bind(&grey, shape, None).unwrap(), &x), &expected);
    }
    refused(
        bind(&grey, &[1, 10, 5], None),
        &["[1, 5, 10]", "[1, 10, 5]"],
    );
}

#[test]
fn images_are_transposed_to_the_declared_layout() {
    let x = numbers(2 * 3 * 12 * 16, 0.0);
    let turned = to_last(&x, [3, 12, 16]);
    let first = convolution("N,3,12,16");
    let last = channels_last("N,12,16,3");
    let expected = runs(&first, &[2, 3, 12, 16], &x);
    for (bytes, layout) in [
        (&first, None),
        (&first, Some(Layout::Nchw)),
        (&last, None),
        (&last, Some(Layout::Nhwc)),
    ] {
        close(
            &scores(&bind(bytes, &[3, 12, 16], layout).unwrap(), &x),
            &expected,
        );
        close(
            &scores(&bind(bytes, &[12, 16, 3], layout).unwrap(), &turned),
            &expected,
        );
    }
    for (bytes, layout, words) in [
        (
            &last,
            Layout::Nchw,
            [
                "--layout nchw contradicts",
                "[N, 12, 16, 3]",
                "--layout nhwc",
            ],
        ),
        (
            &first,
            Layout::Nhwc,
            [
                "--layout nhwc contradicts",
                "[N, 3, 12, 16]",
                "--layout nchw",
            ],
        ),
    ] {
        for shape in [&[3, 12, 16][..], &[12, 16, 3], &[576]] {
            refused(bind(bytes, shape, Some(layout)), &words);
        }
    }
}

#[test]
fn a_layout_that_contradicts_the_file_is_refused() {
    for channels in [1, 3, 4] {
        let file = summed(&format!("N,12,16,{channels}"), channels, &[1, 2]);
        let shape = [12, 16, channels as usize];
        refused(
            bind(&file, &shape, Some(Layout::Nchw)),
            &["--layout nchw contradicts the file", "--layout nhwc"],
        );
        bind(&file, &shape, Some(Layout::Nhwc)).unwrap();
    }
}

#[test]
fn samples_of_the_declared_shape_are_not_transposed() {
    // Three by three pixels with three channels: every order fits, and the shapes are equal.
    let x = numbers(2 * 27, 0.0);
    for (bytes, layout) in [
        (convolution("N,3,3,3"), Layout::Nchw),
        (channels_last("N,3,3,3"), Layout::Nhwc),
    ] {
        let expected = runs(&bytes, &[2, 3, 3, 3], &x);
        for layout in [None, Some(layout)] {
            close(
                &scores(&bind(&bytes, &[3, 3, 3], layout).unwrap(), &x),
                &expected,
            );
        }
    }
}

#[test]
fn open_axes_need_a_stated_layout_or_one_that_alone_runs() {
    let x = numbers(2 * 3 * 5 * 6, 0.0);
    let turned = to_last(&x, [3, 5, 6]);
    let expected = runs(&convolution("N,3,5,6"), &[2, 3, 5, 6], &x);
    for dims in ["N,?,?,?", "N,c,h,w", "?,?,?,?"] {
        let bytes = convolution(dims);
        // The model runs on channels first only.
        close(
            &scores(&bind(&bytes, &[3, 5, 6], None).unwrap(), &x),
            &expected,
        );
        let told = [
            "[5, 6, 3]",
            "--layout nchw",
            "--layout nhwc",
            "runs as nchw only",
        ];
        refused(bind(&bytes, &[5, 6, 3], None), &told);
        for (shape, values) in [([3, 5, 6], &x), ([5, 6, 3], &turned)] {
            let model = bind(&bytes, &shape, Some(Layout::Nchw)).unwrap();
            close(&scores(&model, values), &expected);
        }
        let bytes = channels_last(dims);
        refused(
            bind(&bytes, &[3, 5, 6], None),
            &["--layout", "runs as nhwc only"],
        );
        close(
            &scores(&bind(&bytes, &[5, 6, 3], None).unwrap(), &turned),
            &expected,
        );
        for (shape, values) in [([3, 5, 6], &x), ([5, 6, 3], &turned)] {
            let model = bind(&bytes, &shape, Some(Layout::Nhwc)).unwrap();
            close(&scores(&model, values), &expected);
        }
        // A flattened input runs in any order.
        let bytes = row(dims, 90);
        refused(
            bind(&bytes, &[3, 5, 6], None),
            &["--layout nchw or --layout nhwc"],
        );
        let model = bind(&bytes, &[3, 5, 6], Some(Layout::Nhwc)).unwrap();
        close(&scores(&model, &x), &runs(&bytes, &[2, 5, 6, 3], &turned));
    }
    // The channels are declared, or the layout makes no difference.
    close(
        &scores(
            &bind(&convolution("N,3,h,w"), &[5, 6, 3], None).unwrap(),
            &turned,
        ),
        &expected,
    );
    let grey = row("N,?,?,?", 30);
    let y = numbers(60, 0.0);
    for shape in [[1, 5, 6], [5, 6, 1]] {
        close(
            &scores(&bind(&grey, &shape, None).unwrap(), &y),
            &runs(&grey, &[2, 1, 5, 6], &y),
        );
    }
    // Signals have no layout to state: the error of the failing node names the given shape.
    let signal = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,c,t")
        .constant("w", &[4, 3, 2], &numbers(24, 0.7))
        .node("Conv", &["x", "w"], &["c"], &[])
        .node("GlobalMaxPool", &["c"], &["g"], &[])
        .node("Flatten", &["g"], &["y"], &[])
        .output("y")
        .bytes();
    refused(
        bind(&signal, &[1, 100, 3], None),
        &[
            "Conv",
            "[N, c, t]",
            "axes in the order that the model wants",
        ],
    );
    refused(bind(&signal, &[300], None), &["does not settle it"]);
}

#[test]
fn a_flat_input_takes_images_in_the_stated_layout() {
    let bytes = row("N,90", 90);
    let x = numbers(2 * 90, 0.0);
    let expected = runs(&bytes, &[2, 90], &x);
    for shape in [&[90][..], &[1, 9, 10], &[9, 10], &[9, 10, 1]] {
        close(&scores(&bind(&bytes, shape, None).unwrap(), &x), &expected);
    }
    refused(
        bind(&bytes, &[3, 5, 6], None),
        &["[90]", "[3, 5, 6]", "channel by channel", "pixel by pixel"],
    );
    let turned = to_last(&x, [3, 5, 6]);
    // Whatever order the data have, the model gets the stated order.
    for (layout, in_order) in [(Layout::Nchw, &x), (Layout::Nhwc, &turned)] {
        let expected = runs(&bytes, &[2, 90], in_order);
        for (shape, given) in [([3, 5, 6], &x), ([5, 6, 3], &turned)] {
            let model = bind(&bytes, &shape, Some(layout)).unwrap();
            close(&scores(&model, given), &expected);
        }
    }
    refused(bind(&bytes, &[3, 5, 5], None), &["[90]", "75 values"]);
}

#[test]
fn each_of_several_inputs_is_checked_against_its_own_shape() {
    let bytes = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,3,5,6")
        .input_of("t", FLOAT, "N,4,7")
        .integers("xa", &[2, 3])
        .integers("ta", &[2])
        .constant("w", &[3, 4], &numbers(12, 0.3))
        .node(
            "ReduceMax",
            &["x", "xa"],
            &["xs"],
            &[("keepdims", Attr::Int(0))],
        )
        .node(
            "ReduceMax",
            &["t", "ta"],
            &["ts"],
            &[("keepdims", Attr::Int(0))],
        )
        .node("MatMul", &["xs", "w"], &["xw"], &[])
        .node("Add", &["xw", "ts"], &["y"], &[])
        .output("y")
        .bytes();
    let with = |x: &[usize], t: &[usize]| {
        let inputs = [modality("t", t), modality("x", x)];
        OnnxModel::new(
            file(&bytes),
            &inputs,
            &OnnxOptions::default(),
            &Device::flex(),
        )
        .map_err(|e| e.to_string())
    };
    assert!(with(&[3, 5, 6], &[1, 4, 7]).is_ok());
    assert!(with(&[5, 6, 3], &[4, 7]).is_ok());
    refused(with(&[3, 5, 6], &[1, 7, 4]), &["`t`", "[4, 7]", "[7, 4]"]);
    refused(
        with(&[3, 6, 5], &[1, 4, 7]),
        &["`x`", "[3, 5, 6]", "[3, 6, 5]"],
    );
}
