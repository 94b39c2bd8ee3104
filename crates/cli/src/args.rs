//! Command-line arguments.

pub(crate) mod attack;
pub(crate) mod audit;
pub(crate) mod plant;
pub(crate) mod probe;
mod typed;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use proofmark::data::Options;
use proofmark::domain::{OutputKind, Shard};
use proofmark::onnx::Layout;
use proofmark::{ModelSource, Preprocess};

use crate::failure::Failure;

pub(crate) use attack::Attack;
pub(crate) use typed::Typed;

/// Attacks machine-learning models and reports pass, fail or inconclusive, with evidence anyone can check.
#[derive(Debug, Parser)]
#[command(name = "proofmark", version, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 pass or measured · 1 findings · 2 usage, policy or input error · 3 inconclusive · 130 interrupted

Examples:
  proofmark list attacks
  proofmark attack digits-robust --data digits --attack pgd --norm linf --eps 0.1
  proofmark gate examples/gate/robust.toml")]
pub(crate) struct Cli {
    /// Print only requested results and errors: no progress, no tables
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List attacks, certificates, planters, metrics, kinds of checks, formats, devices, models, data sets and trust codes
    List(List),
    /// Show a model's inputs, outputs, operators, digest and what access it allows
    Inspect(Inspect),
    /// Run a model on arrays from an .npz file, and compare its outputs with a reference
    Infer(Box<Infer>),
    /// Attack a model on a data set and report its robust accuracy
    Attack(Box<Attack>),
    /// Search for a counterexample to a property: prints sat or unknown
    Falsify(Falsify),
    /// Plant a backdoor in a data set: a trigger in some samples, and the labels that go with it
    Plant(Box<plant::Plant>),
    /// Look for a backdoor in a model
    Probe(Box<probe::Probe>),
    /// Compare groups of a table of decisions, and judge the differences
    Audit(Box<audit::Audit>),
    /// Run the checks of a policy and judge the result
    Gate(Gate),
    /// Merge the reports of shards and recompute every figure
    Merge(Merge),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  proofmark list attacks\n  proofmark list metrics --all\n  proofmark list"
)]
pub(crate) struct List {
    /// What to list; default: everything
    #[arg(value_enum)]
    pub(crate) what: Option<What>,
    /// With metrics: list every audit metric with its definition, not only the base metrics
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Attacks,
    Certificates,
    Probes,
    Plants,
    Metrics,
    Checks,
    Formats,
    Devices,
    Models,
    Data,
    Trust,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Keys of an ONNX file in JSON (null: unknown or none):
  name, kind (\"onnx\"), sha256, producer, ir_version, opsets {domain: version}, parameters
  inputs, outputs        [{name, dtype, shape}]; a dimension is a length, a name or null
  supported, problem     whether all outputs can be computed here, and why not
  computable             outputs that need no unsupported operator; if there are none, the inputs of those operators
  output                 the value used as the scores, if it is not the first output
  notes                  remarks on how the model is computed
  operators              [{name, domain, opset, count, supported, gradient, reads_back}]
                         gradient: exact, zero, straight-through or none; reads_back: computed on the host
  unsupported            [{node, operator, opset}], including nodes inside branches, loops and functions
  access, no_access      what attacks may use, or why they may use nothing
  frozen                 inputs that no attack may change (ids, masks)
  kernels                {instruction_set, steps, problem}: what is computed together, or why nothing is
  classes, batch, scores, approximate_gradients, layers
                         of a classifier: how samples are batched, where the scores come from, nodes whose
                         derivative is replaced, zero or cut, inner values that can be read

Examples:
  proofmark inspect model.onnx
  proofmark inspect model.onnx --format json
  proofmark inspect digits-robust")]
pub(crate) struct Inspect {
    /// An .onnx file, or a shipped model by name
    pub(crate) model: String,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: InspectFormat,
    /// Output or inner value that holds the scores (default: the first that can be computed)
    #[arg(long, value_name = "NAME")]
    pub(crate) output: Option<String>,
    /// Device to load it on: auto, cpu, wgpu[:N] or cuda[:N] (`proofmark list devices`)
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    #[command(flatten)]
    pub(crate) fixed: Fixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InspectFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Arrays have the names of the model's inputs and outputs; a model with one input also takes the array that `attack`
takes: `x`, the only one, the one that --arrays names or one with a name such as `x_test`. Whole numbers may have any
integer type that holds them, float64 becomes float32, and whole numbers become floating-point as --units says (uint8
images are divided by 255 by default). Bounds are optional; if they are stated, values outside are refused. A model
exported for one row takes any number of rows. Arrays whose shape differs from the model's are read as `attack` reads
them: axes of length 1 are added or removed, flat rows are reshaped, images are transposed to the declared or stated
layout.

Examples:
  proofmark infer model.onnx --data in.npz
  proofmark infer model.onnx --data images.npz --layout nchw --scale 255
  proofmark infer model.onnx --data table.csv --delimiter ';' --label-column species
  proofmark infer model.onnx --data val/ --resize 256 --crop 224
  proofmark infer model.onnx --data in.npz --out out.npz
  proofmark infer model.onnx --data in.npz --expect reference.npz --tol 1e-3
  proofmark infer vad.onnx --data speech.npz --fix sr=16000 --node /encoder/Relu_output_0 --out out.npz
  proofmark infer digits-robust --data images.npz --out logits.npz")]
pub(crate) struct Infer {
    /// An .onnx file, or a shipped model by name
    pub(crate) model: String,
    /// An .npz file with an array per input, or any set that `attack` reads (docs/data.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) data: PathBuf,
    /// Write the outputs to this .npz file; default: print them, unless --expect is given
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Compare the outputs with those of this .npz file, by name; exit 1 if one does not agree; default: no comparison
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
    /// Allowed deviation: F times the largest element of the reference, plus F/10
    #[arg(
        long,
        value_name = "F",
        default_value_t = 1e-4,
        allow_negative_numbers = true
    )]
    pub(crate) tol: f64,
    /// Compute only these outputs or inner values (default: all outputs)
    #[arg(long, value_name = "NAME[,NAME…]", value_delimiter = ',')]
    pub(crate) output: Vec<String>,
    /// Also return these inner values, named by value or by the node that computes them; default: none
    #[arg(long, value_name = "NAME[,NAME…]", value_delimiter = ',')]
    pub(crate) node: Vec<String>,
    /// Image layout that the ONNX model expects, nchw or nhwc; default: arrays that fit are kept as they are
    #[arg(long, value_name = "LAYOUT", help_heading = "ONNX models")]
    pub(crate) layout: Option<Layout>,
    #[command(flatten)]
    pub(crate) preprocess: PreprocessArgs,
    #[command(flatten)]
    pub(crate) reading: Typed<Options>,
    #[command(flatten)]
    pub(crate) fixed: Fixed,
    /// Device: auto (a GPU if there is one), cpu, wgpu[:N] or cuda[:N] (`proofmark list devices`)
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
}

/// Preprocessing of the data before the model.
#[derive(Debug, Args, Default)]
pub(crate) struct PreprocessArgs {
    /// The model was trained on (x * scale - mean) / std: scale; default: 1
    #[arg(long, value_name = "F", allow_hyphen_values = true)]
    scale: Option<f32>,
    /// … mean, one value or one per channel; default: 0
    #[arg(
        long,
        value_name = "F[,F…]",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    mean: Vec<f32>,
    /// … standard deviation, one value or one per channel; default: 1
    #[arg(long, value_name = "F[,F…]", value_delimiter = ',')]
    std: Vec<f32>,
}

impl PreprocessArgs {
    /// Converts the arguments to the library's type.
    pub(crate) fn preprocess(&self) -> Preprocess {
        let mut preprocess = Preprocess::default();
        preprocess.scale = self.scale;
        preprocess.mean.clone_from(&self.mean);
        preprocess.std.clone_from(&self.std);
        preprocess
    }
}

/// Facts about an ONNX model that its file does not state.
#[derive(Debug, Args, Default)]
pub(crate) struct Onnx {
    /// Image layout that the ONNX model expects, nchw or nhwc; default: as its declared shape says
    #[arg(long, value_name = "LAYOUT", help_heading = "ONNX models")]
    pub(crate) layout: Option<Layout>,
    /// The output (or inner value) with one score per class; default: the first output
    #[arg(long, value_name = "NAME", help_heading = "ONNX models")]
    pub(crate) output: Option<String>,
    /// What that output holds: logits (log-probabilities too), probabilities, or one logit per sample for two classes;
    /// a final Softmax or Sigmoid is detected and bypassed in any case
    #[arg(
        long,
        value_name = "KIND",
        default_value = "logits",
        help_heading = "ONNX models"
    )]
    pub(crate) output_kind: OutputKind,
    #[command(flatten)]
    pub(crate) fixed: Fixed,
}

impl Onnx {
    /// Returns the model source with these options set.
    pub(crate) fn source(&self, spec: &str) -> Result<ModelSource, Failure> {
        let mut source = ModelSource::new(spec);
        source.onnx.layout = self.layout;
        source.onnx.output.clone_from(&self.output);
        source.onnx.kind = self.output_kind;
        source.fixed = self.fixed.values()?;
        Ok(source)
    }
}

/// Inputs that are fixed to constants.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Fixed {
    /// Fix an input of an ONNX model to a constant, the same number everywhere (a sample rate, a state of zeros);
    /// default: none
    #[arg(
        long,
        value_name = "INPUT=NUMBER",
        allow_hyphen_values = true,
        help_heading = "ONNX models"
    )]
    pub(crate) fix: Vec<String>,
}

impl Fixed {
    /// Returns the constants by input name.
    pub(crate) fn values(&self) -> Result<BTreeMap<String, f64>, Failure> {
        let mut fixed = BTreeMap::new();
        for text in &self.fix {
            let expected = || {
                Failure(format!(
                    "--fix {text}; expected INPUT=NUMBER, such as sr=16000"
                ))
            };
            let (input, number) = text.split_once('=').ok_or_else(expected)?;
            let number: f64 = number.parse().map_err(|_| expected())?;
            if fixed.insert(input.to_owned(), number).is_some() {
                return Err(Failure(format!(
                    "--fix {text}: given twice for the same input"
                )));
            }
        }
        Ok(fixed)
    }

    /// Refuses `--fix` for a shipped model.
    pub(crate) fn refuse(&self, model: &str) -> Result<(), Failure> {
        if self.fix.is_empty() {
            return Ok(());
        }
        Err(Failure(format!(
            "--fix: model `{model}` is no ONNX file, and its only input is the data"
        )))
    }
}

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Prints `sat` where an input within the property's bounds gives outputs that satisfy it, measured again by a forward pass
of its own, else `unknown`. It never says that there is no such input. X_i are the model's inputs in their declared order,
flat; Y_j its outputs as they stand in the file.

Examples:
  proofmark falsify model.onnx property.vnnlib
  proofmark falsify model.onnx property.vnnlib.gz --timeout 300 --seed 1 --out counterexample.txt"
)]
pub(crate) struct Falsify {
    /// An .onnx file, or a shipped model by name
    pub(crate) model: String,
    /// The property, VNN-LIB 1.0 (gz too)
    pub(crate) spec: PathBuf,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub(crate) timeout: f64,
    /// Seed of every random number
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Write the result to this file in VNN-COMP's format: `sat` and the point, or `unknown`; default: no file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Device: auto (a GPU if there is one), cpu, wgpu[:N] or cuda[:N] (`proofmark list devices`)
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// The output that the property is about; default: the first
    #[arg(long, value_name = "NAME", help_heading = "ONNX models")]
    pub(crate) output: Option<String>,
    #[command(flatten)]
    pub(crate) fixed: Fixed,
}

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Examples:
  proofmark gate examples/gate/robust.toml
  proofmark gate policy.toml --out-dir gate-run
  proofmark gate policy.toml --out-dir part --shard 0/3        # … 1/3, 2/3, then:
  proofmark gate policy.toml --from-evidence part              # judge without running anything
  proofmark gate policy.toml --format json > gate.json"
)]
pub(crate) struct Gate {
    /// The policy file
    pub(crate) policy: PathBuf,
    /// Folder for gate.json and the evidence of each check, created if absent; default: nothing is written
    #[arg(long, value_name = "DIR")]
    pub(crate) out_dir: Option<PathBuf>,
    /// Also print the result to standard output in this format (`proofmark list formats`); default: none
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// Only measure part I of N of each check's samples, and judge later with --from-evidence; default: the whole
    #[arg(long, value_name = "I/N", value_parser = shard, requires = "out_dir")]
    pub(crate) shard: Option<Shard>,
    /// Reuse checks already measured in this folder and continue the one that was stopped; default: measure all
    #[arg(long, value_name = "DIR", conflicts_with = "from_evidence")]
    pub(crate) resume: Option<PathBuf>,
    /// Judge the evidence in this folder without running anything; default: measure first
    #[arg(long, value_name = "DIR", conflicts_with = "shard")]
    pub(crate) from_evidence: Option<PathBuf>,
    /// Accept evidence only from this run's device (see --device); default: from any device
    #[arg(long)]
    pub(crate) same_device: bool,
    /// Stop measuring after this many seconds; unfinished samples count as not judged; default: no limit
    #[arg(long, value_name = "S")]
    pub(crate) time_budget: Option<f64>,
    /// Samples processed at once
    #[arg(long, value_name = "N", default_value_t = proofmark::Settings::default().batch)]
    pub(crate) batch_size: usize,
    /// Device: auto (a GPU if there is one), cpu, wgpu[:N] or cuda[:N] (`proofmark list devices`)
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  proofmark merge part-0.json part-1.json part-2.json --out whole.json"
)]
pub(crate) struct Merge {
    /// Reports of all shards of one run
    #[arg(required = true)]
    pub(crate) reports: Vec<PathBuf>,
    /// Write the merged report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Splits the value of `--set`, ID.FIELD=VALUE.
pub(crate) fn assignment(text: &str) -> Result<(&str, &str, &str), Failure> {
    let expected = || {
        Failure(format!(
            "--set {text}; expected ID.FIELD=VALUE, such as pgd.loss=dlr"
        ))
    };
    let (path, value) = text.split_once('=').ok_or_else(expected)?;
    let (id, field) = path.split_once('.').ok_or_else(expected)?;
    Ok((id, field, value))
}

/// Reads a value as TOML; a bare word is a string.
pub(crate) fn toml_value(value: &str) -> toml::Value {
    format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()))
}

fn shard(text: &str) -> Result<Shard, String> {
    let expected = || format!("`{text}`; expected I/N with I below N, such as 0/3");
    let (i, n) = text.split_once('/').ok_or_else(expected)?;
    let (Ok(index), Ok(count)) = (i.parse(), n.parse()) else {
        return Err(expected());
    };
    if index < count {
        Ok(Shard { index, count })
    } else {
        Err(expected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    /// The help of every option that takes a value names its default. `audit` is excluded.
    #[test]
    fn every_option_names_its_default() {
        use clap::CommandFactory as _;
        let cli = Cli::command();
        let mut silent = Vec::new();
        for command in cli.get_subcommands().filter(|c| c.get_name() != "audit") {
            for option in command
                .get_opts()
                .filter(|o| o.get_action().takes_values() && !o.is_required_set())
            {
                let help = option
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let name = option.get_id().as_str();
                // `--eps` is required unless the set holds the epsilons.
                if option.get_default_values().is_empty()
                    && !help.contains("default:")
                    && name != "eps"
                {
                    silent.push(format!("{} --{name}", command.get_name()));
                }
            }
        }
        assert_eq!(silent, [""; 0]);
    }

    #[test]
    fn shards_are_checked() {
        assert_eq!(shard("1/3"), Ok(Shard { index: 1, count: 3 }));
        for bad in ["", "1", "3/3", "a/3", "1/0", "-1/3"] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }
}
