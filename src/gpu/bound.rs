//! Runs one operation by itself. Tests and the choice of kernels use this to compare a shader with its reference.

use super::device::OpenDevice;
use super::kernels::{Capabilities, Dispatch, candidates, element_type, select, transposed};
use super::weights::{encode, transpose_rows};
use crate::error::{Error, Result};
use crate::executor::Instant;
use crate::graph::Precision;
use crate::ops::{Data, Op};

/// An operation's operands and output on a device, ready to be run by any of its kernels.
pub struct UploadedOp<'a> {
    device: &'a OpenDevice,
    capabilities: Capabilities,
    op: &'a Op,
    operands: Vec<wgpu::Buffer>,
    output: wgpu::Buffer,
    len: usize,
}

impl<'a> UploadedOp<'a> {
    /// Uploads operands, rounded to the precision, and what the output holds before.
    pub async fn new(
        device: &'a OpenDevice,
        capabilities: Capabilities,
        op: &'a Op,
        operands: &[Option<Data<'_>>],
        output: &[f32],
    ) -> Result<Self> {
        let given: Vec<_> = operands.iter().map(|data| data.map(Data::given)).collect();
        op.check(&given, output.len())?;
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
                        Some(Data::F32(values)) if transposed(op, i, capabilities) => {
                            let Op::Linear(linear) = op else { return Err(Error::shape(op.name(), "transposed")) };
                            let columns = transpose_rows(values, linear.k, linear.n, 0, linear.k);
                            buffer(&encode(&columns, element_type(op, precision)))
                        }
                        Some(Data::F32(values)) => buffer(&encode(values, element_type(op, precision))),
                        Some(Data::U8(values)) => buffer(values),
                        None => buffer(&[0; 16]),
                    });
                }
                Ok((buffers, buffer(&encode(output, precision.into()))))
            })
            .await??;
        Ok(UploadedOp { device, capabilities, op, operands, output: output_buffer, len: output.len() })
    }

    /// A kernel bound to the operands; one of [`candidates`], or the first of them.
    pub async fn bind(&self, kernel: Option<&'static str>) -> Result<BoundDispatch> {
        if let Some(other) = kernel.filter(|kernel| !candidates(self.op, self.capabilities).contains(kernel)) {
            return Err(Error::shape(self.op.name(), format!("kernel `{other}` can't run it here")));
        }
        let dispatch = select(self.op, kernel, self.capabilities);
        let buffers: Vec<_> = self.operands.iter().chain([&self.output]).collect();
        BoundDispatch::new(self.device, &dispatch, &buffers).await
    }

    /// Runs it once by a kernel; the whole output.
    pub async fn run(&self, kernel: Option<&'static str>) -> Result<Vec<f32>> {
        let precision: Precision = self.capabilities.precision;
        let mut encoder = self.bind(kernel).await?.commands(self.device, 1);
        let bytes = (self.len as u64 * precision.bytes()).next_multiple_of(4);
        let readback = self.device.scoped(self.op.name(), || self.device.readback(bytes)).await?;
        encoder.copy_buffer_to_buffer(&self.output, 0, &readback, 0, bytes);
        for signal in self.device.submit_and_map(self.op.name(), encoder.finish(), std::slice::from_ref(&readback)) {
            self.device.wait(signal).await?;
        }
        self.device.take_mapped(&readback, self.len, precision.into())
    }
}

/// A compiled dispatch with its buffers bound.
pub struct BoundDispatch {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    groups: [u32; 3],
}

impl BoundDispatch {
    pub async fn new(device: &OpenDevice, dispatch: &Dispatch, buffers: &[&wgpu::Buffer]) -> Result<BoundDispatch> {
        let pipeline = device.pipeline(dispatch).await?;
        let bind = || {
            let params = device.uniform(&dispatch.params);
            let mut entries = vec![params.as_entire_binding()];
            entries.extend(buffers.iter().map(|buffer| buffer.as_entire_binding()));
            device.bind(dispatch, entries)
        };
        let bindings = device.scoped(dispatch.kernel, bind).await?;
        Ok(BoundDispatch { pipeline, bindings, groups: dispatch.groups })
    }

    /// A compiled dispatch with new buffers of the given sizes in bytes.
    pub async fn with_buffers(device: &OpenDevice, dispatch: &Dispatch, bytes: &[u64]) -> Result<BoundDispatch> {
        let make = || bytes.iter().map(|bytes| device.buffer(dispatch.kernel, *bytes)).collect::<Vec<_>>();
        let buffers = device.scoped(dispatch.kernel, make).await?;
        BoundDispatch::new(device, dispatch, &buffers.iter().collect::<Vec<_>>()).await
    }

    /// Commands that run it `count` times.
    pub fn commands(&self, device: &OpenDevice, count: usize) -> wgpu::CommandEncoder {
        let mut encoder = device.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.bindings, &[]);
            let [x, y, z] = self.groups;
            (0..count).for_each(|_| pass.dispatch_workgroups(x, y, z));
        }
        encoder
    }
}

impl OpenDevice {
    /// Seconds of one run: the average over enough runs to take at least `least` seconds together.
    pub async fn seconds(&self, commands: impl Fn(usize) -> wgpu::CommandEncoder, least: f64) -> Result<f64> {
        let mut count = 1;
        loop {
            let commands = commands(count).finish();
            self.flush().await?;
            let start = Instant::now();
            self.submit("a measurement", [commands]);
            self.flush().await?;
            let seconds = start.elapsed().as_secs_f64();
            if seconds >= least || count >= 1024 {
                return Ok(seconds / count as f64);
            }
            count *= 4;
        }
    }
}
