//! Trains the zoo: small nets, clean and backdoored, on which probes are calibrated and tried.
//!
//! ```text
//! cargo run --release -p proofmark --example backdoor_zoo -- plan
//! cargo run --release -p proofmark --example backdoor_zoo -- train FOLDER [--seed N] [--shard I/N] [--only TEXT] [--data DIR]
//! cargo run --release -p proofmark --example backdoor_zoo -- collect FOLDER [--seed N]
//! ```
//!
//! `plan` lists the nets. `train` trains those that FOLDER has no row of, so that it can be stopped and started again, and
//! shards can run at the same time; `--only` takes those whose name contains a text. `collect` prints the rows of FOLDER as
//! one table. MNIST and CIFAR-10 come from `--data`, default `../shared/data`; nets whose data is absent are skipped.
//! Set `RAYON_NUM_THREADS=1` to use one thread. The same seed gives the same nets.

// An example talks to whoever runs it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod zoo;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use proofmark_domain::Shard;
use zoo::{Entry, Sets, plan};

struct Arguments {
    command: String,
    folder: PathBuf,
    seed: u64,
    shard: Shard,
    only: String,
    data: PathBuf,
}

fn arguments() -> Option<Arguments> {
    let mut all = std::env::args().skip(1);
    let mut read = Arguments {
        command: all.next()?,
        folder: PathBuf::new(),
        seed: 1,
        shard: Shard { index: 0, count: 1 },
        only: String::new(),
        data: "../shared/data".into(),
    };
    while let Some(argument) = all.next() {
        match argument.as_str() {
            "--seed" => read.seed = all.next()?.parse().ok()?,
            "--only" => read.only = all.next()?,
            "--data" => read.data = all.next()?.into(),
            "--shard" => {
                let text = all.next()?;
                let (index, count) = text.split_once('/')?;
                let (index, count) = (index.parse().ok()?, count.parse().ok()?);
                read.shard = Shard { index, count };
                if index >= count {
                    return None;
                }
            }
            _ if argument.starts_with('-') || read.folder != PathBuf::new() => return None,
            _ => read.folder = argument.into(),
        }
    }
    Some(read)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!(
            "usage: backdoor_zoo plan | train FOLDER | collect FOLDER [--seed N] [--shard I/N] [--only TEXT] [--data DIR]"
        );
        return ExitCode::from(2);
    };
    match carry_out(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut all = plan(arguments.seed);
    all.retain(|entry| entry.name().contains(&arguments.only));
    match arguments.command.as_str() {
        "plan" => {
            all.iter().for_each(show);
            println!("{} nets", all.len());
            Ok(())
        }
        "train" => {
            let sets = Sets::open(&arguments.data)?;
            let skipped = zoo::run(
                &all,
                &sets,
                &arguments.folder,
                arguments.shard,
                &mut |done| {
                    println!("{}", done.row);
                    Ok(())
                },
            )?;
            if skipped > 0 {
                eprintln!(
                    "SKIPPED {skipped} nets: their data is not in {}, or their class too small for their rate",
                    arguments.data.display()
                );
            }
            Ok(())
        }
        "collect" => {
            print!("{}", zoo::collect(arguments.seed, &arguments.folder)?);
            Ok(())
        }
        other => Err(format!("command `{other}`; expected plan, train or collect").into()),
    }
}

fn show(entry: &Entry) {
    let backdoor = entry.backdoor.as_ref().map_or_else(String::new, |b| {
        let parameters = b.parameters.replace('\n', ", ");
        format!(" rate {} target {:?} {parameters}", b.rate, b.target)
    });
    println!("{}{backdoor}", entry.name());
}
