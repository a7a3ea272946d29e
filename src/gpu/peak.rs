//! Measures the highest rates of a device: multiply-adds and bytes per second, by kernels that do nothing else.

use super::bound::BoundDispatch;
use super::device::OpenDevice;
use super::executor::GpuExecutor;
use super::kernels::{Dispatch, Matrices, PeakParams, dispatch_with};
use crate::error::Result;
use crate::executor::Peak;
use crate::graph::Precision;

/// Bytes of the source, and of the destination, of the copy: more than fits the last-level caches of today's GPUs.
const COPIED: u64 = 128 << 20;

impl GpuExecutor {
    /// Measures the device's limits; takes a fraction of a second on a GPU.
    pub(super) async fn measure_peak(&self) -> Result<Peak> {
        let software = self.report().is_software();
        let device = &*self.device;
        // Enough workgroups to fill any GPU; software adapters have a few cores.
        let (groups, rounds) = if software { (64, 64) } else { (8192, 256) };
        let params = PeakParams { len: 64 * groups, rounds };
        let dispatch = dispatch_with("peak_fma", params, [groups, 1, 1], Precision::F32);
        let seconds = least(device, &dispatch, &[4 * 64 * u64::from(groups)]).await?;
        let fma = 2.0 * 128.0 * f64::from(rounds) * 64.0 * f64::from(groups) / seconds;

        let bytes = COPIED.min(self.device.max_binding) / if software { 4 } else { 1 };
        let len = (bytes / 16) as u32;
        let x = len.div_ceil(64).min(65_535);
        let params = PeakParams { len, rounds: 0 };
        let groups = [x, len.div_ceil(64).div_ceil(x), 1];
        let seconds =
            least(device, &dispatch_with("peak_copy", params, groups, Precision::F32), &[bytes, bytes]).await?;
        let copy = 2.0 * bytes as f64 / seconds;

        let matrix = match self.capabilities.matrices {
            Some(matrices) => Some(matrix(device, matrices, software).await?),
            None => None,
        };
        Ok(Peak { fma, matrix, copy })
    }
}

async fn matrix(device: &OpenDevice, Matrices { size, lanes, .. }: Matrices, software: bool) -> Result<f64> {
    let (groups, rounds) = if software { (16, 64) } else { (8192, 512) };
    let mut dispatch = dispatch_with("peak_matrix", PeakParams { len: 0, rounds }, [groups, 1, 1], Precision::F16);
    dispatch.constants = vec![("LANES", lanes), ("SIZE", size)];
    let area = u64::from(size * size);
    let seconds = least(device, &dispatch, &[2 * area, 4 * area]).await?;
    Ok(2.0 * 8.0 * f64::from(rounds) * f64::from(size).powi(3) * f64::from(groups) / seconds)
}

/// Seconds that one measurement takes at least.
const LEAST: f64 = 2e-2;

/// The shortest of three times, because the first may include compiling.
async fn least(device: &OpenDevice, dispatch: &Dispatch, buffers: &[u64]) -> Result<f64> {
    let bound = BoundDispatch::with_buffers(device, dispatch, buffers).await?;
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        best = best.min(device.seconds(|count| bound.commands(device, count), LEAST).await?);
    }
    Ok(best)
}
