//! Attacks your own Burn module, in five lines after the module itself.
//!
//! ```text
//! cargo run -p proofmark --example own_burn_model
//! ```
#![expect(clippy::print_stdout, reason = "a program talks to whoever runs it")]

use std::error::Error;

use proofmark::burn::module::Module;
use proofmark::burn::nn::{Linear, LinearConfig};
use proofmark::burn::tensor::{Device, Tensor, activation};
use proofmark::prelude::*;

/// A two-layer perceptron over 8x8 images. Any module works, even one built for training.
#[derive(Module, Debug)]
struct Mlp {
    hidden: Linear,
    out: Linear,
}

impl Mlp {
    fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(64, 32).init(device),
            out: LinearConfig::new(32, 10).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        self.out
            .forward(activation::relu(self.hidden.forward(x.flatten::<2>(1, 3))))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Your module would load its weights: `proofmark::models::load_weights(&mut net, "net.safetensors".as_ref())?`.
    let net = Mlp::new(&device("cpu")?);

    let model = BurnModel::images(
        &net,
        [1, 8, 8],
        10,
        Bounds::uniform(0.0, 1.0)?,
        Mlp::forward,
    )?;
    let data = open("digits")?.limit(200, Default::default());
    let result = evaluate(&model, &data)
        .linf(0.05)
        .attacks(["fgsm", "pgd"])
        .run()?;
    println!("clean  {:.3}", result.report().clean.accuracy);
    println!("robust {:.3}", result.report().worst_case.robust_accuracy);

    // The model is untrained, so the requirement fails and this prints why.
    if let Err(shortfall) = result.robust_accuracy().at_least(0.45, 0.95) {
        println!("{shortfall}");
    }
    Ok(())
}
