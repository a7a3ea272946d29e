//! No kernel that an AMD GPU can be given spills registers, keeps variables in memory, or loads 16 bits at a time in loops.

use std::process::Command;

#[test]
fn kernels_for_amd_have_no_faults() {
    let output = Command::new(env!("CARGO_BIN_EXE_kernel-report")).arg("--check").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Which generations were skipped, and why.
    eprint!("{err}");
    assert!(output.status.success(), "{out}{err}");
    let compiled = out.lines().filter(|line| line.starts_with("### ")).count();
    assert!(compiled > 0 || err.contains("skipped"), "nothing was compiled, and nothing says why: {out}{err}");
}
