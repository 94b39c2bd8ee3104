//! Devices by name.

use burn::tensor::Device;

use crate::RunError;

/// Names a user may give.
pub const DEVICES: [&str; 4] = ["auto", "cpu", "wgpu", "cuda"];

/// The device of this name: `auto` is the best this build was made with, `cpu` the pure-Rust backend.
pub fn device(name: &str) -> Result<Device, RunError> {
    let error = |problem: String| RunError::Device {
        given: name.to_owned(),
        problem,
    };
    let missing = |feature: &str| {
        error(format!(
            "this build has no {feature}; build it with `--features {feature}`"
        ))
    };
    match name {
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        #[cfg(not(feature = "cuda"))]
        "cuda" => Err(missing("cuda")),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(Default::default())),
        #[cfg(not(feature = "wgpu"))]
        "wgpu" => Err(missing("wgpu")),
        #[cfg(feature = "flex")]
        "cpu" => Ok(Device::flex()),
        #[cfg(not(feature = "flex"))]
        "cpu" => Err(missing("flex")),
        // `Device::default()` would also listen to the environment: a run's device is what its report says.
        "auto" => ["cuda", "wgpu", "cpu"]
            .into_iter()
            .find_map(|d| device(d).ok())
            .ok_or_else(|| missing("flex")),
        _ => {
            let hint = proofmark_domain::nearest(name, DEVICES)
                .map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"));
            Err(error(format!(
                "no such device{hint}; expected one of {}",
                DEVICES.join(", ")
            )))
        }
    }
}

/// The name a report gives a device.
pub fn describe(device: &Device) -> String {
    let text = format!("{device:?}").to_ascii_lowercase();
    ["cuda", "wgpu", "flex"]
        .into_iter()
        .find(|n| text.contains(n))
        .map_or(text.clone(), |n| {
            if n == "flex" {
                "cpu".to_owned()
            } else {
                n.to_owned()
            }
        })
}

/// Whether results on this device repeat bit for bit (given equal tiles).
pub(crate) fn is_exact(device: &Device) -> bool {
    describe(device) == "cpu"
}
