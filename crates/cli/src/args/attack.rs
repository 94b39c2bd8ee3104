//! Arguments of `attack`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proofmark::data::Options;
use proofmark::domain::{Averaging, MapSpec, Shard};

use super::{Onnx, PreprocessArgs, Typed, shard};

#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_help = "\
Epsilon is in data units (pixels in [0, 1]); 8/255 is understood. Every run tests its own attacks (docs/trust.md): a \
gradient-free baseline at each budget, one unbounded attack, the gradients around up to 128 samples, and adversarials \
planted near up to 32.

Examples:
  proofmark attack digits-robust --data digits --norm linf --eps 0.1 --out report.json
  proofmark attack digits-standard --data digits --attack fgsm,pgd --norm l2 --eps 0.5,1,2 --steps 50 --restarts 3
  proofmark attack digits-robust --data digits --attack autoattack --norm linf --eps 0.15 --limit 100
  proofmark attack digits-standard --data digits --surrogate digits-robust --attack pgd,square --norm linf --eps 0.1
  proofmark attack digits-standard --data digits --surrogate digits-robust --transfer --attack ti-fgsm --norm linf --eps 0.1
  proofmark attack digits-robust --data digits --attack pgd --set pgd.loss=dlr --norm linf --eps 0.1 --fail-under 0.5
  proofmark attack digits-robust --data digits --attack apgd --norm linf --eps 0.02,0.05,0.1,0.15 --plot curve.svg
  proofmark attack digits-robust --data digits --attack pgd --norm linf --eps 0.1 --criterion top-k=3 --per-class
  proofmark attack digits-robust --data digits --map spatial:degrees=20:shift=0.1 --attack grid
  proofmark attack digits-robust --data digits --map patch:share=0.1 --attack uap-pgd --save patched.npz
  proofmark attack prices.onnx --data prices.csv --bounds 0,1 --attack pgd --norm linf --eps 0.01 --criterion regression=5
  proofmark attack digits-robust --data digits --attack pgd --certify interval,crown --norm linf --eps 0.01,0.02,0.05
  proofmark attack model.onnx --data images.npz --scale 255 --attack pgd --norm linf --eps 8/255
  proofmark attack model.onnx --data val/ --resize 256 --crop 224 --attack pgd --norm linf --eps 4/255 --limit 200
  proofmark attack digits-robust --data my.npz --bounds 0,1 --attack pgd --norm linf --eps 8/255 --save adversarials.npz"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command that do not depend on each other"
)]
pub(crate) struct Attack {
    /// An .onnx file, or a shipped model by name
    pub(crate) model: String,
    /// A shipped set by name, an .npz, .npy, .csv, IDX (gz too) or CIFAR .bin file, or a folder with a sub-folder of PNG
    /// or JPEG files per class (docs/data.md)
    #[arg(long, value_name = "SET")]
    pub(crate) data: String,
    /// Attacks by id, separated by commas; default: proofmark, the suite that suits what the model gives (none beside
    /// --certify)
    #[arg(long = "attack", value_name = "ID[,ID…]", value_delimiter = ',')]
    pub(crate) attacks: Vec<String>,
    /// Also prove samples robust at each budget: interval or crown (linf), smoothing (l2, about the smoothed model);
    /// default: no certificates
    #[arg(long, value_name = "ID[,ID…]", value_delimiter = ',')]
    pub(crate) certify: Vec<String>,
    /// Norm of the budget: linf, l2, l1 or l0; MOD=NORM for one of several inputs; default: none, needed without --map
    #[arg(
        long,
        value_name = "[MOD=]NORM",
        required_unless_present = "map",
        conflicts_with = "map"
    )]
    pub(crate) norm: Vec<String>,
    /// Let attacks choose the parameters of a map in place of values: spatial (rotation and translation) or patch, with
    /// FIELD=V for its limits (docs/maps.md); default: no map
    #[arg(long, value_name = "NAME[:FIELD=V…]")]
    pub(crate) map: Option<MapSpec>,
    /// Budgets in data units; several make a curve; MOD=EPS for one of several inputs. With --map, shares of its limits,
    /// default 1
    #[arg(
        long,
        value_name = "[MOD=]F[,F…]",
        required_unless_present_any = ["per_sample_eps", "map"],
        allow_hyphen_values = true
    )]
    pub(crate) eps: Vec<String>,
    /// One budget shared by all inputs: exponent q of (sum (d/eps)^q)^(1/q) <= 1; default: each input has its own
    #[arg(long, value_name = "Q", conflicts_with = "map")]
    pub(crate) shared: Option<f64>,
    /// Take each sample's epsilon from the set's array `eps`, for every input without --eps MOD=EPS
    #[arg(long, conflicts_with = "map")]
    pub(crate) per_sample_eps: bool,
    /// Inputs to freeze: attacks may not change them; default: none
    #[arg(long, value_name = "MOD", conflicts_with = "map")]
    pub(crate) freeze: Vec<String>,
    #[command(flatten)]
    pub(crate) reading: Typed<Options>,
    #[command(flatten)]
    pub(crate) preprocess: PreprocessArgs,
    #[command(flatten)]
    pub(crate) onnx: Onnx,
    /// Take the gradients of this model instead: an .onnx file or a shipped model, read with the same preprocessing; of
    /// several, separated by commas, the mean (docs/surrogates.md); default: the model's own
    #[arg(
        long,
        value_name = "MODEL[,MODEL…]",
        value_delimiter = ',',
        help_heading = "Surrogates"
    )]
    pub(crate) surrogate: Vec<String>,
    /// What is averaged over several surrogates: logits, probabilities or losses; default: logits
    #[arg(
        long,
        value_name = "WHAT",
        requires = "surrogate",
        help_heading = "Surrogates"
    )]
    pub(crate) surrogate_average: Option<Averaging>,
    /// Show attacks the surrogate alone, and ask the model about the final point of each restart
    #[arg(long, requires = "surrogate", help_heading = "Surrogates")]
    pub(crate) transfer: bool,
    /// Steps of every attack that has steps; default: each attack's own (`proofmark list attacks`)
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// Step size in data units, of every attack that has one; default: each attack's own, from epsilon and steps
    #[arg(long, value_name = "F")]
    pub(crate) step_size: Option<f64>,
    /// Restarts of every attack that has restarts; default: each attack's own
    #[arg(long, value_name = "N")]
    pub(crate) restarts: Option<u32>,
    /// Loss of every attack that has one: ce, margin or dlr; default: each attack's own
    #[arg(long, value_name = "LOSS")]
    pub(crate) loss: Option<String>,
    /// What counts as success: misclassification, margin=K, probability-margin=P, top-k=K, multi-label, regression=B or
    /// interval=LOW,HIGH (docs/criteria.md); several must be met together; default: misclassification
    #[arg(long, value_name = "NAME[=V][:FIELD=V]", allow_hyphen_values = true)]
    pub(crate) criterion: Vec<String>,
    /// Class to reach: least-likely, next or the number of a class; default: untargeted
    #[arg(long, value_name = "CLASS")]
    pub(crate) targeted: Option<String>,
    /// One parameter of one attack or certificate; default: as `proofmark list attacks` and `list certificates` show
    #[arg(long, value_name = "ID.FIELD=V")]
    pub(crate) set: Vec<String>,
    /// A seeded, class-stratified subset of this many samples; default: all
    #[arg(long, value_name = "N", conflicts_with = "range")]
    pub(crate) limit: Option<usize>,
    /// Rows A to B in file order, B excluded; default: all
    #[arg(long, value_name = "A..B")]
    pub(crate) range: Option<String>,
    /// Judge against the data's labels (or targets), or the model's own clean predictions
    #[arg(long, value_enum, default_value = "given")]
    pub(crate) labels: LabelsArg,
    /// Seed of every random number
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Samples processed at once; affects speed and memory, never results
    #[arg(long, value_name = "N", default_value_t = proofmark::Settings::default().batch)]
    pub(crate) batch_size: usize,
    /// Keep broken samples in the batch instead of dropping them (same results, slower)
    #[arg(long)]
    pub(crate) no_compaction: bool,
    /// Forward passes one attack may spend on one sample; default: no limit
    #[arg(long, value_name = "N")]
    pub(crate) forwards: Option<u64>,
    /// Device: auto (a GPU if there is one), cpu, wgpu[:N] or cuda[:N] (`proofmark list devices`)
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Run part I of N, counted from 0; default: the whole
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(crate) shard: Option<Shard>,
    /// Exit 1 if worst-case robust accuracy is below this at 95 % confidence, 3 if inconclusive; default: exit 0
    #[arg(long, value_name = "F")]
    pub(crate) fail_under: Option<f64>,
    /// Write the report to this JSON file; default: no report
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) beside: BesideTable,
    /// Write every sample to this .npz file, perturbed if it was broken, with the attack and budget that broke it;
    /// default: no file
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// With --save: also write the unperturbed samples, as arrays `original_NAME`
    #[arg(long, requires = "save")]
    pub(crate) save_originals: bool,
}

/// What is drawn or printed beside the table.
#[derive(Debug, Args, Default)]
pub(crate) struct BesideTable {
    /// Draw accuracy by epsilon with its intervals into this SVG file; default: no file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Also print the results by true class
    #[arg(long)]
    pub(crate) per_class: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabelsArg {
    Given,
    Predicted,
}
