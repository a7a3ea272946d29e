//! Runs one operation on the device with made-up values, to see whether a kernel matches the reference and how fast it is.

use crate::error::{Error, Result};
use crate::gpu::bound::UploadedOp;
use crate::gpu::device::OpenDevice;
use crate::gpu::kernels::Capabilities;
use crate::graph::Precision;
use crate::model::random::HashedValues;
use crate::ops::{Attention, Data, Linear, Op};

/// Output rows that are compared with the reference.
const SAMPLES: usize = 16;
/// Seconds of device time that one measurement takes, about.
const MEASURED: f64 = 2e-3;

pub struct Trial<'a> {
    device: &'a OpenDevice,
    uploaded: UploadedOp<'a>,
    precision: Precision,
    /// Where each sampled row starts, and what the reference gives there.
    rows: Vec<(usize, Vec<f32>)>,
}

impl<'a> Trial<'a> {
    pub async fn new(device: &'a OpenDevice, capabilities: Capabilities, op: &'a Op) -> Result<Trial<'a>> {
        let precision = capabilities.precision;
        let operands: Vec<_> = op
            .operand_lens()
            .iter()
            .enumerate()
            .map(|(i, len)| len.map(|len| values(&format!("trial operand {i}"), len, precision)))
            .collect();
        let operands: Vec<_> = operands.iter().map(|values| values.as_deref().map(Data::F32)).collect();
        let rows = match op {
            Op::Linear(op) => linear_rows(op, &operands)?,
            Op::Attention(op) => attention_rows(op, &operands)?,
            _ => Vec::new(),
        };
        // The output is filled with NaN first, so that values which a kernel does not write are noticed.
        let unwritten = vec![f32::NAN; op.output_len()];
        let uploaded = UploadedOp::new(device, capabilities, op, &operands, &unwritten).await?;
        Ok(Trial { device, uploaded, precision, rows })
    }

    /// An error if the sampled rows of a kernel's result don't match the reference.
    pub async fn check(&self, kernel: &'static str) -> Result<()> {
        let output = self.uploaded.run(Some(kernel)).await?;
        let allowed = match self.precision {
            Precision::F32 | Precision::I8 => 1e-4,
            Precision::F16 => 2e-2,
        };
        for (at, want) in &self.rows {
            let scale = (want.iter().map(|w| w * w).sum::<f32>() / want.len() as f32).sqrt();
            for (i, (got, want)) in output[*at..].iter().zip(want).enumerate() {
                let off = (got - want).abs() / scale;
                // A comparison with a NaN is always false, so NaN is checked separately.
                if off.is_nan() || off > allowed {
                    let reason = format!("element {} is {got}, the reference gives {want}", at + i);
                    return Err(Error::shape(kernel, reason));
                }
            }
        }
        Ok(())
    }

    /// Seconds of one run of a kernel: the average over enough runs to take some milliseconds.
    pub async fn seconds(&self, kernel: &'static str) -> Result<f64> {
        let bound = self.uploaded.bind(Some(kernel)).await?;
        self.device.seconds(|count| bound.commands(self.device, count), MEASURED).await
    }
}

/// Values in [-1, 1) as the precision stores them.
fn values(name: &str, len: usize, precision: Precision) -> Vec<f32> {
    let stream = HashedValues::new(name, 0);
    let round = |value: f32| match precision {
        Precision::F32 | Precision::I8 => value,
        Precision::F16 => half::f16::from_f32(value).to_f32(),
    };
    (0..len).map(|i| round(stream.get(i))).collect()
}

/// Indices of the rows to compare: the first, the last and some between, at different positions within a tile.
fn sampled(count: usize) -> impl Iterator<Item = usize> {
    let samples = SAMPLES.min(count);
    (0..samples).map(move |i| if samples == 1 { 0 } else { i * (count - 1) / (samples - 1) })
}

/// The reference for the sampled rows only.
fn linear_rows(op: &Linear, operands: &[Option<Data<'_>>]) -> Result<Vec<(usize, Vec<f32>)>> {
    let one = Linear { m: 1, ..op.clone() };
    let row = |data: Option<Data<'_>>, at: usize, len: usize| data.map(|data| data.f32()[at * len..][..len].to_vec());
    sampled(op.m)
        .map(|i| {
            let (x, residual) = (row(operands[0], i, op.k), row(operands[4], i, op.n));
            let mut mine = operands.to_vec();
            (mine[0], mine[4]) = (x.as_deref().map(Data::F32), residual.as_deref().map(Data::F32));
            let mut want = vec![0.0; op.n];
            Op::Linear(one.clone()).reference(&mine, &mut want)?;
            Ok((i * op.n, want))
        })
        .collect()
}

/// The reference for all heads of the sampled queries only.
fn attention_rows(op: &Attention, operands: &[Option<Data<'_>>]) -> Result<Vec<(usize, Vec<f32>)>> {
    sampled(op.outer * op.q_len)
        .map(|i| {
            let (outer, query) = (i / op.q_len, i % op.q_len);
            let kv_len = if op.causal { query + 1 } else { op.kv_len };
            let mut one = Attention { outer: 1, q_len: 1, kv_len, causal: false, ..op.clone() };
            one.q.offset += op.q.outer * outer + op.q.seq * query;
            one.k.offset += op.k.outer * outer;
            one.v.offset += op.v.outer * outer;
            one.o.offset = 0;
            let mut want = vec![0.0; op.heads * op.head_dim];
            Op::Attention(one).reference(operands, &mut want)?;
            Ok((op.o.offset + op.o.outer * outer + op.o.seq * query, want))
        })
        .collect()
}
