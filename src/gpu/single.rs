//! One operation by itself: how tests and the choice of kernels hold a shader against its reference.

use super::device::Device;
use super::executor::GpuExecutor;
use super::kernels::{Capabilities, candidates, select, stored, transposed};
use super::weights::{stored as to_stored, transpose_rows};
use crate::error::{Error, Result};
use crate::graph::Precision;
use crate::ops::{Data, Op};

/// An operation's operands and output on a device, ready to be run by any of its kernels.
pub struct Single<'a> {
    device: &'a Device,
    capabilities: Capabilities,
    op: &'a Op,
    operands: Vec<wgpu::Buffer>,
    output: wgpu::Buffer,
    len: usize,
}

impl<'a> Single<'a> {
    /// Uploads operands, rounded to the precision, and what the output holds before.
    pub async fn new(
        device: &'a Device,
        capabilities: Capabilities,
        op: &'a Op,
        operands: &[Option<Data<'_>>],
        output: &[f32],
    ) -> Result<Self> {
        let lens: Vec<_> = operands.iter().map(|o| o.map(Data::len)).collect();
        op.check(&lens, output.len())?;
        let precision = capabilities.precision;
        let buffer = |bytes: &[u8]| {
            let buffer = device.buffer("operand", bytes.len() as u64);
            let mut padded = bytes.to_vec();
            padded.resize(bytes.len().next_multiple_of(4), 0);
            device.queue.write_buffer(&buffer, 0, &padded);
            buffer
        };
        let (operands, output_buffer) = device
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
                Ok((buffers, buffer(&to_stored(output, precision.into()))))
            })
            .await??;
        Ok(Single { device, capabilities, op, operands, output: output_buffer, len: output.len() })
    }

    /// Commands that run it `count` times by a kernel.
    pub async fn commands(&self, kernel: Option<&'static str>, count: usize) -> Result<wgpu::CommandEncoder> {
        let dispatch = select(self.op, kernel, self.capabilities);
        let pipeline = self.device.pipeline(&dispatch).await?;
        let group = self
            .device
            .scoped(self.op.name(), || {
                let params = self.device.uniform(&dispatch.params);
                let mut entries = vec![params.as_entire_binding()];
                entries.extend(self.operands.iter().chain([&self.output]).map(wgpu::Buffer::as_entire_binding));
                self.device.bind(&dispatch, entries)
            })
            .await?;
        let mut encoder = self.device.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            let [x, y, z] = dispatch.groups;
            (0..count).for_each(|_| pass.dispatch_workgroups(x, y, z));
        }
        Ok(encoder)
    }

    /// Runs it once by a kernel; the whole output.
    pub async fn run(&self, kernel: Option<&'static str>) -> Result<Vec<f32>> {
        let precision: Precision = self.capabilities.precision;
        let mut encoder = self.commands(kernel, 1).await?;
        let bytes = (self.len as u64 * precision.bytes()).next_multiple_of(4);
        let readback = self.device.scoped(self.op.name(), || self.device.readback(bytes)).await?;
        encoder.copy_buffer_to_buffer(&self.output, 0, &readback, 0, bytes);
        for signal in self.device.submit_and_map(encoder.finish(), std::slice::from_ref(&readback)) {
            self.device.wait(signal).await?;
        }
        self.device.take_mapped(&readback, self.len, precision.into())
    }
}

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
        Single::new(&self.device, self.capabilities, op, operands, output).await?.run(kernel).await
    }

    /// The kernels that can run an operation here, the best guess for it first.
    #[must_use]
    pub fn candidates(&self, op: &Op) -> Vec<&'static str> {
        candidates(op, self.capabilities)
    }

    /// Destroys the device, as a driver reset would: runs after this fail with [`Error::DeviceLost`].
    pub fn lose_device(&self) {
        self.device.device.destroy();
    }
}
