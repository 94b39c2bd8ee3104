use proofmark::data::vnnlib;
use proofmark::domain::Seed;
use proofmark::engine::Access;
use proofmark::{Falsified, Falsify};

use crate::args::{self, Onnx};
use crate::clock;
use crate::failure::Failure;
use crate::output::{self, Target};
use crate::progress::TerminalProgress;
use crate::signals;

/// Runs `proofmark falsify` and returns the exit code.
pub(crate) fn run(args: &args::Falsify, quiet: bool) -> Result<u8, Failure> {
    let began = clock::seconds();
    let seconds = args.timeout;
    if !(seconds.is_finite() && seconds > 0.0) {
        return Err(Failure(format!(
            "--timeout {seconds}; expected a number of seconds above 0"
        )));
    }
    let out = args.out.as_deref();
    let out = out.map(|p| output::text_target("--out", p)).transpose()?;
    output::apart(&[("--out", out.as_ref())], || {
        let mut read = output::model_files(&args.model);
        read.push(("the property", args.spec.clone()));
        read
    })?;
    let spec = vnnlib::open(&args.spec)?;
    let onnx = Onnx {
        output: args.output.clone(),
        fixed: args.fixed.clone(),
        ..Onnx::default()
    };
    let device = proofmark::device(&args.device)?;
    let opened = onnx.source(&args.model)?.open_property(&spec, &device)?;
    let shown = TerminalProgress::counting(quiet, "starts");
    let late = || signals::interrupted() || clock::seconds() - began >= seconds;
    let mut search = Falsify::new(Access::Gradients(opened.model.as_ref()), &spec);
    search.seed = Seed(args.seed);
    search.levels = None;
    search.stop = &late;
    search.progress = &shown;
    let result = search.run();
    shown.finish();
    if signals::interrupted() {
        output::tell("interrupted: nothing was written");
        return Ok(signals::INTERRUPTED);
    }
    let result = result?;
    let text = match &result.counterexample {
        Some(found) => found.to_text(),
        None => "unknown\n".to_owned(),
    };
    if let Some(target) = &out {
        output::write_text(target, &text)?;
    }
    if out != Some(Target::Stdout) {
        output::print(text.lines().next().unwrap_or_default())?;
    }
    if !quiet {
        output::tell(&summary(
            &result,
            spec.cases.len(),
            clock::seconds() - began,
        ));
    }
    Ok(0)
}

/// Returns a sentence on the counterexample found, or on how near the search came.
fn summary(result: &Falsified, cases: usize, seconds: f64) -> String {
    let spent = format!(
        "{} forwards and {} backwards in {seconds:.1} s",
        result.queries.forward, result.queries.backward
    );
    let nearest = match (&result.counterexample, result.nearest) {
        (Some(found), _) => {
            return format!(
                "counterexample to case {} of {cases}, margin {:.3e}: {spent}",
                found.case + 1,
                found.margin
            );
        }
        (None, Some(nearest)) => format!("; the nearest point misses by {:.3e}", -nearest),
        (None, None) => String::new(),
    };
    format!("no counterexample found{nearest}: {spent}. That is no proof that there is none")
}
