//! Lists the adapters (GPUs as seen through a driver), and finds the one that a request means.

use crate::device::{Adapter, Device, MatrixShape};
use crate::error::{Error, Result};

/// Where adapters are looked for.
const BACKENDS: &str = if cfg!(target_family = "wasm") { "WebGPU" } else { "Vulkan, Metal or DX12" };

/// An adapter with its report.
pub(super) struct Candidate {
    pub adapter: wgpu::Adapter,
    pub report: Adapter,
}

/// Lists every Vulkan, Metal and DX12 adapter, in a stable order: the index is what `--device` takes.
pub async fn adapters() -> Vec<Adapter> {
    candidates().await.into_iter().map(|candidate| candidate.report).collect()
}

/// The index that `auto` takes, and why, or why it takes none.
#[must_use]
pub fn automatic(reports: &[Adapter]) -> (Option<usize>, String) {
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
        [] if reports.is_empty() => (None, format!("there is no {BACKENDS} adapter")),
        [] => (None, "only software adapters were found, which are used only if they are named".to_owned()),
        [only] => (Some(only), "it is the only real GPU".to_owned()),
        [first, ..] if low_power => (Some(first), format!("WGPU_POWER_PREF=low prefers {} ones", reports[first].kind)),
        [first, ..] => {
            (Some(first), format!("of {} real GPUs, the {} one is preferred", real.len(), reports[first].kind))
        }
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
pub(super) async fn choose(request: &Device) -> Result<Option<Candidate>> {
    if *request == Device::Cpu {
        return Ok(None);
    }
    let mut candidates = candidates().await;
    let reports: Vec<_> = candidates.iter().map(|candidate| candidate.report.clone()).collect();
    let index = match request {
        Device::Cpu => None,
        Device::Auto => automatic(&reports).0,
        Device::Gpu => match automatic(&reports) {
            (Some(index), _) => Some(index),
            (None, reason) => return Err(Error::NoDevice { request: "gpu".into(), reason }),
        },
        Device::Index(index) => Some(indexed(*index, &reports)?),
        Device::Named(name) => Some(named(name, &reports)?),
    };
    Ok(index.map(|index| candidates.swap_remove(index)))
}

fn known(reports: &[Adapter]) -> String {
    match reports {
        [] => "no adapter was found; `cpu` always works".to_owned(),
        _ => {
            let each: Vec<_> = reports.iter().map(|r| format!("{} ({})", r.name, r.backend)).collect();
            format!("adapters: {}", each.join("; "))
        }
    }
}

fn indexed(index: usize, reports: &[Adapter]) -> Result<usize> {
    if index < reports.len() {
        return Ok(index);
    }
    let reason = format!("no adapter has this index; {}", known(reports));
    Err(Error::NoDevice { request: index.to_string(), reason })
}

/// The names of backends, as reports have them.
const NAMES: [&str; 4] = ["Vulkan", "Metal", "DX12", "WebGPU"];

/// A backend's name alone or before a colon, and what is behind the colon.
fn of_backend(name: &str) -> Option<(&'static str, &str)> {
    let (backend, part) = name.split_once(':').unwrap_or((name, ""));
    NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(backend.trim())).map(|known| (known, part.trim()))
}

fn named(name: &str, reports: &[Adapter]) -> Result<usize> {
    let fail = |reason: String| Err(Error::NoDevice { request: name.to_owned(), reason });
    if name.is_empty() {
        return fail(format!("a name is expected; {}", known(reports)));
    }
    let backend = of_backend(name);
    let fits = |report: &Adapter| match backend {
        Some((backend, part)) => report.backend == backend && contains(&report.name, part),
        None => contains(&report.name, name),
    };
    let mut matches: Vec<usize> = (0..reports.len()).filter(|&i| fits(&reports[i])).collect();
    // A backend alone means the best of its real GPUs.
    if backend.is_some_and(|(_, part)| part.is_empty()) {
        let mut real: Vec<usize> = matches.iter().copied().filter(|&i| !reports[i].is_software()).collect();
        real.sort_by_key(|&i| (rank(reports[i].kind, false), i));
        if let Some(&first) = real.first() {
            matches = vec![first];
        }
    }
    match matches[..] {
        [only] => Ok(only),
        [] if backend.is_some() => fail(format!("no such adapter; {}", known(reports))),
        [] => fail(format!("no adapter's name contains it; {}", known(reports))),
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

fn report(adapter: &wgpu::Adapter) -> Adapter {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    let backend = match info.backend {
        wgpu::Backend::Vulkan => "Vulkan",
        wgpu::Backend::Metal => "Metal",
        wgpu::Backend::Dx12 => "DX12",
        wgpu::Backend::BrowserWebGpu => "WebGPU",
        _ => "other",
    };
    let scalar = |kind: wgpu::CooperativeScalarType| format!("{kind:?}").to_lowercase();
    Adapter {
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        },
        backend,
        driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned(),
        // Browsers tell little of an adapter, often no name.
        name: if info.name.is_empty() { backend.to_owned() } else { info.name },
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
mod tests {
    use super::*;

    fn adapter(name: &str, kind: &'static str) -> Adapter {
        Adapter { kind, ..Adapter::featureless(name) }
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
        assert_eq!(indexed(1, &all).unwrap(), 1);
        assert!(named("", &all[..1]).is_err());
        assert!(
            named("nvidia", &all).unwrap_err().to_string().contains("several adapters match: 0 NVIDIA RTX A (Vulkan)")
        );
        assert!(indexed(7, &all).is_err());
        let error = named("radeon", &all).unwrap_err().to_string();
        assert!(error.contains("NVIDIA RTX A (Vulkan); NVIDIA RTX B (Vulkan)"), "{error}");
    }

    #[test]
    fn backends_tell_the_same_gpu_apart() {
        let of = |name, kind, backend| Adapter { backend, ..adapter(name, kind) };
        let all = [
            of("Basic Render Driver", "software", "DX12"),
            of("Iris", "integrated", "DX12"),
            of("RTX", "discrete", "Vulkan"),
            of("RTX", "discrete", "DX12"),
            of("llvmpipe", "software", "Vulkan"),
        ];
        assert!(named("rtx", &all).unwrap_err().to_string().contains("2 RTX (Vulkan); 3 RTX (DX12)"));
        assert_eq!(named("dx12:rtx", &all).unwrap(), 3);
        assert_eq!(named("Vulkan:RTX", &all).unwrap(), 2);
        // Alone, a backend means its best real GPU, or its only software adapter.
        assert_eq!((named("dx12", &all).unwrap(), named("VULKAN", &all).unwrap()), (3, 2));
        assert_eq!(named("dx12:", &all[..1]).unwrap(), 0);
        assert!(named("metal", &all).unwrap_err().to_string().contains("no such adapter"));
        assert!(named("dx12:llvmpipe", &all).is_err());
    }
}
