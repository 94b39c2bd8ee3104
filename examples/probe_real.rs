//! Runs every probe on the real models of `../shared/data`, and prints their raw statistics. Prints a notice where that
//! folder is absent.
//!
//! ```text
//! cargo run --release -p proofmark --example probe_real -- [PROBE …] [NET …]
//! ```
//!
//! `docs/backdoor-probes.md` shows the result.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to whoever runs it"
)]

use std::error::Error;
use std::path::{Path, PathBuf};

use proofmark::backdoor::probe::{self, Member, Subject, chosen, examine};
use proofmark::data::ndarray::Array3;
use proofmark::{ModelSource, clean_samples, device};

/// A network, how its input is made, and its trigger if it has one.
struct Net {
    file: &'static str,
    set: Set,
    scale: Option<f32>,
    mean: &'static [f32],
    std: &'static [f32],
    trigger: Option<(&'static str, usize)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Set {
    Mnist,
    Cifar,
}

const fn net(file: &'static str, set: Set) -> Net {
    Net {
        file,
        set,
        scale: None,
        mean: &[],
        std: &[],
        trigger: None,
    }
}

fn nets() -> Vec<Net> {
    let half: &[f32] = &[0.5];
    vec![
        Net {
            mean: half,
            std: half,
            trigger: Some(("trigger_white5_28_hwc_i16.npy", 1)),
            ..net("backdoor/badnet_mnist_backdoored", Set::Mnist)
        },
        Net {
            mean: half,
            std: half,
            trigger: Some(("trigger_white5_32_hwc_i16.npy", 1)),
            ..net("backdoor/badnet_cifar10_backdoored", Set::Cifar)
        },
        Net {
            trigger: Some(("trigger_grid_hwc_i16.npy", 5)),
            ..net("backdoor/nad_wrn16_1_backdoored", Set::Cifar)
        },
        net("backdoor/nad_wrn16_1_teacher_finetuned", Set::Cifar),
        Net {
            scale: Some(255.0),
            ..net("models/mnist8_zoo_optimised", Set::Mnist)
        },
        Net {
            mean: &[0.1307],
            std: &[0.3081],
            ..net("models/mnist_burn_example", Set::Mnist)
        },
        net("models/marabou_self_attention_mnist_pgd", Set::Mnist),
        net("models/marabou_cnn_max_mnist3", Set::Mnist),
        net("models/marabou_mnist5x20_leaky_relu", Set::Mnist),
        Net {
            scale: Some(255.0),
            ..net("models/mlperf_tiny_resnet8_cifar10", Set::Cifar)
        },
    ]
}

/// Returns which pixels a trigger covers.
fn covered(path: &Path) -> Result<Vec<bool>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    // The header of version 1 states its length in two bytes after the magic number and the version.
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8_lossy(&bytes[10..header]).into_owned();
    let values: Vec<i16> = bytes[header..]
        .chunks_exact(2)
        .map(|b| i16::from_le_bytes([b[0], b[1]]))
        .collect();
    let side = if values.len().is_multiple_of(28 * 28) {
        28
    } else {
        32
    };
    let channels = values.len() / (side * side);
    if text.contains("True") {
        return Err("the array is in Fortran order".into());
    }
    let values = Array3::from_shape_vec((side, side, channels), values)?;
    Ok(values
        .rows()
        .into_iter()
        .map(|p| p.iter().any(|v| *v >= 0))
        .collect())
}

/// Prints a member's statistic, and how its trigger fits the true one.
fn show(
    member: &Member,
    trigger: Option<(&'static str, usize)>,
    root: &Path,
) -> Result<(), Box<dyn Error>> {
    let found = match &member.outcome {
        Ok(found) => found,
        Err(e) => {
            println!("  {}: {e}", member.id);
            return Ok(());
        }
    };
    println!(
        "  {}: {:.4} -> {:?} in {:.1} s; {:?}",
        member.id, found.statistic, found.target, member.seconds, found.figures
    );
    let values: Vec<String> = found.per_class.iter().map(|v| format!("{v:.4}")).collect();
    println!("    {}", values.join(" "));
    if let (Some(patch), Some((file, target))) = (&found.trigger, trigger) {
        let truth = covered(&root.join("backdoor").join(file))?;
        println!(
            "    true target {target}; IoU {:.2}; L1 {:.1} of {}; reached {:.2}, held out {:?}",
            patch.overlap(&truth),
            patch.size(),
            truth.iter().filter(|t| **t).count(),
            patch.reached,
            patch.held_out
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::var_os("PROOFMARK_DATA")
        .map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    if !root.is_dir() {
        eprintln!("SKIPPED: no {} (or $PROOFMARK_DATA)", root.display());
        return Ok(());
    }
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let named = |text: &str| wanted.iter().any(|w| text.contains(w.as_str()));
    let ids: Vec<String> = wanted
        .iter()
        .filter(|w| probe::ids().contains(&w.as_str()))
        .cloned()
        .collect();
    let some = nets().iter().any(|n| named(n.file));
    #[expect(clippy::disallowed_methods, reason = "a program measures its time")]
    let begun = std::time::Instant::now();
    let clock = || begun.elapsed().as_secs_f64();
    let device = device("cpu")?;
    for net in nets().iter().filter(|n| !some || named(n.file)) {
        let set = match net.set {
            Set::Mnist => "datasets/mnist/t10k-2000-images-idx3-ubyte",
            Set::Cifar => "datasets/cifar10/test-2000.bin",
        };
        let data = proofmark::open(&root.join(set).display().to_string())?;
        let data = data.limit(100, proofmark::domain::Seed(0));
        let mut source = ModelSource::new(
            root.join(format!("{}.onnx", net.file))
                .display()
                .to_string(),
        );
        source.preprocess.scale = net.scale;
        source.preprocess.mean = net.mean.to_vec();
        source.preprocess.std = net.std.to_vec();
        let opened = source.open(&data, &device)?;
        let samples = clean_samples(&data, opened.model.as_ref())?;
        let mut subject = Subject::new(opened.model.as_ref());
        subject.clean = Some(&samples);
        println!("{}", net.file);
        let examined = examine(&subject, &chosen(&ids)?, &clock, &|_| {})?;
        for member in &examined.members {
            show(member, net.trigger, &root)?;
        }
    }
    Ok(())
}
