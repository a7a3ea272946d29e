//! Why no GPU was found, and what to install.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where to look on Linux. Tests put another system there.
pub struct System<'a> {
    pub root: &'a Path,
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// What was found of drivers and GPUs.
#[derive(Default, Debug)]
pub struct Findings {
    pub loader: Option<PathBuf>,
    /// Files that tell the Vulkan loader of drivers, with what is wrong with each.
    pub manifests: Vec<(PathBuf, Option<String>)>,
    /// The variable that names those files in place of the usual folders.
    pub named_by: Option<&'static str>,
    /// A variable that leaves out drivers, or Vulkan as a whole.
    pub hidden_by: Option<&'static str>,
    /// Display controllers: maker, and the kernel's driver.
    pub controllers: Vec<(String, Option<String>)>,
    /// Device files, and why each can't be opened.
    pub nodes: Vec<(PathBuf, Option<String>)>,
}

const LIBRARIES: [&str; 9] = [
    "lib",
    "lib64",
    "usr/lib",
    "usr/lib64",
    "usr/local/lib",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
];

impl System<'_> {
    pub fn look(&self) -> Findings {
        let variables = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
        let backend = (self.variable)("WGPU_BACKEND").map(|list| list.to_lowercase());
        let without_vulkan = backend.filter(|list| !list.contains("vulkan") && !list.contains("vk"));
        let hiding = ["VK_LOADER_DRIVERS_DISABLE", "VK_LOADER_DRIVERS_SELECT"];
        let hiding = hiding.into_iter().find(|name| (self.variable)(name).is_some());
        let named = variables.into_iter().find_map(|name| Some((name, (self.variable)(name)?)));
        let files = match &named {
            Some((_, files)) => files.split(':').filter(|file| !file.is_empty()).map(PathBuf::from).collect(),
            None => self.manifests(),
        };
        let manifests = files.into_iter().map(|file| (file.clone(), self.fault(&file).err()));
        Findings {
            loader: self.library("libvulkan.so.1"),
            manifests: manifests.collect(),
            named_by: named.map(|(name, _)| name),
            hidden_by: without_vulkan.map(|_| "WGPU_BACKEND").or(hiding),
            controllers: self.controllers(),
            nodes: self.nodes(),
        }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path.as_ref().strip_prefix("/").unwrap_or(path.as_ref()))
    }

    fn list(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at(folder)).into_iter().flatten().flatten();
        let mut all: Vec<_> = entries.map(|entry| entry.path()).collect();
        all.sort();
        all
    }

    fn library(&self, name: &str) -> Option<PathBuf> {
        let more = (self.variable)("LD_LIBRARY_PATH").unwrap_or_default();
        let more = more.split(':').filter(|folder| !folder.is_empty()).map(|folder| self.at(folder));
        more.chain(LIBRARIES.iter().map(|folder| self.at(folder))).map(|folder| folder.join(name)).find(|f| f.exists())
    }

    /// The files in the loader's usual folders.
    fn manifests(&self) -> Vec<PathBuf> {
        let get = |name, default: &str| (self.variable)(name).unwrap_or_else(|| default.to_owned());
        let home = get("HOME", "");
        let mut folders = vec![get("XDG_CONFIG_HOME", &format!("{home}/.config"))];
        folders.extend(get("XDG_CONFIG_DIRS", "/etc/xdg").split(':').map(str::to_owned));
        folders.extend(["/etc".to_owned(), get("XDG_DATA_HOME", &format!("{home}/.local/share"))]);
        folders.extend(get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(':').map(str::to_owned));
        let files = folders.iter().flat_map(|folder| self.list(&format!("{folder}/vulkan/icd.d")));
        files.filter(|file| file.extension().is_some_and(|ending| ending == "json")).collect()
    }

    /// Whether a manifest can be read, and the library it names is there.
    fn fault(&self, file: &Path) -> Result<(), String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        let manifest: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let library = manifest["ICD"]["library_path"].as_str().ok_or("it names no library")?;
        let there = match library.contains('/') {
            // Relative to the manifest, unless it begins with `/`.
            true if library.starts_with('/') => self.at(library).exists(),
            true => file.parent().is_some_and(|folder| folder.join(library).exists()),
            false => self.library(library).is_some(),
        };
        if there { Ok(()) } else { Err(format!("its library {library} was not found")) }
    }

    fn controllers(&self) -> Vec<(String, Option<String>)> {
        let read = |file: PathBuf| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
        let devices = self.list("sys/bus/pci/devices");
        let displays = devices.iter().filter(|device| read(device.join("class")).starts_with("0x03"));
        let described = displays.map(|device| {
            let vendor = read(device.join("vendor"));
            let maker = match vendor.as_str() {
                "0x10de" => "NVIDIA".to_owned(),
                "0x1002" => "AMD".to_owned(),
                "0x8086" => "Intel".to_owned(),
                _ => format!("vendor {vendor}"),
            };
            let driver = fs::read_link(device.join("driver")).ok();
            (maker, driver.and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned())))
        });
        described.collect()
    }

    fn nodes(&self) -> Vec<(PathBuf, Option<String>)> {
        let rendering = self.list("dev/dri").into_iter();
        let rendering = rendering.filter(|node| node.to_string_lossy().contains("/renderD"));
        let others = ["dev/nvidiactl", "dev/dxg"].map(|node| self.at(node)).into_iter().filter(|node| node.exists());
        let open = |node: &PathBuf| fs::OpenOptions::new().read(true).write(true).open(node).err();
        rendering.chain(others).map(|node| (node.clone(), open(&node).map(|error| error.to_string()))).collect()
    }
}

impl Findings {
    /// What was found, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.loader {
            Some(file) => format!("Vulkan loader: {}", file.display()),
            None => "Vulkan loader: libvulkan.so.1 was NOT found".to_owned(),
        }];
        let source = self.named_by.map(|name| format!(" (named by {name})")).unwrap_or_default();
        if self.manifests.is_empty() {
            lines.push(format!(
                "Vulkan driver: no driver's file was found in /usr/share/vulkan/icd.d and the like{source}"
            ));
        }
        for (file, fault) in &self.manifests {
            let state = fault.as_deref().unwrap_or("its library is there");
            lines.push(format!("Vulkan driver: {}{source}: {state}", file.display()));
        }
        if self.controllers.is_empty() {
            lines.push("GPU: the machine shows no display controller".to_owned());
        }
        for (maker, driver) in &self.controllers {
            lines.push(format!("GPU: {maker}, kernel driver {}", driver.as_deref().unwrap_or("NONE")));
        }
        if self.nodes.is_empty() {
            lines.push("device files: none (/dev/dri/renderD*, /dev/nvidiactl, /dev/dxg)".to_owned());
        }
        for (node, fault) in &self.nodes {
            let state =
                fault.as_deref().map_or("can be opened".to_owned(), |fault| format!("can NOT be opened ({fault})"));
            lines.push(format!("device file {}: {state}", node.display()));
        }
        lines
    }

    /// The likely reason, and whether installing something would help.
    pub fn reason(&self) -> (String, bool) {
        let real = |(file, fault): &(PathBuf, Option<String>)| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            fault.is_none() && !name.starts_with("lvp_")
        };
        let driver = self.manifests.iter().any(real);
        let of = |maker: &str| self.controllers.iter().any(|(name, _)| name == maker);
        let node = |name: &str| self.nodes.iter().any(|(node, _)| node.ends_with(name));
        let nvidia_file = self.manifests.iter().any(|(file, _)| file.to_string_lossy().contains("nvidia"));
        if self.loader.is_none() {
            ("the Vulkan loader is not installed".to_owned(), true)
        } else if let Some(name) = self.hidden_by {
            (format!("{name} is set and may hide a GPU: unset it"), false)
        } else if let Some(name) = self.named_by.filter(|_| !driver) {
            (format!("{name} names no driver of a GPU: unset it"), false)
        } else if let Some((node, _)) = self.nodes.iter().find(|(_, fault)| fault.is_some()) {
            let group = "add the user to its group (`render` or `video`), then log in again";
            (format!("{} can't be opened: {group}", node.display()), false)
        } else if node("nvidiactl") && !nvidia_file {
            let reason = "NVIDIA's kernel driver is there, but not its Vulkan driver. In a container: start it with \
                          NVIDIA_DRIVER_CAPABILITIES=all";
            (reason.to_owned(), true)
        } else if node("dxg") && self.controllers.is_empty() {
            ("WSL reaches the GPU by Mesa's `dzn` driver at most: use vit-gpu's Windows build".to_owned(), false)
        } else if self.controllers.is_empty() && self.nodes.is_empty() {
            ("this machine, virtual machine or container has no GPU, or none was passed to it".to_owned(), false)
        } else if of("NVIDIA") && !nvidia_file {
            ("NVIDIA's own driver is not installed".to_owned(), true)
        } else if !driver {
            ("no Vulkan driver for a GPU is installed".to_owned(), true)
        } else {
            ("a Vulkan driver is installed, but it offers no GPU; `vulkaninfo --summary` says more".to_owned(), true)
        }
    }
}

/// What to install, for a system as `std::env::consts::OS` names it and a Linux distribution with those it is like.
pub fn advice(system: &str, distribution: &str) -> Vec<String> {
    let debian = "Debian, Ubuntu: sudo apt install libvulkan1 mesa-vulkan-drivers (AMD, Intel); for NVIDIA nvidia-driver \
                  (Debian, non-free) or sudo ubuntu-drivers install (Ubuntu)";
    let fedora = "Fedora: sudo dnf install vulkan-loader mesa-vulkan-drivers (AMD, Intel); for NVIDIA akmod-nvidia from RPM Fusion";
    let arch = "Arch: sudo pacman -S vulkan-icd-loader and vulkan-radeon (AMD), vulkan-intel or nvidia-utils";
    let is = |names: &[&str]| distribution.split_whitespace().any(|word| names.contains(&word));
    let lines = match system {
        "macos" => vec!["macOS: Metal needs no installation; a virtual machine often has none"],
        "windows" => vec![
            "Windows: install the graphics driver of the GPU's maker (NVIDIA, AMD or Intel); Microsoft's basic display \
             driver and most remote or virtual machines have neither Vulkan nor DX12",
        ],
        _ if is(&["debian", "ubuntu"]) => vec![debian],
        _ if is(&["fedora", "rhel", "centos"]) => vec![fedora],
        _ if is(&["arch"]) => vec![arch],
        _ => vec![debian, fedora, arch],
    };
    lines.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn look(root: &Path, variables: &[(&str, &str)]) -> Findings {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        System { root, variable: &variable }.look()
    }

    #[test]
    fn each_reason_is_told_from_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let reason = |variables: &[(&str, &str)]| look(root, variables).reason();
        assert_eq!(reason(&[]), ("the Vulkan loader is not installed".to_owned(), true));
        put(root, "usr/lib64/libvulkan.so.1", "");
        let (no_gpu, install) = reason(&[]);
        assert!(no_gpu.contains("has no GPU") && !install, "nothing can be installed for it");
        put(root, "dev/nvidiactl", "");
        assert!(reason(&[]).0.contains("NVIDIA_DRIVER_CAPABILITIES"));
        fs::remove_file(root.join("dev/nvidiactl")).unwrap();
        put(root, "sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n");
        put(root, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
        let found = look(root, &[]);
        assert_eq!(found.reason().0, "NVIDIA's own driver is not installed");
        assert!(found.lines().contains(&"GPU: NVIDIA, kernel driver NONE".to_owned()), "{:?}", found.lines());
        put(root, "sys/bus/pci/devices/0000:01:00.0/vendor", "0x1002\n");
        let software = r#"{"ICD": {"library_path": "libvulkan_lvp.so"}}"#;
        put(root, "usr/share/vulkan/icd.d/lvp_icd.x86_64.json", software);
        assert_eq!(reason(&[]).0, "no Vulkan driver for a GPU is installed");
        put(root, "usr/share/vulkan/icd.d/radeon_icd.json", r#"{"ICD": {"library_path": "/usr/lib/radv.so"}}"#);
        let found = look(root, &[]);
        assert_eq!(found.reason().0, "no Vulkan driver for a GPU is installed");
        assert_eq!(found.manifests[1].1.as_deref(), Some("its library /usr/lib/radv.so was not found"));
        put(root, "usr/lib/radv.so", "");
        assert!(reason(&[]).0.contains("vulkaninfo"));
        assert!(reason(&[("VK_LOADER_DRIVERS_DISABLE", "*")]).0.starts_with("VK_LOADER_DRIVERS_DISABLE is set"));
        assert!(reason(&[("WGPU_BACKEND", "gl")]).0.starts_with("WGPU_BACKEND is set"));
        assert!(reason(&[("WGPU_BACKEND", "vulkan")]).0.contains("vulkaninfo"));
        let nowhere = look(root, &[("VK_ICD_FILENAMES", "/nonexistent")]);
        assert_eq!(nowhere.reason().0, "VK_ICD_FILENAMES names no driver of a GPU: unset it");
        assert!(nowhere.lines()[1].starts_with("Vulkan driver: /nonexistent (named by VK_ICD_FILENAMES): "));
    }

    #[test]
    fn every_system_has_its_own_advice() {
        for (system, distribution, expected) in [
            ("linux", "ubuntu debian", "apt"),
            ("linux", "debian ", "apt"),
            ("linux", "fedora ", "dnf"),
            ("linux", "rocky rhel centos fedora", "dnf"),
            ("linux", "manjaro arch", "pacman"),
            ("macos", "", "Metal"),
            ("windows", "", "graphics driver"),
        ] {
            let advice = advice(system, distribution);
            assert!(advice.len() == 1 && advice[0].contains(expected), "{system} {distribution}: {advice:?}");
        }
        assert_eq!(advice("linux", "void").len(), 3);
    }
}
