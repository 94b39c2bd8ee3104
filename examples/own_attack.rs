//! An attack of your own: implement `Stepper` (one step) and `Attack` (metadata and the call). The engine provides
//! batching, compaction, budgets, restarts, re-measurement and the report.
//!
//! ```text
//! cargo run -p proofmark --example own_attack
//! ```
#![expect(clippy::print_stdout, reason = "a program talks to whoever runs it")]

use std::error::Error;

use proofmark::attacks::loss::Margin;
use proofmark::domain::{Norm, Role};
use proofmark::engine::{
    Access, Attack, EngineError, Job, Meta, Needs, Oracle, Outcomes, Rows, Stepper, run,
};
use proofmark::models::GradientModel;
use proofmark::threats::{Batch, Column, Columns, Step, prefixed};

/// Gradient ascent that halves its step every quarter of the steps.
#[derive(Debug)]
struct Halving {
    steps: u32,
}

/// Position of each row, stored as columns so that rows can be dropped, refilled and saved.
#[derive(Debug, Clone)]
struct Position {
    x: Batch,
}

impl Columns for Position {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        prefixed("x", &mut self.x)
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Halving {
    type State = Position;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Position, EngineError> {
        Ok(Position {
            x: rows.region().x0(),
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut Position,
    ) -> Result<(), EngineError> {
        let gradient = oracle.gradient(rows, &state.x, &Margin)?.gradient;
        // Rows may be at different steps: the schedule is per row.
        let size: Vec<f32> = rows
            .steps()
            .iter()
            .map(|k| 0.5_f32.powi((4 * *k as i32) / self.steps as i32))
            .collect();
        let step = Step::new(rows.region().column(&size));
        state.x = rows.region().advance(&state.x, &gradient, &step);
        Ok(())
    }

    fn last(&self, state: &Position) -> Option<Batch> {
        Some(state.x.clone())
    }
}

const META: Meta = Meta {
    id: "halving",
    version: 1,
    summary: "gradient ascent with halving steps",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2],
    reference: "this example",
};

impl Attack for Halving {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> proofmark::engine::Parameters {
        [("steps".to_owned(), self.steps.into())]
            .into_iter()
            .collect()
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        run(access.gradients(META.id)?, self, job)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = proofmark::model("digits-standard", &proofmark::device("cpu")?)?;
    let data = proofmark::open("digits")?.limit(200, Default::default());
    let result = proofmark::evaluate(&model, &data)
        .linf(0.1)
        .with(Halving { steps: 20 })
        .attacks(["pgd"])
        .run()?;
    for attack in &result.report().attacks {
        println!("{:28} {:.3}", attack.key, attack.robust_accuracy);
    }
    Ok(())
}
