//! Devices by name.

mod adapter;

use burn::tensor::Device;

use crate::RunError;
use adapter::{Gpu, Kind, choose, is_software};

/// Names a user may give; `wgpu` and `cuda` also take the number of an adapter, as in `wgpu:1`.
pub const DEVICES: [&str; 4] = ["auto", "cpu", "wgpu", "cuda"];

/// Returns the device of this name.
///
/// `cpu` is the pure-Rust backend; `wgpu` and `cuda` are the best GPU that library finds, `wgpu:1` is adapter 1 of
/// [`devices`], and `auto` is a GPU if there is one, else `cpu`. An adapter that computes on the CPU (`llvmpipe`,
/// `SwiftShader`) is only used if given by its number.
///
/// ```
/// let device = proofmark::device("cpu")?;
/// assert_eq!(proofmark::describe(&device), "cpu");
/// assert!(proofmark::device("gpu").is_err());
/// # Ok::<(), proofmark::RunError>(())
/// ```
pub fn device(name: &str) -> Result<Device, RunError> {
    let error = |problem: String| RunError::Device {
        given: name.to_owned(),
        problem,
    };
    match name {
        "cpu" => return cpu().map_err(error),
        // Not `Device::default()`, which also reads the environment: a run's device must be the one its report names.
        "auto" => {
            return Gpu::ALL
                .into_iter()
                .find_map(|gpu| adapter(gpu, None).ok())
                .map_or_else(|| cpu().map_err(error), Ok);
        }
        _ => {}
    }
    let (library, index) = match name.split_once(':') {
        Some((library, index)) => (library, Some(index)),
        None => (name, None),
    };
    let Ok(gpu) = library.parse::<Gpu>() else {
        let hint = proofmark_domain::hint(library, DEVICES);
        return Err(error(format!(
            "no such device{hint}; expected one of {}, or an adapter by its number as in wgpu:1",
            DEVICES.join(", ")
        )));
    };
    let index = index.map(str::parse::<usize>).transpose().map_err(|_| {
        error(format!(
            "expected the number of an adapter, as in {library}:0"
        ))
    })?;
    adapter(gpu, index).map_err(error)
}

fn adapter(gpu: Gpu, index: Option<usize>) -> Result<Device, String> {
    let adapters = gpu.adapters()?;
    let kinds: Vec<Kind> = adapters.iter().map(|a| a.kind).collect();
    let chosen = choose(gpu.as_str(), &kinds, index, |i| adapters[i].name())?;
    Ok(adapters[chosen].device.clone())
}

#[cfg(feature = "flex")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "a build without the feature has no CPU"
)]
fn cpu() -> Result<Device, String> {
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn cpu() -> Result<Device, String> {
    Err("this build has no CPU backend; build it with `--features flex`".to_owned())
}

/// Returns every device a user may name on this machine, with a description. Opens the GPUs to read their names.
pub fn devices() -> Vec<(String, String)> {
    let state = |device: Result<Device, RunError>| match device {
        Ok(device) => format!("here: {}", describe(&device)),
        Err(e) => e.to_string(),
    };
    let mut all = vec![
        ("auto".to_owned(), state(device("auto"))),
        ("cpu".to_owned(), state(device("cpu"))),
    ];
    for gpu in [Gpu::Wgpu, Gpu::Cuda] {
        let adapters = match gpu.adapters() {
            Ok(adapters) if !adapters.is_empty() => adapters,
            Ok(_) => {
                all.push((gpu.as_str().to_owned(), "no adapter here".to_owned()));
                continue;
            }
            Err(problem) => {
                all.push((gpu.as_str().to_owned(), problem));
                continue;
            }
        };
        for (i, adapter) in adapters.iter().enumerate() {
            let name = adapter.name();
            let software =
                adapter.kind == Kind::Software || name.as_deref().is_some_and(is_software);
            let about = match name {
                None => "cannot be opened".to_owned(),
                Some(name) if software => {
                    format!("{name}, software: slower than cpu, only used if given by its number")
                }
                Some(name) => format!("{name}, {}", adapter.kind.as_str()),
            };
            all.push((format!("{}:{i}", gpu.as_str()), about));
        }
    }
    all
}

/// Returns the name of a device in reports: `cpu`, or the library and the adapter's name, `wgpu (NVIDIA H100 PCIe)`.
pub fn describe(device: &Device) -> String {
    let text = format!("{device:?}").to_ascii_lowercase();
    if text.contains("flex") {
        return "cpu".to_owned();
    }
    let library = Gpu::ALL
        .into_iter()
        .find(|gpu| text.contains(gpu.as_str()))
        .map_or(text.clone(), |gpu| gpu.as_str().to_owned());
    match adapter::driver_name(device) {
        Some(name) => format!("{library} ({name})"),
        None => library,
    }
}

/// Whether results on this device repeat bit for bit (given equal tiles).
pub(crate) fn is_exact(device: &Device) -> bool {
    describe(device) == "cpu"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_devices_are_refused_with_a_hint() {
        for (name, words) in [
            ("gpu", ["no such device", "wgpu:1"]),
            ("wpgu:0", ["no such device", "did you mean `wgpu`"]),
            ("cpu:0", ["no such device", "did you mean `cpu`"]),
            ("wgpu:x", ["number of an adapter", "wgpu:0"]),
            ("cuda:-1", ["number of an adapter", "cuda:0"]),
        ] {
            let told = device(name).unwrap_err().to_string();
            for word in words {
                assert!(told.contains(word), "{name}: {told}");
            }
        }
    }
}
