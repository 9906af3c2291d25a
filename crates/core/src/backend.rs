//! The list of backends: the one place that knows which are compiled in and how to open them.

#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
use burn::tensor::DeviceType;
#[cfg(feature = "wgpu")]
use burn::tensor::wgpu::{WgpuBackend, WgpuInitError};
use burn::tensor::{Device, DeviceKind};

use serde::{Deserialize, Serialize};

use fireclay_model::named_enum;

named_enum! {
    /// A backend, which executes tensor operations.
    #[derive(Default)]
    pub enum Backend as "backend" {
        /// Burn's pure-Rust CPU backend.
        #[default]
        Flex = "flex",
        /// The older CPU backend on the `ndarray` crate; deprecated by Burn, kept for comparison.
        NdArray = "ndarray",
        /// A GPU by whichever of Vulkan, Metal, DirectX 12 or OpenGL there is, with WGSL shaders.
        Wgpu = "wgpu",
        /// A GPU by Vulkan, with SPIR-V shaders.
        Vulkan = "vulkan",
        /// A GPU by Metal, with MSL shaders.
        Metal = "metal",
        /// A GPU by WebGPU.
        WebGpu = "webgpu",
        /// An NVIDIA GPU by CUDA.
        Cuda = "cuda",
        /// An AMD GPU by ROCm.
        Rocm = "rocm",
    }
}

/// Which device of a backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Spelled", into = "String")]
pub enum DeviceChoice {
    /// The one the backend prefers: its fastest GPU.
    #[default]
    Default,
    /// The n-th of [`Backend::devices`], from 0.
    Index(usize),
    /// A software device on the CPU.
    Cpu,
    /// The first GPU that shares the CPU's memory.
    Integrated,
}

impl DeviceChoice {
    fn among(self, devices: &[FoundDevice]) -> Option<&FoundDevice> {
        match self {
            // Backends list their fastest kind of device first.
            Self::Default => devices.first(),
            Self::Index(index) => devices.get(index),
            Self::Cpu => devices.iter().find(|d| d.kind == DeviceKind::Cpu),
            Self::Integrated => {
                devices.iter().find(|d| matches!(d.kind, DeviceKind::IntegratedGpu(_)))
            }
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Index(index) => index.fmt(f),
            Self::Cpu => f.write_str("cpu"),
            Self::Integrated => f.write_str("integrated"),
        }
    }
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self::Default),
            "cpu" => Ok(Self::Cpu),
            "integrated" => Ok(Self::Integrated),
            _ => text.parse().map(Self::Index).map_err(|_| {
                format!("`{text}` is neither a device number nor `default`, `cpu` or `integrated`")
            }),
        }
    }
}

/// A device as a settings file has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Spelled {
    Number(usize),
    Word(String),
}

impl TryFrom<Spelled> for DeviceChoice {
    type Error = String;

    fn try_from(spelled: Spelled) -> Result<Self, Self::Error> {
        match spelled {
            Spelled::Number(index) => Ok(Self::Index(index)),
            Spelled::Word(text) => text.parse(),
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

/// A device that a backend found on this machine.
#[derive(Clone, Debug)]
pub struct FoundDevice {
    /// The kind of device, such as `discrete GPU 0`.
    pub name: String,
    kind: DeviceKind,
    device: Device,
}

/// Why a backend cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// It was left out when this program was built.
    #[error(
        "backend {backend} is not compiled into this program (it has: {}); build it with `--features {backend}`",
        compiled.join(", ")
    )]
    NotCompiled {
        /// The backend asked for.
        backend: Backend,
        /// The backends that this program has.
        compiled: Vec<&'static str>,
    },
    /// The machine has no device for it, or not the one asked for.
    #[error(
        "backend {backend} has no device `{choice}` here; it found {}. `--backend flex` runs on any CPU",
        if found.is_empty() { "none: no adapter or no driver".to_owned() } else { found.join(", ") }
    )]
    NoDevice {
        /// The backend asked for.
        backend: Backend,
        /// The device asked for.
        choice: String,
        /// The devices there are, with their numbers.
        found: Vec<String>,
    },
    /// The device is there and does not start.
    #[error("backend {backend} found {device} but cannot start it: {reason}")]
    Start {
        /// The backend asked for.
        backend: Backend,
        /// The device.
        device: String,
        /// The error of the driver.
        reason: String,
    },
}

impl Backend {
    /// Returns true if it is part of this program.
    pub const fn is_compiled(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::NdArray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::WebGpu => cfg!(feature = "webgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Rocm => cfg!(feature = "rocm"),
        }
    }

    /// Returns true if it computes on the CPU, in this process.
    pub const fn is_cpu(self) -> bool {
        matches!(self, Self::Flex | Self::NdArray)
    }

    /// Returns true if a device computes on the host with the backend that programs use by default,
    /// `flex`; a [`Predictor`](crate::Predictor) does the same there, and faster.
    pub fn is_host(device: &Device) -> bool {
        let device = device.clone().without_autodiff();
        Self::Flex.devices().iter().any(|found| found.device == device)
    }

    /// The devices that it finds on this machine, without opening any; none if it is not compiled
    /// in or has no driver. `--device N` counts along this list.
    pub fn devices(self) -> Vec<FoundDevice> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => vec![cpu(Device::flex())],
            #[cfg(feature = "ndarray")]
            Self::NdArray => {
                #[expect(deprecated, reason = "kept on purpose: the comparison asks for it")]
                let device = Device::ndarray();
                vec![cpu(device)]
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu => adapters(DeviceType::Wgpu, Device::wgpu),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => adapters(DeviceType::Vulkan, Device::vulkan),
            #[cfg(feature = "metal")]
            Self::Metal => adapters(DeviceType::Metal, Device::metal),
            #[cfg(feature = "webgpu")]
            Self::WebGpu => adapters(DeviceType::WebGpu, Device::webgpu),
            #[cfg(feature = "cuda")]
            Self::Cuda => cards(DeviceType::Cuda),
            #[cfg(feature = "rocm")]
            Self::Rocm => cards(DeviceType::Rocm),
            #[allow(unreachable_patterns, reason = "with every feature on, nothing is left")]
            _ => Vec::new(),
        }
    }

    /// Opens a device, so that using it afterwards does not fail because there is no adapter or driver.
    ///
    /// # Errors
    ///
    /// A [`BackendError`] that says what there is instead.
    pub fn device(self, choice: DeviceChoice) -> Result<Device, BackendError> {
        if !self.is_compiled() {
            let compiled = Self::ALL.iter().filter(|b| b.is_compiled()).map(|b| b.name()).collect();
            return Err(BackendError::NotCompiled { backend: self, compiled });
        }
        let devices = self.devices();
        let chosen = choice.among(&devices);
        let chosen = chosen.ok_or_else(|| BackendError::NoDevice {
            backend: self,
            choice: choice.to_string(),
            found: devices.iter().enumerate().map(|(i, d)| format!("{i}: {}", d.name)).collect(),
        })?;
        self.start(chosen).map_err(|reason| BackendError::Start {
            backend: self,
            device: chosen.name.clone(),
            reason,
        })?;
        log::info!("computing with {self} on {}", chosen.name);
        Ok(chosen.device.clone())
    }

    /// Describes the chosen device, such as `discrete GPU 0`; none if there is no such device.
    pub fn device_name(self, choice: DeviceChoice) -> Option<String> {
        choice.among(&self.devices()).map(|found| found.name.clone())
    }

    /// Starts a device's runtime, which otherwise happens at the first operation and panics there.
    fn start(self, found: &FoundDevice) -> Result<(), String> {
        #[cfg(feature = "wgpu")]
        if let Some(api) = self.graphics_api() {
            return match Device::wgpu_options()
                .device_kind(found.kind.clone())
                .graphics_api(api)
                .init()
            {
                // Registration fails for the one reason that this process has started it before.
                Ok(_) | Err(WgpuInitError::Registration { .. }) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
        }
        found.device.sync().map_err(|error| format!("{error:?}"))
    }

    #[cfg(feature = "wgpu")]
    fn graphics_api(self) -> Option<WgpuBackend> {
        match self {
            Self::Wgpu => Some(WgpuBackend::Auto),
            Self::Vulkan => Some(WgpuBackend::Vulkan),
            Self::Metal => Some(WgpuBackend::Metal),
            Self::WebGpu => Some(WgpuBackend::WebGpu),
            _ => None,
        }
    }
}

#[cfg(any(feature = "flex", feature = "ndarray"))]
fn cpu(device: Device) -> FoundDevice {
    FoundDevice { name: "CPU".to_owned(), kind: DeviceKind::Cpu, device }
}

/// The wgpu adapters that a graphics API finds, GPUs with memory of their own first.
#[cfg(feature = "wgpu")]
fn adapters(api: DeviceType, open: fn(DeviceKind) -> Device) -> Vec<FoundDevice> {
    const MOST_OF_A_KIND: usize = 16;
    let present = Device::enumerate(api).into_vec();
    let gpus: [fn(usize) -> DeviceKind; 3] =
        [DeviceKind::DiscreteGpu, DeviceKind::IntegratedGpu, DeviceKind::VirtualGpu];
    gpus.into_iter()
        .flat_map(|kind| (0..MOST_OF_A_KIND).map(kind))
        .chain([DeviceKind::Cpu])
        .map(|kind| FoundDevice { name: describe(&kind), device: open(kind.clone()), kind })
        .filter(|found| present.contains(&found.device))
        .collect()
}

#[cfg(feature = "wgpu")]
fn describe(kind: &DeviceKind) -> String {
    match kind {
        DeviceKind::DiscreteGpu(i) => format!("discrete GPU {i}"),
        DeviceKind::IntegratedGpu(i) => format!("integrated GPU {i}"),
        DeviceKind::VirtualGpu(i) => format!("virtual GPU {i}"),
        _ => "software adapter on the CPU".to_owned(),
    }
}

/// The cards of a vendor's own runtime.
#[cfg(any(feature = "cuda", feature = "rocm"))]
fn cards(vendor: DeviceType) -> Vec<FoundDevice> {
    let devices = Device::enumerate(vendor).into_vec().into_iter().enumerate();
    devices
        .map(|(i, device)| {
            let kind = DeviceKind::DiscreteGpu(i);
            FoundDevice { name: format!("GPU {i}"), kind, device }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_was_left_out_names_the_feature_to_add() {
        let Some(&absent) = Backend::ALL.iter().find(|backend| !backend.is_compiled()) else {
            return;
        };
        let error = absent.device(DeviceChoice::Default).unwrap_err();
        assert!(matches!(error, BackendError::NotCompiled { .. }));
        assert!(error.to_string().contains(&format!("--features {absent}")), "{error}");
        assert!(absent.devices().is_empty());
    }

    #[cfg(feature = "flex")]
    #[test]
    fn a_device_that_is_not_there_lists_those_that_are() {
        assert!(Backend::Flex.device(DeviceChoice::Index(0)).is_ok());
        assert_eq!(Backend::Flex.device_name(DeviceChoice::Default).as_deref(), Some("CPU"));
        assert_eq!(Backend::Flex.device_name(DeviceChoice::Index(3)), None);
        let error = Backend::Flex.device(DeviceChoice::Index(3)).unwrap_err();
        assert!(error.to_string().contains("no device `3` here; it found 0: CPU"), "{error}");
    }

    #[test]
    fn a_device_choice_reads_back() {
        for choice in [DeviceChoice::Default, DeviceChoice::Index(2), DeviceChoice::Cpu] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("fast".parse::<DeviceChoice>().is_err());
    }
}
