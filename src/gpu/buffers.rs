//! Creates the buffers and bind groups that a run needs.

use half::slice::HalfFloatSliceExt;

use super::device::OpenDevice;
use super::kernels::Dispatch;
use crate::error::Result;
use crate::graph::Dtype;

impl OpenDevice {
    /// A storage buffer, rounded up to whole vec4s.
    pub fn buffer(&self, label: &str, bytes: u64) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// A buffer the processor can map to read results.
    pub fn readback(&self, bytes: u64) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: bytes.next_multiple_of(4).max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Reads the first `len` floats of a mapped buffer, then unmaps it.
    pub fn take_mapped(&self, buffer: &wgpu::Buffer, len: usize, dtype: Dtype) -> Result<Vec<f32>> {
        let mapped = buffer.slice(..).get_mapped_range().map_err(|error| self.error(error.to_string()))?;
        let values = match dtype {
            Dtype::F16 => bytemuck::cast_slice::<_, half::f16>(&mapped)[..len].to_f32_vec(),
            Dtype::F32 | Dtype::U8 => bytemuck::cast_slice(&mapped)[..len].to_vec(),
        };
        drop(mapped);
        buffer.unmap();
        Ok(values)
    }

    /// A uniform buffer with its contents.
    pub fn uniform(&self, bytes: &[u8]) -> wgpu::Buffer {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (bytes.len() as u64).next_multiple_of(16).max(16),
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    /// Binds buffers in the order a shader declares them.
    pub fn bind(&self, dispatch: &Dispatch, resources: Vec<wgpu::BindingResource<'_>>) -> wgpu::BindGroup {
        let entries: Vec<_> = resources
            .into_iter()
            .enumerate()
            .map(|(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(dispatch.shader.name),
            layout: &self.layout(dispatch.shader.inputs),
            entries: &entries,
        })
    }
}
