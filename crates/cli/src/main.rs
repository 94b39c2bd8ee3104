//! The proofmark command line: the only place that prints, reads the clock and exits.

mod args;
mod arrays;
mod clock;
mod command;
mod expect;
mod failure;
mod output;
mod progress;
mod shown;
mod signals;
mod snippet;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    quiet_caught_panics();
    let cli = Cli::parse();
    let listening = signals::listen().map_err(Failure::from);
    let result = listening.and_then(|()| match cli.command {
        Command::List(list) => command::list::run(&list),
        Command::Inspect(inspect) => command::inspect::run(&inspect),
        Command::Infer(infer) => command::infer::run(&infer, cli.quiet),
        Command::Attack(attack) => command::attack::run(&attack, cli.quiet),
        Command::Falsify(falsify) => command::falsify::run(&falsify, cli.quiet),
        Command::Plant(plant) => command::plant::run(&plant, cli.quiet),
        Command::Probe(probe) => command::probe::run(&probe, cli.quiet),
        Command::Audit(audit) => command::audit::run(&audit, cli.quiet),
        Command::Gate(gate) => command::gate::run(&gate, cli.quiet),
        Command::Merge(merge) => command::merge::run(&merge, cli.quiet),
    });
    match result {
        Ok(code) => ExitCode::from(code),
        // After an interruption, work that could not be finished is not an error.
        Err(_) if signals::interrupted() => ExitCode::from(signals::INTERRUPTED),
        Err(Failure(message)) => {
            output::tell_error(&message);
            ExitCode::from(2)
        }
    }
}

/// Silences the panic hook inside model calls: such a panic becomes an error with its own message.
fn quiet_caught_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !proofmark::models::inside_boundary() {
            default(info);
        }
    }));
}
