//! A model behind a preprocessing step that hides its gradients: what plain PGD reports, what BPDA finds, and whether
//! Square, which needs no gradient, finds more. `cargo run -p proofmark --example defended [SAMPLES]`

#![expect(clippy::print_stdout, reason = "a program talks to whoever runs it")]

use std::error::Error;

use proofmark::burn::tensor::{Tensor, TensorData};
use proofmark::domain::Modality;
use proofmark::models::DecisionModel;
use proofmark::models::wrap::{Bpda, levels};
use proofmark::{BurnModel, Dataset, evaluate};

type Step = Box<dyn Fn(Tensor<2>, &Modality) -> Tensor<2> + Send + Sync>;

/// Luminance table of JPEG at quality 50.
const TABLE: [f32; 64] = [
    16.0, 11.0, 10.0, 16.0, 24.0, 40.0, 51.0, 61.0, //
    12.0, 12.0, 14.0, 19.0, 26.0, 58.0, 60.0, 55.0, //
    14.0, 13.0, 16.0, 24.0, 40.0, 57.0, 69.0, 56.0, //
    14.0, 17.0, 22.0, 29.0, 51.0, 87.0, 80.0, 62.0, //
    18.0, 22.0, 37.0, 56.0, 68.0, 109.0, 103.0, 77.0, //
    24.0, 35.0, 55.0, 64.0, 81.0, 104.0, 113.0, 92.0, //
    49.0, 64.0, 78.0, 87.0, 103.0, 121.0, 120.0, 101.0, //
    72.0, 92.0, 95.0, 98.0, 112.0, 100.0, 103.0, 99.0,
];

/// Returns the step of JPEG that loses information, on one block of 8 × 8 grey pixels in [0, 1]: cosine transform,
/// rounding by the table, and back.
pub(crate) fn jpeg() -> Step {
    // The transform of a whole block, as a matrix.
    let axis = |k: usize, n: usize| {
        let scale = if k == 0 { 0.125_f32 } else { 0.25 };
        scale.sqrt() * (std::f32::consts::PI * (2 * n + 1) as f32 * k as f32 / 16.0).cos()
    };
    let entry = |i: usize| {
        let (frequency, pixel) = (i / 64, i % 64);
        axis(frequency / 8, pixel / 8) * axis(frequency % 8, pixel % 8)
    };
    let matrix: Vec<f32> = (0..64 * 64).map(entry).collect();
    Box::new(move |x, _| {
        let device = x.device();
        let matrix = TensorData::new(matrix.clone(), [64, 64]);
        let matrix = Tensor::<2>::from_data(matrix, &device);
        let table = Tensor::<1>::from_floats(TABLE, &device).unsqueeze::<2>();
        let frequencies = (x * 255.0 - 128.0).matmul(matrix.clone().transpose());
        let rounded = (frequencies / table.clone()).round() * table;
        ((rounded.matmul(matrix) + 128.0) / 255.0).clamp(0.0, 1.0)
    })
}

/// Returns the defences by name.
pub(crate) fn defences() -> Vec<(&'static str, Step)> {
    vec![
        ("256 levels", Box::new(levels(256)) as Step),
        ("2 levels", Box::new(levels(2))),
        ("JPEG 50", jpeg()),
    ]
}

/// Returns the shipped net behind a defence. Without `bpda` the defence has the derivative that it really has: none.
pub(crate) fn defended(
    name: &str,
    step: Step,
    bpda: bool,
) -> Result<Bpda<BurnModel>, Box<dyn Error>> {
    let net = proofmark::model("digits-standard", &proofmark::device("cpu")?)?;
    let model = Bpda::new(net, name, step)?;
    Ok(if bpda {
        model
    } else {
        model.smoothed(|x, _| x.detach())?
    })
}

/// Clean accuracy, and accuracy under one attack at Linf 0.1.
pub(crate) fn accuracy(
    model: &impl DecisionModel,
    data: &Dataset,
    attack: &str,
    parameters: &str,
) -> Result<[f64; 2], Box<dyn Error>> {
    let run = evaluate(model, data).linf(0.1).attack(attack, parameters);
    let report = run.run()?;
    let attacked = &report.report().attacks[0];
    Ok([report.report().clean.accuracy, attacked.robust_accuracy])
}

fn main() -> Result<(), Box<dyn Error>> {
    let n = std::env::args().nth(1).map_or(Ok(300), |n| n.parse())?;
    let data = proofmark::open("digits")?.limit(n, Default::default());
    let net = proofmark::model("digits-standard", &proofmark::device("cpu")?)?;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let pgd = accuracy(&net, &data, "pgd", "")?;
    println!("defence     clean    PGD      BPDA     Square");
    println!("none        {:8} {:8}", percent(pgd[0]), percent(pgd[1]));
    for (i, (name, step)) in defences().into_iter().enumerate() {
        let plain = defended(name, step, false)?;
        let [clean, plain] = accuracy(&plain, &data, "pgd", "")?;
        let bpda = defended(name, defences().remove(i).1, true)?;
        let square = accuracy(&bpda, &data, "square", "queries = 2000")?;
        let bpda = accuracy(&bpda, &data, "pgd", "")?;
        println!(
            "{name:11} {:8} {:8} {:8} {:8}",
            percent(clean),
            percent(plain),
            percent(bpda[1]),
            percent(square[1])
        );
    }
    Ok(())
}
