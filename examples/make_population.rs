//! Writes the synthetic population that is shipped in `datasets/population`, byte for byte.
//!
//! ```text
//! cargo run -p proofmark --example make_population -- OUT.csv
//! ```
#![expect(clippy::print_stdout, reason = "a program talks to whoever runs it")]

use std::error::Error;

use proofmark::audit::synthetic::Population;

/// Number of rows in the shipped file.
const PERSONS: u64 = 6_000;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: make_population OUT.csv")?;
    let population = Population::shipped();
    std::fs::write(&path, population.csv(PERSONS))?;
    println!("{path}: {PERSONS} persons");
    for group in &population.groups {
        println!(
            "{}: {:.0} % of all, true-positive rate {:.2}, false-positive rate {:.2}, selection rate {:.2}",
            group.name,
            100.0 * group.part,
            group.tpr,
            group.fpr,
            group.selection_rate()
        );
    }
    Ok(())
}
