//! The choice of kernels, without a device.

use super::*;
use crate::device::MatrixShape;
use crate::ops::{Attention, Linear};

fn report(kind: &'static str, subgroups: (u32, u32), matrix: Option<u32>) -> Adapter {
    let shape = |size| MatrixShape { m: size, n: size, k: size, inputs: "f16".into(), sums: "f32".into() };
    Adapter {
        kind,
        f16: true,
        subgroups: Some(subgroups),
        cooperative_matrix: matrix.map(shape).into_iter().collect(),
        workgroup_memory: 49_152,
        ..Adapter::featureless("test")
    }
}

fn first(op: &Op, report: &Adapter, precision: Precision) -> &'static str {
    candidates(op, Capabilities::new(report, Kernels::Auto, precision).unwrap())[0]
}

#[test]
fn tiles_shrink_with_the_work_and_matrix_cores_need_f16() {
    let nvidia = report("discrete", (32, 32), Some(16));
    let op = |m| Op::Linear(Linear::new(m, 768, 768));
    assert_eq!(first(&op(12_608), &nvidia, Precision::F16), "linear_matrix_8x8");
    assert_eq!(first(&op(197), &nvidia, Precision::F16), "linear_matrix_2x2");
    assert_eq!(first(&op(12_608), &nvidia, Precision::F32), "linear_tile_128x128");
    assert_eq!(first(&op(197), &nvidia, Precision::F32), "linear_tile_32x32");
    assert_eq!(first(&Op::Linear(Linear::new(1, 768, 10)), &nvidia, Precision::F16), "linear_scalar");
    let attention = |batch| Op::Attention(Attention::packed(batch, 197, 12, 64, 0.125));
    assert_eq!(first(&attention(64), &nvidia, Precision::F16), "attention_matrix_4");
    assert_eq!(first(&attention(1), &nvidia, Precision::F32), "attention_tile_16");
    // Where subgroups vary in width, no workgroup has two.
    let amd = report("discrete", (32, 64), Some(16));
    assert_eq!(first(&op(12_608), &amd, Precision::F16), "linear_matrix_4x4_alone");
    assert_eq!(first(&attention(64), &amd, Precision::F16), "attention_matrix_1");
}

#[test]
fn metals_subgroups_are_put_together_once_their_width_is_known() {
    let apple = Capabilities::new(&report("integrated", (4, 64), Some(8)), Kernels::Auto, Precision::F16).unwrap();
    let matrices = apple.matrices.unwrap();
    assert_eq!((matrices.size, matrices.lanes, matrices.fixed), (8, 64, false));
    let op = Op::Linear(Linear::new(12_608, 768, 768));
    let all = candidates(&op, apple);
    assert!(all.contains(&"linear_matrix_4x4_alone") && !all.contains(&"linear_matrix_8x8"), "{all:?}");
    let known = Capabilities { matrices: Some(Matrices { lanes: 32, fixed: true, ..matrices }), ..apple };
    assert_eq!(candidates(&op, known)[0], "linear_matrix_8x8");
    let constants = select(&op, None, known).constants;
    assert_eq!(constants.iter().find(|(name, _)| *name == "SUB_LANES"), Some(&("SUB_LANES", 32)));
    // Where an invocation would have nothing to bring, there is no such kernel.
    let wide = Capabilities { matrices: Some(Matrices { lanes: 64, fixed: true, ..matrices }), ..apple };
    assert!(!candidates(&op, wide).contains(&"linear_matrix_2x4"));
}

#[test]
fn software_adapters_get_their_own_and_can_be_asked_for_others() {
    let lavapipe = report("software", (8, 8), Some(8));
    let op = Op::Linear(Linear::new(197, 768, 768));
    assert_eq!(first(&op, &lavapipe, Precision::F16), "linear_subgroup_24");
    let pinned = |kernels, precision| Capabilities::new(&lavapipe, kernels, precision);
    assert!(candidates(&op, pinned(Kernels::Matrix, Precision::F16).unwrap())[0].starts_with("linear_matrix"));
    assert!(candidates(&op, pinned(Kernels::Portable, Precision::F16).unwrap())[0].starts_with("linear_tile"));
    assert!(pinned(Kernels::Matrix, Precision::F32).unwrap_err().to_string().contains("compute in f16"));
}

#[test]
fn what_an_adapter_lacks_is_an_error_that_says_so() {
    let mut plain = report("integrated", (16, 32), None);
    let error = |report: &Adapter, kernels| Capabilities::new(report, kernels, Precision::F16).unwrap_err().to_string();
    assert!(error(&plain, Kernels::Matrix).contains("no cooperative matrices"));
    assert!(error(&plain, Kernels::Software).contains("subgroups of 8"));
    plain.f16 = false;
    assert_eq!(error(&plain, Kernels::Auto), "test: it can't compute in f16, only in f32");
}

#[test]
fn loads_share_a_tile_evenly() {
    for (name, rows, cols) in [("linear_tile", "LANES_Y", "LANES_X"), ("linear_matrix", "SUBS_Y", "SUBS_X")] {
        for constants in linear::variants(name) {
            let get = |name: &str| constants.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            let step4 = get("K4").or(get("STEP").map(|step| step / 4)).unwrap();
            let vec4s = get("PIECE").unwrap_or(4) / 4;
            let mats = |name| get(name).map_or(1, |mats| mats * get("SIZE").unwrap());
            let tile_rows = get(rows).unwrap() * get("ROWS").unwrap_or(mats("MATS_Y"));
            let tile_cols4 = get(cols).unwrap() * get("COLS4").unwrap_or(mats("MATS_X") / 4);
            assert_eq!(get("X_LOADS").unwrap() * vec4s * get("LANES").unwrap(), tile_rows * step4, "{constants:?}");
            assert_eq!(
                get("W_LOADS").unwrap() * vec4s * get("LANES").unwrap(),
                4 * step4 * tile_cols4,
                "{constants:?}"
            );
        }
    }
}
