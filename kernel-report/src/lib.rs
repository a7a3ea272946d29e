//! Compiles every kernel that the choice of kernels can give to an AMD GPU, with Mesa's RADV and without a GPU, and tells what
//! became of it: registers, spills, workgroup memory, the widths of loads in loops.
//!
//! RADV has a null device for this: it compiles as for real hardware, but runs nothing. The family of GPUs is an environment
//! variable that is read once, so each family is measured by a process of its own.

pub mod assembly;
pub mod driver;
pub mod faults;
pub mod spirv;
pub mod table;
pub mod translated;
pub mod variants;

/// What the compiler made of one variant of one shader.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// The kernel's name in the table of choices.
    pub kernel: String,
    /// `f32` or `f16`.
    pub precision: String,
    /// Its constants, such as `SIZE=16`, separated by commas.
    pub constants: String,
    /// Vector registers.
    pub registers: u64,
    /// Vector registers that did not fit and are kept in memory.
    pub spilled: u64,
    /// Bytes of memory a subgroup needs for variables that are not in registers.
    pub scratch: u64,
    /// Bytes of workgroup memory.
    pub shared: u64,
    /// Subgroups of it that fit one SIMD unit at a time.
    pub waves: u64,
    /// Instructions.
    pub instructions: u64,
    /// The compiler's estimate of the cycles that one pass over the text takes.
    pub latency: u64,
    /// The compiler's estimate of the cycles a SIMD unit is busy with one pass over the text.
    pub throughput: u64,
    /// What is in its loops.
    pub loops: assembly::Loops,
}

/// A generation of GPUs, by the names that versions of Mesa have for one of them.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// AMD's name of the generation.
    pub name: &'static str,
    /// Names to try, in this order.
    pub mesa: &'static [&'static str],
}

/// The generations that are reported.
pub const FAMILIES: [Family; 3] = [
    Family { name: "RDNA2", mesa: &["navi21"] },
    Family { name: "RDNA3", mesa: &["navi31", "gfx1100"] },
    Family { name: "RDNA4", mesa: &["gfx1201"] },
];
