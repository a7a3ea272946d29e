//! Which adapters there are, and which one a request means.

use crate::error::{Error, Result};

/// What the caller wants to run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceRequest {
    /// The best real GPU; the processor where there is none.
    Auto,
    /// A real GPU or an error.
    Gpu,
    /// The processor.
    Cpu,
    /// An adapter by index in [`adapters`] or by a case-insensitive part of its name, software adapters included.
    Named(String),
}

impl std::fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DeviceRequest::Auto => "auto",
            DeviceRequest::Gpu => "gpu",
            DeviceRequest::Cpu => "cpu",
            DeviceRequest::Named(name) => name,
        })
    }
}

impl std::str::FromStr for DeviceRequest {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "auto" => DeviceRequest::Auto,
            "gpu" => DeviceRequest::Gpu,
            "cpu" => DeviceRequest::Cpu,
            _ => DeviceRequest::Named(text.to_owned()),
        })
    }
}

/// Which family of kernels to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kernels {
    /// Chosen from the adapter's capabilities.
    #[default]
    Auto,
    /// Tiles within WebGPU's default limits: right on every adapter.
    Portable,
    /// Registers and broadcasts within subgroups that are always 8 wide: for software adapters.
    Software,
    /// Cooperative matrices, in f16.
    Matrix,
}

impl Kernels {
    /// What `--kernels` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kernels::Auto => "auto",
            Kernels::Portable => "portable",
            Kernels::Software => "software",
            Kernels::Matrix => "matrix",
        }
    }
}

impl std::str::FromStr for Kernels {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Kernels::Auto),
            "portable" => Ok(Kernels::Portable),
            "software" => Ok(Kernels::Software),
            "matrix" => Ok(Kernels::Matrix),
            _ => Err(Error::Usage(format!("unknown kernels `{text}`: auto, portable, software or matrix"))),
        }
    }
}

/// A shape of cooperative matrices: `inputs` of m×k and k×n, `sums` of m×n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixShape {
    /// Rows.
    pub m: u32,
    /// Columns.
    pub n: u32,
    /// Inner length.
    pub k: u32,
    /// Type of the factors, such as `f16`.
    pub inputs: String,
    /// Type of the sums.
    pub sums: String,
}

impl std::fmt::Display for MatrixShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{} {}→{}", self.m, self.n, self.k, self.inputs, self.sums)
    }
}

/// One adapter, as `vit-gpu devices` lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterReport {
    /// Name the driver gives.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// `Vulkan`, `Metal` or `DX12`.
    pub backend: &'static str,
    /// Driver and version.
    pub driver: String,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Least and greatest subgroup size, where subgroup operations exist.
    pub subgroups: Option<(u32, u32)>,
    /// Cooperative-matrix shapes.
    pub cooperative_matrix: Vec<MatrixShape>,
    /// Timestamp queries.
    pub timestamps: bool,
    /// Largest storage binding in bytes.
    pub max_binding: u64,
    /// Largest buffer in bytes.
    pub max_buffer: u64,
    /// Workgroup memory in bytes.
    pub workgroup_memory: u32,
    /// Invocations per workgroup.
    pub workgroup_invocations: u32,
}

impl AdapterReport {
    /// Whether it computes on the processor.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }
}

/// An adapter with its report.
pub(super) struct Candidate {
    pub adapter: wgpu::Adapter,
    pub report: AdapterReport,
}

/// Lists every Vulkan, Metal and DX12 adapter, in a stable order: the index is what `--device` takes.
pub async fn adapters() -> Vec<AdapterReport> {
    candidates().await.into_iter().map(|candidate| candidate.report).collect()
}

/// The index that `auto` takes, and why, or why it takes none.
#[must_use]
pub fn automatic(reports: &[AdapterReport]) -> (Option<usize>, String) {
    let mut real: Vec<usize> = (0..reports.len()).filter(|&i| !reports[i].is_software()).collect();
    if let Ok(part) = std::env::var("WGPU_ADAPTER_NAME") {
        real.retain(|&i| contains(&reports[i].name, &part));
        if real.is_empty() {
            return (None, format!("no real GPU's name contains WGPU_ADAPTER_NAME={part}"));
        }
    }
    let low_power = std::env::var("WGPU_POWER_PREF").is_ok_and(|value| value.eq_ignore_ascii_case("low"));
    real.sort_by_key(|&i| (rank(reports[i].kind, low_power), i));
    match real[..] {
        [] if reports.is_empty() => (None, "there is no Vulkan, Metal or DX12 adapter".to_owned()),
        [] => (None, "only software adapters were found, which are used when named".to_owned()),
        [only] => (Some(only), "it is the only real GPU".to_owned()),
        [first, ..] if low_power => (Some(first), format!("WGPU_POWER_PREF=low prefers {} ones", reports[first].kind)),
        [first, ..] => (Some(first), format!("{} comes first among {} real GPUs", reports[first].kind, real.len())),
    }
}

/// Discrete before integrated (the other way round to save power), then virtual, then unknown.
fn rank(kind: &str, low_power: bool) -> u8 {
    match kind {
        "discrete" => u8::from(low_power),
        "integrated" => u8::from(!low_power),
        "virtual" => 2,
        _ => 3,
    }
}

/// The adapter a request means; `None` means the processor.
pub(super) async fn choose(request: &DeviceRequest) -> Result<Option<Candidate>> {
    if *request == DeviceRequest::Cpu {
        return Ok(None);
    }
    let mut candidates = candidates().await;
    let reports: Vec<_> = candidates.iter().map(|candidate| candidate.report.clone()).collect();
    let index = match request {
        DeviceRequest::Cpu => None,
        DeviceRequest::Auto => automatic(&reports).0,
        DeviceRequest::Gpu => match automatic(&reports) {
            (Some(index), _) => Some(index),
            (None, reason) => return Err(Error::NoDevice { request: "gpu".into(), reason }),
        },
        DeviceRequest::Named(name) => Some(named(name, &reports)?),
    };
    Ok(index.map(|index| candidates.swap_remove(index)))
}

fn named(name: &str, reports: &[AdapterReport]) -> Result<usize> {
    let fail = |reason: String| Err(Error::NoDevice { request: name.to_owned(), reason });
    let known = || match reports {
        [] => "no adapter was found; `cpu` always works".to_owned(),
        _ => format!("adapters: {}", reports.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join("; ")),
    };
    if let Ok(index) = name.parse::<usize>() {
        return if index < reports.len() { Ok(index) } else { fail(format!("no adapter has this index; {}", known())) };
    }
    let matches: Vec<usize> = (0..reports.len()).filter(|&i| contains(&reports[i].name, name)).collect();
    match matches[..] {
        [only] => Ok(only),
        [] => fail(format!("no adapter's name contains it; {}", known())),
        _ => fail(format!(
            "several adapters match: {}",
            matches
                .iter()
                .map(|&i| format!("{i} {} ({})", reports[i].name, reports[i].backend))
                .collect::<Vec<_>>()
                .join("; ")
        )),
    }
}

fn contains(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}

async fn candidates() -> Vec<Candidate> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all()),
        ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
    });
    let backends =
        wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12 | wgpu::Backends::BROWSER_WEBGPU;
    let adapters = instance.enumerate_adapters(backends).await;
    adapters.into_iter().map(|adapter| Candidate { report: report(&adapter), adapter }).collect()
}

fn report(adapter: &wgpu::Adapter) -> AdapterReport {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    let scalar = |kind: wgpu::CooperativeScalarType| format!("{kind:?}").to_lowercase();
    AdapterReport {
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        },
        backend: match info.backend {
            wgpu::Backend::Vulkan => "Vulkan",
            wgpu::Backend::Metal => "Metal",
            wgpu::Backend::Dx12 => "DX12",
            wgpu::Backend::BrowserWebGpu => "WebGPU",
            _ => "other",
        },
        driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned(),
        name: info.name,
        f16: features.contains(wgpu::Features::SHADER_F16),
        subgroups: features
            .contains(wgpu::Features::SUBGROUP)
            .then_some((info.subgroup_min_size, info.subgroup_max_size)),
        cooperative_matrix: adapter
            .cooperative_matrix_properties()
            .iter()
            .map(|p| MatrixShape {
                m: p.m_size,
                n: p.n_size,
                k: p.k_size,
                inputs: scalar(p.ab_type),
                sums: scalar(p.cr_type),
            })
            .collect(),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        max_binding: limits.max_storage_buffer_binding_size,
        max_buffer: limits.max_buffer_size,
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        workgroup_invocations: limits.max_compute_invocations_per_workgroup,
    }
}

#[cfg(test)]
impl AdapterReport {
    /// An adapter that has nothing, for tests.
    pub(super) fn named(name: &str) -> AdapterReport {
        AdapterReport {
            name: name.into(),
            kind: "other",
            backend: "Vulkan",
            driver: String::new(),
            f16: false,
            subgroups: None,
            cooperative_matrix: Vec::new(),
            timestamps: false,
            max_binding: 0,
            max_buffer: 0,
            workgroup_memory: 0,
            workgroup_invocations: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: &'static str) -> AdapterReport {
        AdapterReport { kind, ..AdapterReport::named(name) }
    }

    #[test]
    fn auto_prefers_discrete_and_never_takes_software() {
        let all = [adapter("llvmpipe", "software"), adapter("Iris", "integrated"), adapter("RTX", "discrete")];
        assert_eq!(automatic(&all).0, Some(2));
        assert_eq!(automatic(&all[..2]).0, Some(1));
        assert_eq!(automatic(&all[..1]).0, None);
        assert_eq!(automatic(&[]).0, None);
    }

    #[test]
    fn names_match_by_part_or_index_and_ambiguity_is_an_error() {
        let all = [adapter("NVIDIA RTX A", "discrete"), adapter("NVIDIA RTX B", "discrete")];
        assert_eq!(named("rtx b", &all).unwrap(), 1);
        assert_eq!(named("0", &all).unwrap(), 0);
        assert!(
            named("nvidia", &all).unwrap_err().to_string().contains("several adapters match: 0 NVIDIA RTX A (Vulkan)")
        );
        assert!(named("7", &all).is_err());
        assert!(named("radeon", &all).unwrap_err().to_string().contains("NVIDIA RTX A; NVIDIA RTX B"));
    }
}
