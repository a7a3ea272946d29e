//! Single operations on an executor, for tests.

use super::bound::UploadedOp;
use super::executor::GpuExecutor;
use super::kernels::candidates;
use crate::error::Result;
use crate::ops::{Data, Op};

impl GpuExecutor {
    /// Runs one operation by itself, by a kernel of [`GpuExecutor::candidates`]: `output` is what the buffer holds before.
    /// Values are rounded to the session's precision on the way in.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for operands that do not fit or another kernel; errors of the device.
    pub async fn run_op(
        &self,
        op: &Op,
        kernel: Option<&'static str>,
        operands: &[Option<Data<'_>>],
        output: &[f32],
    ) -> Result<Vec<f32>> {
        UploadedOp::new(&self.device, self.capabilities, op, operands, output).await?.run(kernel).await
    }

    /// The kernels that can run an operation here, the best guess for it first.
    #[must_use]
    pub fn candidates(&self, op: &Op) -> Vec<&'static str> {
        candidates(op, self.capabilities)
    }

    /// The width of the subgroups in which a shader ran; `None` if they differ.
    ///
    /// # Errors
    /// Errors of the device.
    pub async fn subgroup_width(&self) -> Result<Option<u32>> {
        self.device.subgroup_width().await
    }

    /// Destroys the device, as a driver reset would. Later runs fail with [`crate::Error::DeviceLost`]. For tests.
    pub fn lose_device(&self) {
        self.device.device.destroy();
    }
}
