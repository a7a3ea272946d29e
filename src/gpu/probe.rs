//! Finds out how wide subgroups really are, where an adapter reports a range.

use super::bound::BoundDispatch;
use super::device::OpenDevice;
use super::kernels::{Matrices, probe_dispatch};
use crate::error::Result;
use crate::graph::Dtype;

/// Invocations that are asked.
const ASKED: usize = 64;

impl OpenDevice {
    /// The width of the subgroups in which a shader ran; `None` if they differ.
    pub async fn subgroup_width(&self) -> Result<Option<u32>> {
        let dispatch = probe_dispatch(ASKED as u32);
        let bytes = 4 * ASKED as u64;
        let (widths, readback) =
            self.scoped("probe", || (self.buffer("widths of subgroups", bytes), self.readback(bytes))).await?;
        let bound = BoundDispatch::new(self, &dispatch, &[&widths]).await?;
        let mut encoder = bound.commands(self, 1);
        encoder.copy_buffer_to_buffer(&widths, 0, &readback, 0, bytes);
        for signal in self.submit_and_map(dispatch.kernel, encoder.finish(), std::slice::from_ref(&readback)) {
            self.wait(signal).await?;
        }
        let widths = self.take_mapped(&readback, ASKED, Dtype::F32)?;
        Ok(widths.iter().all(|width| *width == widths[0]).then_some(widths[0] as u32))
    }
}

/// The matrices of an adapter whose subgroups turned out to be so wide. Only Metal's are the same in every shader; elsewhere the driver
/// may choose another width for the next one.
pub fn probed(matrices: Matrices, backend: &str, width: Option<u32>) -> Matrices {
    match width {
        Some(lanes) if backend == "Metal" && lanes <= matrices.lanes && lanes >= matrices.size => {
            Matrices { lanes, fixed: true, ..matrices }
        }
        _ => matrices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metals_width_is_believed_and_no_others() {
        let reported = Matrices { size: 8, lanes: 64, fixed: false };
        assert_eq!(probed(reported, "Metal", Some(32)), Matrices { size: 8, lanes: 32, fixed: true });
        assert_eq!(probed(reported, "Vulkan", Some(32)), reported);
        for width in [None, Some(0), Some(4), Some(128)] {
            assert_eq!(probed(reported, "Metal", width), reported);
        }
    }
}
