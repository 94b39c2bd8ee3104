//! Attacks a model of any runtime: a closure over plain arrays that returns scores or only decisions.
//!
//! ```text
//! cargo run -p proofmark --example own_runtime
//! ```
#![expect(clippy::print_stdout, reason = "a program talks to whoever runs it")]

use std::convert::Infallible;
use std::error::Error;

use proofmark::prelude::*;

/// Stands for a session of your runtime, a C library or a client of an endpoint. It stores the mean image of each
/// digit; the nearest mean wins.
#[derive(Clone)]
struct Runtime(Vec<Vec<f32>>);

impl Runtime {
    fn new(data: &Dataset) -> Result<Self, Box<dyn Error>> {
        let labels = data.labels.as_ref().ok_or("no labels")?;
        let mut means = vec![vec![0.0; 64]; 10];
        for (row, label) in data.modalities[0].values.rows().into_iter().zip(labels) {
            let n = labels.iter().filter(|l| *l == label).count() as f32;
            for (mean, x) in means[*label].iter_mut().zip(row) {
                *mean += x / n;
            }
        }
        Ok(Self(means))
    }

    /// Returns minus the squared distance of each row to each class mean.
    fn scores(&self, pixels: &[f32]) -> Vec<f32> {
        let distance = |row: &[f32], mean: &Vec<f32>| -> f32 {
            row.iter().zip(mean).map(|(x, m)| (x - m) * (x - m)).sum()
        };
        let rows = pixels.chunks(64);
        rows.flat_map(|row| self.0.iter().map(move |mean| -distance(row, mean)))
            .collect()
    }

    fn decisions(&self, pixels: &[f32]) -> Vec<usize> {
        let best = |s: &[f32]| (0..10).fold(0, |b, c| if s[c] > s[b] { c } else { b });
        self.scores(pixels).chunks(10).map(best).collect()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let scoring = Runtime::new(&open("digits:train")?)?;
    let deciding = scoring.clone();
    let data = open("digits")?.limit(200, Default::default());
    let inputs: Vec<Modality> = data.modalities.iter().map(|c| c.modality.clone()).collect();
    let signature = Signature::new("nearest-mean", inputs, 10, &device("cpu")?)?;

    // Input: one flat array per input and the number of rows. Output: scores, row after row, or your own error.
    let model = FromScores::new(signature.clone(), move |x, _| {
        Ok::<_, Infallible>(scoring.scores(&x[0]))
    })?;
    let noise = ["uniform-noise", "salt-and-pepper"];
    let result = evaluate(&model, &data).linf(0.3).attacks(noise).run()?;
    tell("scores", &result);

    // The same call, with only decisions returned.
    let model = FromDecisions::new(signature, move |x, _| {
        Ok::<_, Infallible>(deciding.decisions(&x[0]))
    })?;
    let result = evaluate(&model, &data).linf(0.3).attacks(noise).run()?;
    tell("decisions", &result);

    // There are no gradients: an attack that needs them is refused before any query to the model.
    match evaluate(&model, &data).linf(0.3).attacks(["pgd"]).run() {
        Ok(_) => Err("pgd ran without gradients".into()),
        Err(refusal) => {
            println!("refused: {refusal}");
            Ok(())
        }
    }
}

fn tell(what: &str, result: &Evaluation) {
    let report = result.report();
    println!(
        "{what}: {:.3} right, {:.3} under noise; {} trust codes do not apply",
        report.clean.accuracy,
        report.worst_case.robust_accuracy,
        report.trust_not_applicable.len()
    );
}
