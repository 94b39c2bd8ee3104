//! The GPUs that wgpu and CUDA find, and the choice among them.

use burn::tensor::Device;
use proofmark_model::guarded;
use strum::VariantArray as _;

/// A library that reaches GPUs, named after the feature that enables it; the preferred one first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "lowercase")]
pub(super) enum Gpu {
    /// NVIDIA GPUs.
    Cuda,
    /// Vulkan, Metal, DirectX or OpenGL.
    Wgpu,
}

/// Kind of an adapter, the preferred one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(any(test, feature = "wgpu")),
    expect(dead_code, reason = "only wgpu tells kinds apart")
)]
pub(super) enum Kind {
    Discrete,
    Integrated,
    Virtual,
    /// A GPU that does not state its kind, as under OpenGL.
    Other,
    /// A driver that computes on the CPU (`llvmpipe`, `SwiftShader`): far slower than the CPU backend.
    Software,
}

/// Words in the names of drivers that compute on the CPU, whatever kind they state.
const SOFTWARE: [&str; 5] = [
    "llvmpipe",
    "lavapipe",
    "softpipe",
    "swiftshader",
    "basic render",
];

/// An adapter that a library lists.
pub(super) struct Adapter {
    pub(super) device: Device,
    pub(super) kind: Kind,
}

impl Gpu {
    /// All libraries, in order of preference.
    pub(super) const ALL: [Self; Self::VARIANTS.len()] = *Self::VARIANTS.as_array().unwrap();

    /// Returns its name on the command line.
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns every adapter on this machine; an error if this build lacks the library or the library fails.
    pub(super) fn adapters(self) -> Result<Vec<Adapter>, String> {
        let name = self.as_str();
        let found = guarded(name, || Ok(self.find())).map_err(|e| e.to_string())?;
        found.ok_or_else(|| format!("this build has no {name}; build it with `--features {name}`"))
    }

    fn find(self) -> Option<Vec<Adapter>> {
        match self {
            Self::Cuda => cuda(),
            Self::Wgpu => wgpu(),
        }
    }
}

#[cfg(feature = "cuda")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "a build without the feature finds nothing"
)]
fn cuda() -> Option<Vec<Adapter>> {
    let devices = Device::enumerate(burn::tensor::DeviceType::Cuda);
    let adapter = |device| Adapter {
        device,
        kind: Kind::Discrete,
    };
    Some(devices.into_iter().map(adapter).collect())
}

#[cfg(not(feature = "cuda"))]
const fn cuda() -> Option<Vec<Adapter>> {
    None
}

#[cfg(feature = "wgpu")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "a build without the feature finds nothing"
)]
fn wgpu() -> Option<Vec<Adapter>> {
    let devices = Device::enumerate(burn::tensor::DeviceType::Wgpu);
    let n = devices.len();
    let adapter = |device| Adapter {
        kind: wgpu_kind(&device, n),
        device,
    };
    Some(devices.into_iter().map(adapter).collect())
}

#[cfg(not(feature = "wgpu"))]
const fn wgpu() -> Option<Vec<Adapter>> {
    None
}

/// Returns the kind of one of `n` wgpu devices; wgpu numbers each kind from 0.
#[cfg(feature = "wgpu")]
fn wgpu_kind(device: &Device, n: usize) -> Kind {
    use burn::tensor::DeviceKind;
    let is = |kind: DeviceKind| *device == Device::wgpu(kind);
    if is(DeviceKind::Cpu) {
        Kind::Software
    } else if (0..n).any(|i| is(DeviceKind::DiscreteGpu(i))) {
        Kind::Discrete
    } else if (0..n).any(|i| is(DeviceKind::IntegratedGpu(i))) {
        Kind::Integrated
    } else if (0..n).any(|i| is(DeviceKind::VirtualGpu(i))) {
        Kind::Virtual
    } else {
        Kind::Other
    }
}

impl Adapter {
    /// Returns the name that the driver gives it. Opens the adapter; `None` if that fails.
    pub(super) fn name(&self) -> Option<String> {
        driver_name(&self.device)
    }
}

/// Returns the name that a driver gives a GPU; `None` for the CPU.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub(super) fn driver_name(device: &Device) -> Option<String> {
    guarded("device", || Ok(device.identity()))
        .ok()
        .flatten()
        .map(|identity| identity.name)
}

/// Returns `None`: a build without GPU libraries has no driver to ask.
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
pub(super) fn driver_name(_: &Device) -> Option<String> {
    None
}

impl Kind {
    /// Returns its description for lists.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Other => "GPU",
            Self::Software => "software",
        }
    }
}

/// Chooses the adapter of this index, else the first of the best kind, skipping those that compute on the CPU.
///
/// `name` opens an adapter and returns its name; `None` if it cannot be opened.
pub(super) fn choose(
    library: &str,
    kinds: &[Kind],
    index: Option<usize>,
    name: impl Fn(usize) -> Option<String>,
) -> Result<usize, String> {
    let listed = || -> String {
        let each = kinds.iter().enumerate().map(|(i, kind)| {
            let name = name(i).unwrap_or_else(|| "cannot be opened".to_owned());
            format!("{library}:{i} ({name}, {})", kind.as_str())
        });
        each.collect::<Vec<_>>().join(", ")
    };
    if kinds.is_empty() {
        return Err("finds no adapter on this machine".to_owned());
    }
    if let Some(index) = index {
        return if index >= kinds.len() {
            Err(format!("there is no such adapter; there are {}", listed()))
        } else if name(index).is_none() {
            Err("the adapter cannot be opened".to_owned())
        } else {
            Ok(index)
        };
    }
    let mut order: Vec<usize> = (0..kinds.len())
        .filter(|i| kinds[*i] != Kind::Software)
        .collect();
    order.sort_by_key(|i| kinds[*i]);
    let is_hardware = |i: &usize| name(*i).is_some_and(|name| !is_software(&name));
    order.into_iter().find(is_hardware).ok_or_else(|| {
        format!(
            "finds no GPU on this machine, only {}; such an adapter is slower than `cpu`: name it with its number to take it all the same",
            listed()
        )
    })
}

/// Whether the name belongs to a driver that computes on the CPU.
pub(super) fn is_software(name: &str) -> bool {
    let name = name.to_lowercase();
    SOFTWARE.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(adapters: &[(&str, Kind)], index: Option<usize>) -> Result<usize, String> {
        let kinds: Vec<Kind> = adapters.iter().map(|a| a.1).collect();
        let name = |i: usize| Some(adapters[i].0.to_owned()).filter(|n| !n.is_empty());
        choose("wgpu", &kinds, index, name)
    }

    const LLVMPIPE: (&str, Kind) = ("llvmpipe (LLVM 15.0.6, 256 bits)", Kind::Software);
    const RADEON: (&str, Kind) = ("AMD Radeon 780M", Kind::Integrated);
    const H100: (&str, Kind) = ("NVIDIA H100 PCIe", Kind::Discrete);

    #[test]
    fn a_software_adapter_is_never_taken_unnamed() {
        let refused = chosen(&[LLVMPIPE], None).unwrap_err();
        assert_eq!(
            refused,
            "finds no GPU on this machine, only wgpu:0 (llvmpipe (LLVM 15.0.6, 256 bits), software); \
             such an adapter is slower than `cpu`: name it with its number to take it all the same"
        );
        // Drivers that state another kind.
        for name in [
            "llvmpipe (LLVM 17)",
            "SwiftShader Device (Subzero)",
            "Microsoft Basic Render Driver",
            "lavapipe",
        ] {
            for kind in [Kind::Discrete, Kind::Virtual, Kind::Other] {
                assert!(chosen(&[(name, kind)], None).is_err(), "{name}");
            }
        }
        assert!(chosen(&[("plain CPU", Kind::Software)], None).is_err());
    }

    #[test]
    fn the_best_hardware_is_taken_whatever_its_place() {
        assert_eq!(chosen(&[LLVMPIPE, RADEON, H100], None), Ok(2));
        assert_eq!(chosen(&[LLVMPIPE, RADEON], None), Ok(1));
        assert_eq!(chosen(&[H100, H100], None), Ok(0));
        assert_eq!(
            chosen(&[("Apple M2", Kind::Integrated), ("GL", Kind::Other)], None),
            Ok(0)
        );
        // An adapter that cannot be opened has no name and is skipped.
        assert_eq!(chosen(&[("", Kind::Discrete), RADEON], None), Ok(1));
    }

    #[test]
    fn an_index_takes_any_adapter_there_is() {
        assert_eq!(chosen(&[LLVMPIPE, H100], Some(0)), Ok(0));
        let beyond = chosen(&[LLVMPIPE, H100], Some(2)).unwrap_err();
        assert!(
            beyond.contains("no such adapter") && beyond.contains("wgpu:1 (NVIDIA H100 PCIe"),
            "{beyond}"
        );
        assert!(chosen(&[("", Kind::Other)], Some(0)).is_err());
        assert!(chosen(&[], None).unwrap_err().contains("no adapter"));
    }
}
