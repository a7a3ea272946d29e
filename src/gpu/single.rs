//! One operation by itself: how tests (and the choice of kernels) hold a shader against its reference.

use super::executor::GpuExecutor;
use super::kernels::{candidates, select, stored, transposed};
use super::weights::{stored as to_stored, transpose_rows};
use crate::error::{Error, Result};
use crate::ops::{Data, Op};

impl GpuExecutor {
    /// Runs one operation by itself, by a kernel of [`GpuExecutor::candidates`]: `output` is what the buffer holds before.
    /// Values are rounded to the session's precision on the way in.
    ///
    /// # Errors
    /// As [`GpuExecutor::run`].
    pub async fn run_op(
        &self,
        op: &Op,
        kernel: Option<&'static str>,
        operands: &[Option<Data<'_>>],
        output: &[f32],
    ) -> Result<Vec<f32>> {
        let lens: Vec<_> = operands.iter().map(|o| o.map(Data::len)).collect();
        op.check(&lens, output.len())?;
        let precision = self.capabilities.precision;
        let dispatch = select(op, kernel, self.capabilities);
        let pipeline = self.device.pipeline(&dispatch).await?;
        let buffer = |bytes: &[u8]| {
            let buffer = self.device.buffer("operand", bytes.len() as u64);
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(4), 0);
            self.device.queue.write_buffer(&buffer, 0, &padded);
            buffer
        };
        let (group, out) = self
            .device
            .scoped(op.name(), || {
                let mut buffers = Vec::new();
                for (i, operand) in operands.iter().enumerate() {
                    buffers.push(match operand {
                        Some(Data::F32(values)) if transposed(op, i) => {
                            let Op::Linear(linear) = op else { return Err(Error::shape(op.name(), "transposed")) };
                            let columns = transpose_rows(values, linear.k, linear.n, 0, linear.k);
                            buffer(&to_stored(&columns, stored(op, precision)))
                        }
                        Some(Data::F32(values)) => buffer(&to_stored(values, stored(op, precision))),
                        Some(Data::U8(values)) => buffer(values),
                        None => buffer(&[0; 16]),
                    });
                }
                let out = buffer(&to_stored(output, precision.into()));
                let params = self.device.uniform(&dispatch.params);
                let mut entries = vec![params.as_entire_binding()];
                entries.extend(buffers.iter().chain([&out]).map(wgpu::Buffer::as_entire_binding));
                Ok((self.device.bind(&dispatch, entries), out))
            })
            .await??;
        let bytes = (output.len() as u64 * precision.bytes()).next_multiple_of(4);
        let readback = self.device.readback(bytes);
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            let [x, y, z] = dispatch.groups;
            pass.dispatch_workgroups(x, y, z);
        }
        encoder.copy_buffer_to_buffer(&out, 0, &readback, 0, bytes);
        for signal in self.device.submit_and_map(encoder.finish(), std::slice::from_ref(&readback)) {
            self.device.wait(signal).await?;
        }
        self.device.take_mapped(&readback, output.len(), precision.into())
    }

    /// The kernels that can run an operation here, the first of which is taken where none is named.
    #[must_use]
    pub fn candidates(&self, op: &Op) -> Vec<&'static str> {
        candidates(op, self.capabilities)
    }

    /// Destroys the device, as a driver reset would: runs after this fail with [`Error::DeviceLost`].
    pub fn lose_device(&self) {
        self.device.device.destroy();
    }
}
