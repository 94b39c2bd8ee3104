//! Arguments of `probe`.

use std::path::PathBuf;

use clap::Args;
use proofmark::backdoor::probe::Subject;
use proofmark::data::Options;

use super::{Onnx, PreprocessArgs, Typed};

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Looks for a backdoor in a model: says clean, suspicious, backdoored or inconclusive, with a p-value against clean models \
of the same input shape and number of classes. Exit codes: 0 clean, 1 backdoored, 3 suspicious or inconclusive. Without \
--data only the probes that need no samples run (docs/backdoor-probes.md). Where no clean models of that kind are known \
the verdict is `inconclusive: null not applicable`, and --reference names a folder of some.

Examples:
  proofmark probe digits-standard
  proofmark probe digits-standard --data digits:train --out report.json
  proofmark probe model.onnx --bounds 0,1 --probe mm_bd,trodo
  proofmark probe model.onnx --data images.npz --save trigger.npz
  proofmark probe model.onnx --data images.npz --reference clean-models/ --time-budget 600"
)]
pub(crate) struct Probe {
    /// An .onnx file, or a shipped model by name
    pub(crate) model: String,
    /// Clean, labelled samples: a shipped set by name, or a file that `attack` reads (docs/data.md); default: none
    #[arg(long, value_name = "SET")]
    pub(crate) data: Option<String>,
    /// Clean samples to use: a seeded subset with all classes
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) reading: Typed<Options>,
    #[command(flatten)]
    pub(crate) preprocess: PreprocessArgs,
    #[command(flatten)]
    pub(crate) onnx: Onnx,
    /// Probes by id, separated by commas (`proofmark list probes`); one that is named and cannot run is an error;
    /// default: all that can run
    #[arg(long = "probe", value_name = "ID[,ID…]", value_delimiter = ',')]
    pub(crate) probes: Vec<String>,
    /// Layer that probes of features read (`proofmark inspect` lists them); default: the last one through which alone
    /// the input reaches the scores, and that is not linear in them
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// Folder of clean ONNX models, read as MODEL is, in place of the shipped null; their statistics are kept there in
    /// proofmark-null.csv; default: the shipped null
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: Option<PathBuf>,
    /// Level at which a model is flagged: the share of clean models that are flagged by chance
    #[arg(long, value_name = "F", default_value_t = 0.02)]
    pub(crate) level: f64,
    /// Stop after this many seconds and judge by what is finished; default: no limit
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_budget: Option<f64>,
    /// Seed of every random number
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Points in one request to the model; never changes a result
    #[arg(long, value_name = "N", default_value_t = Subject::BATCH)]
    pub(crate) batch_size: usize,
    /// Device: auto (a GPU if there is one), cpu, wgpu[:N] or cuda[:N] (`proofmark list devices`)
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Write the report here (JSON); - for standard output; default: no report
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
    /// Write the reconstructed trigger here (.npz: mask, pattern, y); default: it is not written
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) save: Option<PathBuf>,
}
