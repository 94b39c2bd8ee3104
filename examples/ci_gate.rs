//! A gate as a program: runs a policy, prints the result and exits with its code.
//!
//! ```text
//! cargo run -p proofmark --example ci_gate -- examples/gate/robust.toml 2026-11-21
//! ```
//!
//! The date decides which waivers have expired. It is passed in, so that judging the same evidence twice gives the same
//! answer.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to whoever runs it"
)]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use proofmark::policy::judge;
use proofmark::policy::render::{self, Document};
use proofmark::{Gate, GateOptions};

fn main() -> ExitCode {
    match gate() {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

fn gate() -> Result<u8, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let policy: PathBuf = arguments
        .next()
        .ok_or("usage: ci_gate POLICY.toml YYYY-MM-DD")?
        .into();
    let today = arguments
        .next()
        .ok_or("usage: ci_gate POLICY.toml YYYY-MM-DD")?
        .parse()?;

    let device = proofmark::device("auto")?;
    let gate = Gate::read(&std::fs::read(&policy)?, &policy)?;
    let evidence = gate.prepare(&device)?.run(
        &GateOptions::default(),
        &Default::default(),
        &mut |check, result| {
            println!(
                "{check}: {}",
                if result.is_ok() {
                    "measured"
                } else {
                    "could not run"
                }
            );
        },
    );
    let report = judge(gate.policy(), evidence, today);
    println!("{}", render::table(Document::Gate(&report), false));
    Ok(report.verdict.exit_code())
}
