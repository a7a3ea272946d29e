//! Prints what AMD's compiler makes of the kernels that AMD's GPUs can be given, one table for each generation.
//!
//! ```text
//! kernel-report --hlsl=FOLDER
//! kernel-report --fxc=FOLDER
//! kernel-report [--check] [--every] [--assembly] [--width=N] [KERNEL]
//! ```
//!
//! `--hlsl` writes every variant that DX12 may get as HLSL to a new folder, and their list; `--fxc` those alone that it may get where
//! FXC compiles, in the older language of FXC. `--check` prints faults alone, and ends with 1 if there are any. `--every` makes a
//! generation that the driver does not know a fault. `--assembly` prints the machine code too. `--width=32` takes the
//! kernels that a GPU with subgroups of this width alone would be given, such as NVIDIA's, which a GPU of AMD's never is. KERNEL
//! is a part of the names of the kernels that are wanted. `RADV_PERFTEST` and other variables of the driver act as usual.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kernel_report::driver::Driver;
use kernel_report::{FAMILIES, Family, Row, assembly, faults, spirv, table, translated, variants};
use naga::back::hlsl::ShaderModel;
use vit_gpu::internals::gpu::{Reachable, SHADERS, reachable};

/// Where systems keep the descriptions of Vulkan drivers.
const DRIVERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let kernel = arguments.iter().find(|argument| !argument.starts_with("--")).map_or("", String::as_str);
    for (option, model) in [("--hlsl=", ShaderModel::V6_2), ("--fxc=", ShaderModel::V5_1)] {
        if let Some(folder) = arguments.iter().find_map(|argument| argument.strip_prefix(option)) {
            return match write_hlsl(folder.as_ref(), model) {
                Ok(()) => ExitCode::SUCCESS,
                Err(reason) => {
                    eprintln!("{reason}");
                    ExitCode::FAILURE
                }
            };
        }
    }
    let width = arguments.iter().find_map(|argument| argument.strip_prefix("--width=")?.parse().ok());
    if has("--measure") {
        return match measure(kernel, has("--assembly"), width) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("{reason}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(driver) = radv() else {
        eprintln!("skipped: Mesa's driver for AMD (RADV) is not installed");
        return if has("--every") { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    };
    let mut bad = 0;
    for family in FAMILIES {
        let (name, head, rows) = match in_family(&driver, family, kernel, &arguments) {
            Ok(found) => found,
            Err(reason) => {
                eprintln!("{} skipped: {reason}", family.name);
                bad += u32::from(has("--every"));
                continue;
            }
        };
        println!("### {} ({name})\n\n{head}\n", family.name);
        if !has("--check") {
            println!("{}", table::markdown(&rows));
        }
        for row in &rows {
            for fault in faults::of(row) {
                println!("{} {} ({}): {fault}", row.kernel, row.precision, row.constants);
                bad += 1;
            }
        }
        println!("{} variants\n", rows.len());
    }
    println!("faults: {bad}");
    if has("--check") && bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Writes every variant that DX12 may get with a shader model, and `list.tsv`: file, entry point, precision, name.
fn write_hlsl(folder: &Path, model: ShaderModel) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let mut list = String::new();
    let mut number = 0;
    variants::each(|variant| {
        let wanted = if model == ShaderModel::V5_1 { variant.is_for_fxc() } else { variant.is_for_dx12() };
        if !wanted {
            return Ok(());
        }
        let (text, entry) = translated::hlsl(&variant.module, model)?;
        list.push_str(&format!("{number}.hlsl\t{entry}\t{}\t{}\n", variant.precision.name(), variant.name));
        number += 1;
        std::fs::write(folder.join(format!("{}.hlsl", number - 1)), text).map_err(|error| error.to_string())
    })?;
    std::fs::write(folder.join("list.tsv"), list).map_err(|error| error.to_string())
}

/// The file that describes RADV to the Vulkan loader.
fn radv() -> Option<PathBuf> {
    let files = DRIVERS.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut found: Vec<PathBuf> = files.map(|file| file.path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("radeon_icd")));
    found.sort();
    // One of another architecture is of no use; systems with several put theirs into the name.
    found.iter().find(|path| path.to_string_lossy().contains(std::env::consts::ARCH)).or(found.first()).cloned()
}

/// Measures a family in a process of its own; the first name that the driver knows. Its name, what it can do, and the rows.
fn in_family(
    driver: &std::path::Path,
    family: Family,
    kernel: &str,
    arguments: &[String],
) -> Result<(&'static str, String, Vec<Row>), String> {
    // The first argument where the system has no way to tell, as in a root without /proc.
    let program = std::env::current_exe().or_else(|error| std::env::args_os().next().map(PathBuf::from).ok_or(error));
    let program = program.map_err(|error| error.to_string())?;
    let mut reason = String::new();
    for name in family.mesa {
        let mut command = Command::new(&program);
        let others = arguments.iter().filter(|argument| argument.starts_with("--"));
        command.args(["--measure", kernel]).args(others);
        command.env("RADV_FORCE_FAMILY", name).env("VK_DRIVER_FILES", driver).env("VK_ICD_FILENAMES", driver);
        let output = command.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
            let rows = rest.lines().filter_map(table::row).collect();
            if arguments.iter().any(|argument| argument == "--assembly") {
                rest.lines().filter(|line| table::row(line).is_none()).for_each(|line| println!("{line}"));
            }
            return Ok((name, head.to_owned(), rows));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        reason = said.lines().last().unwrap_or("it ended without a word").to_owned();
    }
    Err(reason)
}

/// Compiles everything for the family that the environment names, and prints a line for each.
fn measure(kernel: &str, assembly: bool, width: Option<u32>) -> Result<(), String> {
    let driver = Driver::open()?;
    let (least, most) = driver.subgroups;
    let matrices = driver.matrices.map_or("no cooperative matrices".to_owned(), |size| format!("matrices of {size}"));
    println!(
        "{}: subgroups of {least} to {most}, {} bytes of workgroup memory, {matrices}.",
        driver.name, driver.workgroup_memory
    );
    let subgroups = width.map_or(driver.subgroups, |width| (width, width));
    for variant in reachable(subgroups, driver.matrices, driver.workgroup_memory) {
        if !variant.kernel.contains(kernel) {
            continue;
        }
        let (row, text) = compiled(&driver, &variant, width).map_err(|error| format!("{}: {error}", variant.kernel))?;
        println!("{}", table::line(&row));
        if assembly {
            println!("{text}");
        }
    }
    Ok(())
}

fn compiled(driver: &Driver, variant: &Reachable, width: Option<u32>) -> Result<(Row, String), String> {
    let shader = SHADERS.iter().find(|shader| shader.name == variant.shader).ok_or("no such shader")?;
    let spirv = spirv::compile(&shader.text(variant.precision, &variant.constants), &variant.overrides)?;
    let found = driver.compile(&spirv, shader.inputs + 1, width)?;
    let figure = |name: &str| found.figures.get(name).copied().ok_or(format!("the driver tells no {name}"));
    let constants: Vec<_> = variant.constants.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let row = Row {
        kernel: variant.kernel.to_owned(),
        precision: variant.precision.name().to_owned(),
        constants: constants.join(","),
        registers: figure("VGPRs")?,
        spilled: figure("Spilled VGPRs")?,
        scratch: figure("Scratch size")?,
        shared: figure("LDS size")?,
        waves: figure("Subgroups per SIMD")?,
        instructions: figure("Instructions")?,
        latency: figure("Latency")?,
        throughput: figure("Inverse Throughput")?,
        loops: assembly::loops(&found.assembly),
    };
    Ok((row, found.assembly))
}
