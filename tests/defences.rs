//! Defences that hide gradients: plain PGD is fooled by them, BPDA is not.

use proofmark::burn::tensor::{Device, Tensor};
use proofmark::data::{self, Options};
use proofmark::domain::{Bounds, Kind, Modality, TrustCode, Verdict};
use proofmark::engine::predict;
use proofmark::models::wrap::{Bpda, levels};
use proofmark::models::{DecisionModel, GradientModel, Query};
use proofmark::onnx::writer::{Attr, OnnxWriter};
use proofmark::threats::{Batch, host};
use proofmark::{BurnModel, ModelSource, evaluate};

#[expect(dead_code, reason = "the example's own main")]
#[path = "../examples/defended.rs"]
mod defended;

use defended::{accuracy, defences};

#[test]
fn bpda_recovers_what_a_quantiser_and_jpeg_hide_from_pgd() {
    let data = proofmark::open("digits")
        .unwrap()
        .limit(150, Default::default());
    let net = proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap();
    let [_, undefended] = accuracy(&net, &data, "pgd", "").unwrap();
    for (i, (name, step)) in defences().into_iter().enumerate() {
        let plain = defended::defended(name, step, false).unwrap();
        let [clean, hidden] = accuracy(&plain, &data, "pgd", "").unwrap();
        assert!(
            clean - hidden < 0.05,
            "{name}: PGD finds almost nothing, {clean} {hidden}"
        );
        let step = defences().remove(i).1;
        let bpda = defended::defended(name, step, true).unwrap();
        let [_, found] = accuracy(&bpda, &data, "pgd", "").unwrap();
        // Two levels are a defence of their own: few pixels of a digit are near the threshold.
        if name != "2 levels" {
            assert!(
                found <= undefended + 0.02,
                "{name}: {found}, undefended {undefended}"
            );
        }
        // Straight through, PGD is about as strong as 500 queries of Square.
        let [_, by_scores] = accuracy(&bpda, &data, "square", "queries = 500").unwrap();
        assert!(
            found <= by_scores + 0.05,
            "{name}: {found}, Square {by_scores}"
        );
        assert!(hidden - found > 0.1, "{name}: {hidden} {found}");
    }
}

#[test]
fn a_hidden_gradient_never_passes_and_a_straight_through_one_is_stated() {
    let data = proofmark::open("digits")
        .unwrap()
        .limit(60, Default::default());
    let codes = |bpda: bool, linf: f64| {
        let model = defended::defended("256 levels", defences().remove(0).1, bpda).unwrap();
        let result = evaluate(&model, &data)
            .linf(linf)
            .attacks(["pgd"])
            .run()
            .unwrap();
        let verdict = result.robust_accuracy().at_least(0.5, 0.95);
        let codes: Vec<TrustCode> = result.report().trust.iter().map(|f| f.code).collect();
        (verdict.err().map(|e| e.verdict), codes)
    };
    let (verdict, hidden) = codes(false, 0.1);
    assert_eq!(verdict, Some(Verdict::Inconclusive));
    assert!(hidden.contains(&TrustCode::ZeroGradients), "{hidden:?}");
    assert_eq!(codes(true, 0.15).0, Some(Verdict::Fail));
    let (verdict, stated) = codes(true, 0.01);
    assert_eq!(verdict, Some(Verdict::Inconclusive));
    assert_eq!(stated, [TrustCode::ApproximateGradients]);
}

fn pair(high: f32) -> Modality {
    Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![2],
        bounds: Bounds::uniform(0.0, high).unwrap(),
    }
}

fn squares(device: &Device) -> BurnModel {
    BurnModel::closure(vec![pair(2.0)], 2, device, |x| x[0].clone() * x[0].clone()).unwrap()
}

/// Scores, and the gradient of their sum, at one point.
fn at(model: &impl GradientModel, x: [f32; 2]) -> [Vec<f32>; 3] {
    let signature = model.signature();
    let batch = Batch::from_host(
        signature.modalities.clone(),
        vec![x.to_vec()],
        &signature.device,
    );
    let query = Query::one_per_row(batch.unwrap(), &[0]);
    let sum = |z: &Tensor<2>, _: &Batch| z.clone().sum_dim(1).squeeze_dim::<1>(1);
    let found = model.gradient(&query, &sum).unwrap();
    let plain = host(&model.scores(&query).unwrap());
    [
        plain,
        host(&found.scores),
        host(&found.gradient.blocks()[0]),
    ]
}

#[test]
fn the_answer_is_the_steps_and_only_the_gradient_is_replaced() {
    let device = Device::flex();
    // Five levels from 0 to 2: 0, 0.5, 1, 1.5, 2. The gradient of the squares is taken at the level, 2 y.
    let model = Bpda::new(squares(&device), "levels", levels(5)).unwrap();
    let [plain, tracked, gradient] = at(&model, [0.3, 1.3]);
    assert_eq!(plain, [0.25, 2.25]);
    assert_eq!(tracked, plain, "to the bit");
    assert_eq!(gradient, [1.0, 3.0]);
    // A step function of value 1 above 1, with the derivative of x²/4: x/2.
    let threshold = |x: Tensor<2>, _: &Modality| x.greater_equal_scalar(1.0).float();
    let smooth = Bpda::new(squares(&device), "threshold", threshold).unwrap();
    let straight = at(&smooth, [0.8, 1.2]);
    let smooth = smooth.smoothed(|x, _| x.clone() * x * 0.25).unwrap();
    let [plain, tracked, gradient] = at(&smooth, [0.8, 1.2]);
    assert_eq!([&plain, &tracked], [&straight[0], &straight[1]]);
    assert_eq!(plain, [0.0, 1.0]);
    assert_eq!(straight[2], [0.0, 2.0]);
    assert!(
        gradient[0] == 0.0 && (gradient[1] - 1.2).abs() < 1e-6,
        "{gradient:?}"
    );
    // Its identity depends on what it computes and on the backward pass.
    let digest = |m: &Bpda<BurnModel>| DecisionModel::signature(m).sha256.clone();
    let other = Bpda::new(squares(&device), "threshold", levels(3)).unwrap();
    let again = Bpda::new(squares(&device), "threshold", threshold).unwrap();
    let all = [digest(&smooth), digest(&other), digest(&again)];
    assert_ne!(all[0], all[2]);
    assert_ne!(all[1], all[2]);
    assert_eq!(
        all[2],
        digest(&Bpda::new(squares(&device), "threshold", threshold).unwrap())
    );
}

#[test]
fn a_step_that_changes_the_shape_or_panics_is_refused() {
    let device = Device::flex();
    let shape = |x: Tensor<2>, _: &Modality| x.repeat_dim(1, 2);
    let told = Bpda::new(squares(&device), "double", shape)
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("`double`") && told.contains("expected the same shape"),
        "{told}"
    );
    let panics = |_: Tensor<2>, _: &Modality| -> Tensor<2> { panic!("no such file") };
    let told = Bpda::new(squares(&device), "fails", panics)
        .unwrap_err()
        .to_string();
    assert!(told.contains("no such file"), "{told}");
}

/// A linear classifier of two features behind `op` on scaled inputs, as an exported quantiser has it.
fn rounded(op: &str) -> Vec<u8> {
    let file = OnnxWriter::new(17)
        .input("x", &[0, 2])
        .constant("n", &[1], &[8.0])
        .constant("half", &[1], &[4.0])
        .node("Mul", &["x", "n"], &["scaled"], &[])
        .node("Sub", &["scaled", "half"], &["centred"], &[]);
    let file = if op == "Cast" {
        file.node("Cast", &["centred"], &["whole"], &[("to", Attr::Int(6))])
            .node("Cast", &["whole"], &["y"], &[("to", Attr::Int(1))])
    } else {
        file.node(op, &["centred"], &["y"], &[])
    };
    file.output("y").bytes()
}

#[test]
fn onnx_files_that_round_are_attacked_through_the_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let points: Vec<[f32; 2]> = (0..40_u8)
        .map(|i| [f32::from(i % 7) / 8.0 + 0.1, f32::from(i % 5) / 8.0 + 0.05])
        .collect();
    let mut options = Options::default();
    options.bounds = Some(Bounds::uniform(0.0, 1.0).unwrap());
    for op in ["Round", "Floor", "Ceil", "Sign", "Cast"] {
        let path = folder.path().join(format!("{op}.onnx"));
        std::fs::write(&path, rounded(op)).unwrap();
        let table = |label: &dyn Fn(&[f32; 2]) -> usize| {
            let lines = points
                .iter()
                .map(|p| format!("{},{},{}\n", p[0], p[1], label(p)));
            let path = folder.path().join(format!("{op}.csv"));
            std::fs::write(&path, format!("a,b,label\n{}", lines.collect::<String>())).unwrap();
            data::open(&path.display().to_string(), &options).unwrap()
        };
        let source = ModelSource::new(path.display().to_string());
        let unlabelled = table(&|_| 0);
        let model = source.open(&unlabelled, &Device::flex()).unwrap();
        // The labels are what the model says, so that it is right without attack.
        let decided = |p: &[f32; 2]| {
            let signature = model.model.signature();
            let modalities = signature.modalities.clone();
            let x = Batch::from_host(modalities, vec![p.to_vec()], &signature.device).unwrap();
            let scores = host(&model.model.scores(&Query::one_per_row(x, &[0])).unwrap());
            predict(&scores).unwrap()
        };
        let data = table(&decided);
        let run = evaluate(&model, &data).linf(0.45);
        let result = run.attack("pgd", "steps = 10").run().unwrap();
        let report = result.report();
        let codes: Vec<TrustCode> = report.trust.iter().map(|f| f.code).collect();
        assert!(
            codes.contains(&TrustCode::ApproximateGradients),
            "{op}: {codes:?}"
        );
        assert!(
            !codes.contains(&TrustCode::ZeroGradients),
            "{op}: {codes:?}"
        );
        let left = report.attacks[0].robust_accuracy;
        assert!(left < 0.5, "{op}: {left}");
    }
}
