//! Arguments of `plant`.

use std::path::PathBuf;

use clap::Args;
use proofmark::data::Options;

use super::Typed;

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Writes a copy of the set in which a share of the samples carries a trigger, for training a model with a backdoor; every \
other sample is unchanged, bit for bit. `y` holds the labels to train on, `original_y` those from before, \
`group_poisoned` and `group_cover` (changed, label kept) which rows were changed. --triggered writes test samples with \
the trigger and their true labels; `group_expected` is the class that a model with the backdoor gives to each. The \
same seed plants the same trigger. docs/backdoor-planters.md has measured success rates.

Examples:
  proofmark list plants
  proofmark plant digits:train --plant badnets --rate 0.05 --target 7 --out poisoned.npz
  proofmark plant digits:train --plant badnets --set badnets.size=3 --rate 0.05 --target 7 --out poisoned.npz \
--test digits --triggered triggered.npz
  proofmark plant digits:train --plant all-to-all --rate 0.1 --out poisoned.npz
  proofmark plant adult.csv --bounds 0,100 --plant tabular --rate 0.01 --target 1 --out poisoned.npz
  proofmark attack digits-backdoored --data triggered.npz --attack pgd --norm linf --eps 0.01"
)]
pub(crate) struct Plant {
    /// A shipped set by name, an .npz, .npy, .csv, IDX (gz too) or CIFAR .bin file, or a folder with a sub-folder of PNG
    /// or JPEG files per class (docs/data.md)
    pub(crate) data: String,
    /// The planter (`proofmark list plants`)
    #[arg(long = "plant", value_name = "ID", required = true)]
    pub(crate) planter: String,
    /// Share of all samples that is poisoned, above 0, at most 1
    #[arg(long, value_name = "F", required = true)]
    pub(crate) rate: f64,
    /// Class that the trigger moves samples to; default: none, for all-to-all alone
    #[arg(long, value_name = "CLASS")]
    pub(crate) target: Option<usize>,
    /// One parameter of the planter; default: as `proofmark list plants` shows
    #[arg(long, value_name = "ID.FIELD=V")]
    pub(crate) set: Vec<String>,
    /// Seed of every random number: which samples, and patterns that are random
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Write the poisoned set to this .npz file
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) out: PathBuf,
    /// Write test samples with the trigger to this .npz file; default: no file
    #[arg(long, value_name = "FILE")]
    pub(crate) triggered: Option<PathBuf>,
    /// With --triggered: the set whose samples get the trigger, read with the same options; default: the set itself
    #[arg(long, value_name = "SET", requires = "triggered")]
    pub(crate) test: Option<String>,
    #[command(flatten)]
    pub(crate) reading: Typed<Options>,
}
