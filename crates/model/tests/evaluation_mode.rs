//! Models are evaluated, never trained: the gradient is that of the network in evaluation mode, and no other row of the
//! batch affects a row.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};
use proofmark_domain::{Bounds, Seed};
use proofmark_model::wrap::{Eot, GaussianNoise, Normalise};
use proofmark_model::{
    BurnModel, DecisionModel, Features, GradientModel, ModelError, Query, ScoreModel, load_weights,
    load_weights_from, save_weights,
};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::Batch;

#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    norm: BatchNorm,
    dropout: Dropout,
    out: Linear,
}

impl Net {
    fn new(device: &Device, seed: u64) -> Self {
        let net = Self {
            conv: Conv2dConfig::new([1, 4], [3, 3]).init(device),
            norm: BatchNormConfig::new(4).init(device),
            dropout: DropoutConfig::new(0.5).init(),
            out: LinearConfig::new(4 * 16, 3).init(device),
        };
        net.map(&mut Fill {
            stream: Stream::new(&StreamKey::new(Seed(seed), 0, Purpose::Data)),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.norm.forward(self.conv.forward(x));
        let x = self.dropout.forward(activation::relu(x));
        self.out.forward(x.flatten::<2>(1, 3))
    }
}

/// Fills every parameter with numbers from a stream.
struct Fill {
    stream: Stream,
}

impl burn::module::ModuleMapper for Fill {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<D>>,
    ) -> burn::module::Param<Tensor<D>> {
        let shape = param.val().shape();
        let device = param.val().device();
        // Scales and variances must be positive; weights may have any sign.
        let one = |s: &mut Stream| {
            if D == 1 {
                0.5 + s.uniform()
            } else {
                0.3 * s.normal()
            }
        };
        let values: Vec<f32> = (0..shape.num_elements())
            .map(|_| one(&mut self.stream))
            .collect();
        param.map(|_| Tensor::from_data(TensorData::new(values, shape), &device))
    }
}

fn model(device: &Device) -> BurnModel {
    let net = Net::new(device, 1);
    BurnModel::images(
        &net,
        [1, 6, 6],
        3,
        Bounds::uniform(0.0, 1.0).unwrap(),
        Net::forward,
    )
    .unwrap()
}

fn points(model: &impl DecisionModel, n: usize) -> Query {
    let mut stream = Stream::new(&StreamKey::new(Seed(9), 1, Purpose::Data));
    let f = model.signature().modalities[0].features();
    let values = (0..n * f).map(|_| stream.uniform()).collect();
    let x = Batch::from_host(
        model.signature().modalities.clone(),
        vec![values],
        &Device::flex(),
    )
    .unwrap();
    Query::one_per_row(x, &(0..n as u64).collect::<Vec<_>>())
}

fn host<const D: usize>(t: &Tensor<D>) -> Vec<f32> {
    proofmark_threat::host(t)
}

fn first_class(scores: &Tensor<2>, _: &Batch) -> Tensor<1> {
    let n = scores.dims()[0];
    scores.clone().slice([0..n, 0..1]).squeeze_dim::<1>(1)
}

#[test]
fn a_module_built_for_training_is_attacked_as_it_is_evaluated() {
    // On a training device BatchNorm would use batch statistics and Dropout would be on.
    for device in [Device::flex(), Device::flex().autodiff()] {
        let model = model(&device);
        let query = points(&model, 8);
        let plain = host(&model.scores(&query).unwrap());
        let graded = model.gradient(&query, &first_class).unwrap();
        assert_eq!(
            plain,
            host(&graded.scores),
            "tracked and plain logits agree"
        );
        assert_eq!(
            host(&model.gradient(&query, &first_class).unwrap().loss),
            host(&graded.loss)
        );

        // Finite differences of the untracked path match the gradient of the tracked one.
        let gradient = host(&graded.gradient.blocks()[0]);
        let h = 1e-2_f32;
        for feature in [0, 7, 35] {
            let moved = |by: f32| {
                let mut v = query.x.to_host();
                v[0][feature] += by;
                let x = Batch::from_host(query.x.modalities().clone(), v, &Device::flex()).unwrap();
                host(&model.scores(&query.with_x(x)).unwrap())[0]
            };
            let numeric = (moved(h) - moved(-h)) / (2.0 * h);
            assert!(
                (numeric - gradient[feature]).abs() < 2e-2,
                "{numeric} {}",
                gradient[feature]
            );
        }
    }
}

#[test]
fn no_batch_mate_leaks_into_a_row() {
    let model = model(&Device::flex().autodiff());
    let query = points(&model, 8);
    let before = model.gradient(&query, &first_class).unwrap();
    let mut v = query.x.to_host();
    let f = v[0].len() / 8;
    for x in &mut v[0][f..] {
        *x = 1.0 - *x;
    }
    let x = Batch::from_host(query.x.modalities().clone(), v, &Device::flex()).unwrap();
    let after = model.gradient(&query.with_x(x), &first_class).unwrap();
    assert_eq!(host(&before.scores)[..3], host(&after.scores)[..3]);
    assert_eq!(
        host(&before.gradient.blocks()[0])[..f],
        host(&after.gradient.blocks()[0])[..f]
    );
}

#[test]
fn digests_follow_weights_and_behaviour() {
    let device = Device::flex();
    let digest = |m: &BurnModel| DecisionModel::signature(m).sha256.clone();
    assert_eq!(digest(&model(&device)), digest(&model(&device)));
    let bounds = || Bounds::uniform(0.0, 1.0).unwrap();
    let other =
        BurnModel::images(&Net::new(&device, 2), [1, 6, 6], 3, bounds(), Net::forward).unwrap();
    assert_ne!(digest(&model(&device)), digest(&other));

    let inputs = DecisionModel::signature(&other).modalities.to_vec();
    let closure = |k: f32| {
        BurnModel::closure(inputs.clone(), 2, &device, move |x| {
            let s = x[0].clone().sum_dim(1);
            Tensor::cat(vec![s.clone(), s * k], 1)
        })
        .unwrap()
    };
    assert_eq!(digest(&closure(2.0)), digest(&closure(2.0)));
    assert_ne!(digest(&closure(2.0)), digest(&closure(3.0)));
}

#[test]
fn weights_survive_a_round_trip_and_bad_files_are_named() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.safetensors");
    let net = Net::new(&device, 1);
    save_weights(&net, &file).unwrap();
    let mut other = Net::new(&device, 2);
    load_weights(&mut other, &file).unwrap();
    let x = Tensor::<4>::ones([2, 1, 6, 6], &device);
    assert_eq!(
        host(&net.valid().forward(x.clone())),
        host(&other.valid().forward(x))
    );

    let missing = load_weights(&mut other, &folder.path().join("no.safetensors")).unwrap_err();
    assert!(missing.to_string().contains("no such file"));
    let bytes = std::fs::read(&file).unwrap();
    for bad in [&bytes[..bytes.len() / 2], b"not a file", b""] {
        assert!(load_weights_from(&mut other, bad).is_err());
    }
}

#[test]
fn normalisation_is_part_of_the_gradient() {
    let device = Device::flex();
    let query = points(&model(&device), 4);
    let wrapped = Normalise::new(model(&device), 2.0, &[0.25], &[0.5]).unwrap();
    let inside = query.x.map(|b| (b * 2.0 - 0.25) / 0.5);
    let inner = model(&device)
        .gradient(&query.with_x(inside), &first_class)
        .unwrap();
    let outer = wrapped.gradient(&query, &first_class).unwrap();
    assert_eq!(host(&inner.scores), host(&outer.scores));
    for (a, b) in host(&inner.gradient.blocks()[0])
        .iter()
        .zip(host(&outer.gradient.blocks()[0]))
    {
        assert!((a * 4.0 - b).abs() <= 1e-6 * b.abs().max(1.0));
    }
    for (scale, mean, std) in [(0.0, 0.0, 1.0), (1.0, f32::NAN, 1.0), (1.0, 0.0, 0.0)] {
        assert!(Normalise::new(model(&device), scale, &[mean], &[std]).is_err());
    }
    let error = Normalise::new(model(&device), 1.0, &[0.0, 0.0], &[1.0]).unwrap_err();
    assert!(matches!(error, ModelError::Signature { .. }));
}

#[test]
fn eot_is_a_repeatable_mean_that_costs_one_forward_per_draw() {
    let device = Device::flex();
    let noisy =
        |draws| Eot::new(model(&device), GaussianNoise { sigma: 0.1 }, draws, Seed(3)).unwrap();
    let query = points(&model(&device), 4);
    let wrapped = noisy(8);
    assert_eq!(DecisionModel::cost(&wrapped), 8);
    let scores = host(&wrapped.scores(&query).unwrap());
    assert_eq!(
        scores,
        host(&wrapped.scores(&query).unwrap()),
        "a fixed function of (seed, sample, draw)"
    );
    assert_ne!(scores, host(&model(&device).scores(&query).unwrap()));
    // A deterministic model under zero noise is unchanged, gradients included.
    let still = Eot::new(model(&device), GaussianNoise { sigma: 0.0 }, 3, Seed(3)).unwrap();
    let (a, b) = (
        still.gradient(&query, &first_class).unwrap(),
        model(&device).gradient(&query, &first_class).unwrap(),
    );
    for (a, b) in host(&a.gradient.blocks()[0])
        .iter()
        .zip(host(&b.gradient.blocks()[0]))
    {
        assert!((a - b).abs() < 1e-5);
    }
    assert!(Eot::new(model(&device), GaussianNoise { sigma: 0.1 }, 0, Seed(3)).is_err());
}

#[test]
fn named_layers_can_be_read() {
    let model = model(&Device::flex()).with_taps(["sum"], |x, _| x[0].clone().sum_dim(1));
    let query = points(&model, 4);
    assert_eq!(model.taps(), ["sum"]);
    assert_eq!(model.features(&query, &["sum"]).unwrap()[0].dims(), [4, 1]);
    assert!(
        model
            .features(&query, &["smu"])
            .unwrap_err()
            .to_string()
            .contains("no layer `smu`")
    );

    let sums = host(&model.features(&query, &["sum"]).unwrap()[0]);
    wrappers_read_the_inner_layers(&query, &sums);
}

/// The layers are read at the points that the inner model receives.
fn wrappers_read_the_inner_layers(query: &Query, sums: &[f32]) {
    let tapped = || model(&Device::flex()).with_taps(["sum"], |x, _| x[0].clone().sum_dim(1));
    let halved = Normalise::new(tapped(), 0.5, &[0.0], &[1.0]).unwrap();
    assert_eq!(halved.taps(), ["sum"]);
    let read = host(&halved.features(query, &["sum"]).unwrap()[0]);
    for (sum, half) in sums.iter().zip(read) {
        assert!((sum * 0.5 - half).abs() <= 1e-4 * sum.abs(), "{sum} {half}");
    }
    let drawn = |sigma, draws| {
        let eot = Eot::new(tapped(), GaussianNoise { sigma }, draws, Seed(3)).unwrap();
        let read = eot.features(query, &["sum"]).unwrap();
        assert_eq!(read[0].dims(), [4, 1]);
        host(&read[0])
    };
    for (sum, mean) in sums.iter().zip(drawn(0.0, 3)) {
        assert!((sum - mean).abs() <= 1e-4 * sum.abs(), "{sum} {mean}");
    }
    let off = |draws| -> f32 {
        let read = drawn(0.1, draws);
        sums.iter().zip(read).map(|(a, b)| (a - b).abs()).sum()
    };
    assert!(off(1) > off(400) && off(400) > 0.0, "means of the draws");
}

/// A linear layer over any input.
#[derive(Module, Debug)]
struct Head {
    out: Linear,
}

impl Head {
    fn new(width: usize) -> Self {
        let head = Self {
            out: LinearConfig::new(width, 2).init(&Device::flex()),
        };
        head.map(&mut Fill {
            stream: Stream::new(&StreamKey::new(Seed(4), 0, Purpose::Data)),
        })
    }
}

#[test]
fn waveforms_tables_and_several_inputs_make_models() {
    let bounds = || Bounds::uniform(-1.0, 1.0).unwrap();
    let wave =
        BurnModel::waveforms(&Head::new(20), 20, 2, bounds(), |m, x| m.out.forward(x)).unwrap();
    let table = BurnModel::tables(&Head::new(5), 5, 2, bounds(), |m, x| m.out.forward(x)).unwrap();
    let inputs = [&wave, &table].map(|m| DecisionModel::signature(m).modalities[0].clone());
    let both = BurnModel::module(&Head::new(25), inputs.to_vec(), 2, |m, x| {
        m.out
            .forward(Tensor::cat(vec![x[0].clone(), x[1].clone()], 1))
    })
    .unwrap();
    assert_eq!(DecisionModel::signature(&both).parameters, Some(25 * 2 + 2));
    let modalities = DecisionModel::signature(&both).modalities.clone();
    let x = Batch::from_host(
        modalities,
        vec![vec![0.5; 60], vec![0.25; 15]],
        &Device::flex(),
    )
    .unwrap();
    let answer = both
        .gradient(&Query::one_per_row(x, &[0, 1, 2]), &first_class)
        .unwrap();
    for block in answer.gradient.blocks() {
        assert!(
            host(block).iter().any(|g| *g != 0.0),
            "a gradient for every input"
        );
    }
    for model in [&wave, &table] {
        let answer = model.gradient(&points(model, 3), &first_class).unwrap();
        assert_eq!(answer.scores.dims(), [3, 2]);
    }
    // Contradictory descriptions are refused.
    assert!(BurnModel::tables(&Head::new(5), 5, 0, bounds(), |m, x| m.out.forward(x)).is_err());
    let four = Bounds::per_feature(vec![0.0; 4], vec![1.0; 4]).unwrap();
    assert!(BurnModel::tables(&Head::new(5), 5, 2, four, |m, x| m.out.forward(x)).is_err());
}
