//! What the program and the machine are, from what can be read without asking for any right.

use std::path::Path;
use std::process::Command;

use vit_gpu::internals::cpu::CpuExecutor;
use vit_gpu::internals::gpu::cache_folder;

use super::section::Section;

pub fn program() -> Section {
    let mut section = Section::new("Program");
    section.fact("version", env!("CARGO_PKG_VERSION"));
    section.fact("build", if cfg!(debug_assertions) { "debug, which is slow" } else { "release" });
    section.fact("target", target());
    let backends = match std::env::consts::OS {
        "windows" => "Vulkan and DX12",
        "macos" => "Metal",
        _ => "Vulkan",
    };
    section.fact("backends", backends);
    section
}

/// Processor, system and environment of the build, and instructions that it takes for granted.
fn target() -> String {
    let environment = match () {
        () if cfg!(target_env = "gnu") => "-gnu",
        () if cfg!(target_env = "musl") => "-musl",
        () if cfg!(target_env = "msvc") => "-msvc",
        () => "",
    };
    let taken = [("AVX2", cfg!(target_feature = "avx2")), ("AVX-512", cfg!(target_feature = "avx512f"))];
    let taken: Vec<_> = taken.iter().filter(|(_, taken)| *taken).map(|(name, _)| *name).collect();
    let needs = if taken.is_empty() { String::new() } else { format!(", compiled for {} alone", taken.join(" and ")) };
    format!("{}-{}{environment}{needs}", std::env::consts::ARCH, std::env::consts::OS)
}

pub fn machine() -> Section {
    let mut section = Section::new("Machine");
    section.fact("system", system());
    section.fact("processor", processor());
    let cores = std::thread::available_parallelism().map_or("unknown".to_owned(), |cores| cores.to_string());
    section.fact("threads it may use", cores);
    section.fact("vector instructions", instructions());
    section.fact("memory", memory().unwrap_or_else(|| "unknown".to_owned()));
    section
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What a program of the system prints.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The value of a line `KEY=value` of `/etc/os-release`.
pub fn os_release(key: &str) -> Option<String> {
    let text = read("/etc/os-release").or_else(|| read("/usr/lib/os-release"))?;
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(found.trim_matches('"').to_owned())
}

fn system() -> String {
    let unknown = || std::env::consts::OS.to_owned();
    match std::env::consts::OS {
        "linux" => {
            let name = os_release("PRETTY_NAME").unwrap_or_else(unknown);
            let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
            let inside = if kernel.to_lowercase().contains("microsoft") {
                " in WSL"
            } else if Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists() {
                " in a container"
            } else {
                ""
            };
            format!("{name}{inside}, Linux {}", kernel.trim())
        }
        "macos" => said("sw_vers", &["-productVersion"]).map_or_else(unknown, |version| format!("macOS {version}")),
        "windows" => said("cmd", &["/c", "ver"]).unwrap_or_else(unknown),
        _ => unknown(),
    }
}

fn processor() -> String {
    let name = match std::env::consts::OS {
        "linux" => read("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        }),
        "macos" => said("sysctl", &["-n", "machdep.cpu.brand_string"]),
        "windows" => std::env::var("PROCESSOR_IDENTIFIER").ok(),
        _ => None,
    };
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Those that the products on the processor choose from.
fn instructions() -> String {
    let i8 = if CpuExecutor::has_dot_products() { "VNNI for i8" } else { "no VNNI, so that i8 is slower than f32" };
    #[cfg(target_arch = "x86_64")]
    return match (pulp::x86::V3::try_new().is_some(), pulp::x86::V4::try_new().is_some()) {
        (_, true) if CpuExecutor::has_matrix_instructions() => "AVX-512 and AMX are used, for f32 and i8".to_owned(),
        (_, true) => format!("AVX-512 is used, {i8}"),
        (true, false) => format!("AVX2 and FMA are used, there is no AVX-512, {i8}"),
        (false, false) => "neither AVX2 with FMA nor AVX-512, so that the processor is slow".to_owned(),
    };
    #[cfg(not(target_arch = "x86_64"))]
    return format!("those that {} always has, {i8}", std::env::consts::ARCH);
}

fn memory() -> Option<String> {
    let gib = |bytes: f64| format!("{:.1} GiB", bytes / f64::from(1 << 30));
    match std::env::consts::OS {
        "linux" => {
            let text = read("/proc/meminfo")?;
            let field = |name: &str| -> Option<f64> {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                Some(1024.0 * line.trim().trim_end_matches(" kB").parse::<f64>().ok()?)
            };
            let (total, free) = (field("MemTotal:")?, field("MemAvailable:")?);
            let limit = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
            let limit = limit.filter(|limit| *limit < total);
            let limit = limit.map(|limit| format!(", limited to {} here", gib(limit))).unwrap_or_default();
            Some(format!("{}, {} available{limit}", gib(total), gib(free)))
        }
        "macos" => Some(gib(said("sysctl", &["-n", "hw.memsize"])?.parse().ok()?)),
        "windows" => {
            let script = "(Get-CimInstance Win32_ComputerSystem).TotalPhysicalMemory";
            Some(gib(said("powershell", &["-NoProfile", "-Command", script])?.parse().ok()?))
        }
        _ => None,
    }
}

/// Variables that this crate reads.
const OWN: [&str; 4] = ["VIT_GPU_BREAK_KERNEL", "VIT_GPU_CACHE", "VIT_GPU_FAIL_KERNEL", "VIT_GPU_TUNE"];
/// What the names of wgpu's, the Vulkan loader's and Mesa's begin with.
const PREFIXES: [&str; 7] = ["WGPU_", "VK_", "MESA_", "RADV_", "ANV_", "LP_", "MTL_"];
/// Others that the drivers, the thread pool, the cache folder and panics depend on.
const OTHERS: [&str; 10] = [
    "CUDA_VISIBLE_DEVICES",
    "DRI_PRIME",
    "LD_LIBRARY_PATH",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "RAYON_NUM_THREADS",
    "RUST_BACKTRACE",
    "XDG_CACHE_HOME",
    "XDG_DATA_DIRS",
    "__NV_PRIME_RENDER_OFFLOAD",
];

pub fn environment() -> Section {
    let mut section = Section::new("Environment");
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let mut set: Vec<_> = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
    set.sort();
    for (name, value) in set {
        match meaning(&name) {
            Meaning::None => {}
            Meaning::Read => section.fact(&name, value),
            Meaning::Unknown => section.fact(&name, format!("{value} (vit-gpu reads no such variable)")),
        }
    }
    if section.is_empty() {
        section.fact("variables", "none is set that changes what vit-gpu, wgpu or the drivers do");
    }
    section
}

#[derive(Debug, PartialEq)]
enum Meaning {
    Read,
    /// Named like one of ours, so probably a mistake.
    Unknown,
    None,
}

fn meaning(name: &str) -> Meaning {
    if OWN.contains(&name) || OTHERS.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        Meaning::Read
    } else if name.starts_with("VIT_GPU_") {
        Meaning::Unknown
    } else {
        Meaning::None
    }
}

/// The cache folder: how much is in it, and whether it can be written.
pub fn cache() -> Section {
    let mut section = Section::new("Cache");
    let Some(folder) = cache_folder() else {
        section.fact("folder", "none, so kernels are tried and compiled anew at each start (VIT_GPU_CACHE is empty?)");
        return section;
    };
    section.fact("folder", folder.display().to_string());
    let writable = match writable(&folder) {
        Ok(()) => "yes".to_owned(),
        Err(error) => format!("NO ({error}), so kernels are tried and compiled anew at each start"),
    };
    section.fact("can be written", writable);
    let entries: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().flatten().collect();
    let of = |part: &str| {
        let named = entries.iter().filter(|entry| entry.file_name().to_string_lossy().contains(part));
        let sizes: Vec<u64> = named.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).collect();
        let files = if sizes.len() == 1 { "1 file".to_owned() } else { format!("{} files", sizes.len()) };
        format!("{files}, {:.1} KiB", sizes.iter().sum::<u64>() as f64 / 1024.0)
    };
    section.fact("kernel choices", of("kernels-"));
    section.fact("compiled pipelines", of("pipelines.bin"));
    section
}

/// Makes the folder as a session would, and a file in it.
fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("doctor-{}", std::process::id()));
    std::fs::write(&file, "a test by vit-gpu doctor")?;
    std::fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_change_something_are_known_and_misspelt_ones_are_noticed() {
        for name in ["VIT_GPU_TUNE", "WGPU_BACKEND", "VK_ICD_FILENAMES", "RAYON_NUM_THREADS"] {
            assert_eq!(meaning(name), Meaning::Read, "{name}");
        }
        assert_eq!(meaning("VIT_GPU_TUNING"), Meaning::Unknown);
        assert_eq!(meaning("HOME"), Meaning::None);
    }

    #[test]
    fn every_variable_that_the_sources_read_is_known() {
        let sources = concat!(
            include_str!("../../gpu/cache.rs"),
            include_str!("../../gpu/adapter.rs"),
            include_str!("../../gpu/tune/mod.rs"),
            include_str!("../../gpu/kernels/mod.rs"),
        );
        let named = sources.split('"').filter(|text| text.starts_with("VIT_GPU_") || text.starts_with("WGPU_"));
        let named: Vec<_> = named.filter(|text| text.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect();
        assert!(named.len() >= 5, "{named:?}");
        assert!(named.iter().all(|name| meaning(name) == Meaning::Read), "{named:?}");
    }
}
