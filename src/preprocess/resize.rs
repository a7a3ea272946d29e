//! Image resizing, bit for bit as Pillow's `Image.resize` does it on 8-bit RGB (`libImaging/Resample.c`, Pillow 13), or as
//! torchvision does on bytes (`ATen/native/cpu/UpSampleKernel.cpp`, antialiased, on processors with AVX2).
//!
//! Written here because no crate does: `fast_image_resize` goes vertically first with 16-bit coefficients, `image` keeps
//! an f32 intermediate; against Pillow they differ by up to 22 and 20 levels in bicubic. Pillow: f64 weights over a window
//! that grows with the scale, normalised, rounded to 22-bit fixed point. One axis is resized first and rounded to bytes, then the other.
//! torchvision: the same weights in 16 bits, with as many fractional bits as the largest weight allows; columns are resized first.

use serde::{Deserialize, Serialize};

use super::image::Image;
use crate::error::Result;

/// Resampling filters. The discriminants are Pillow's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The pixel under each sample point.
    Nearest = 0,
    /// A windowed sinc with three lobes.
    Lanczos = 1,
    /// A triangle (linear interpolation).
    Bilinear = 2,
    /// Keys' cubic with a = −0.5.
    Bicubic = 3,
    /// The mean of the pixels covered.
    Box = 4,
    /// A Hamming-windowed sinc of one lobe.
    Hamming = 5,
}

impl Filter {
    /// The filter with this number in Pillow (`resample` in `preprocessor_config.json`).
    #[must_use]
    pub fn from_pillow(number: u64) -> Option<Filter> {
        use Filter::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming].into_iter().find(|filter| *filter as u64 == number)
    }

    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| {
            let x = x * std::f64::consts::PI;
            if x == 0.0 { 1.0 } else { x.sin() / x }
        };
        let a = x.abs();
        match self {
            Filter::Nearest => 0.0,
            Filter::Box if x > -0.5 && x <= 0.5 => 1.0,
            Filter::Bilinear if a < 1.0 => 1.0 - a,
            Filter::Hamming if a == 0.0 => 1.0,
            Filter::Hamming if a < 1.0 => {
                let x = a * std::f64::consts::PI;
                x.sin() / x * (0.54 + 0.46 * x.cos())
            }
            Filter::Bicubic if a < 1.0 => ((-0.5 + 2.0) * a - (-0.5 + 3.0)) * a * a + 1.0,
            Filter::Bicubic if a < 2.0 => (((a - 5.0) * a + 8.0) * a - 4.0) * -0.5,
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

/// Whose arithmetic a resize follows; they differ by up to 2 levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resizer {
    /// Pillow: timm, torchvision on Pillow images, Hugging Face's processors up to version 4.
    Pillow,
    /// torchvision on tensors of bytes: Hugging Face's `Fast` processors, and all of version 5. It has two filters,
    /// bilinear and bicubic; others fall back to Pillow's arithmetic.
    Torchvision,
}

/// Number of fractional bits in Pillow's weights; torchvision's have at most this many.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The source samples and fixed-point weights of every output sample along one axis.
struct Kernel {
    /// First source sample of each output.
    first: Vec<usize>,
    /// `taps` weights for each output, zero beyond its window.
    weights: Vec<i32>,
    taps: usize,
    /// Number of fractional bits of the weights.
    bits: u32,
}

impl Kernel {
    fn new(from: usize, to: usize, filter: Filter, resizer: Resizer) -> Kernel {
        let scale = from as f64 / to as f64;
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let taps = support.ceil() as usize * 2 + 1;
        let mut first = Vec::with_capacity(to);
        let mut weights = vec![0.0f64; taps * to];
        let inverse = 1.0 / filter_scale;
        for (i, row) in weights.chunks_exact_mut(taps).enumerate() {
            let center = (i as f64 + 0.5) * scale;
            let low = (center - support + 0.5).max(0.0) as usize;
            let high = ((center + support + 0.5) as usize).min(from);
            let row = &mut row[..high - low];
            let mut sum = 0.0;
            for (j, weight) in row.iter_mut().enumerate() {
                *weight = filter.weight(((low + j) as f64 - center + 0.5) * inverse);
                sum += *weight;
            }
            if sum != 0.0 {
                row.iter_mut().for_each(|weight| *weight /= sum);
            }
            first.push(low);
        }
        let fixed = |weight: f64, bits: u32| {
            let half = if weight < 0.0 { -0.5 } else { 0.5 };
            (half + weight * f64::from(1u32 << bits)) as i32
        };
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let bits = match resizer {
            Resizer::Pillow => PRECISION_BITS,
            Resizer::Torchvision => {
                (0..PRECISION_BITS).find(|bits| fixed(largest, bits + 1) >= 1 << 15).unwrap_or(PRECISION_BITS)
            }
        };
        let weights = weights.into_iter().map(|weight| fixed(weight, bits)).collect();
        Kernel { first, weights, taps, bits }
    }

    /// Half a level in fixed point. Sums start from it, so that they are rounded.
    fn half(&self) -> i32 {
        1 << self.bits >> 1
    }

    /// Rounds a fixed-point sum to a byte.
    fn clip(&self, sum: i32) -> u8 {
        (sum >> self.bits).clamp(0, 255) as u8
    }

    fn taps_of(&self, i: usize) -> (usize, &[i32]) {
        (self.first[i], &self.weights[i * self.taps..(i + 1) * self.taps])
    }
}

/// Hands every row of `stride` bytes to `fill`, with its number; on all cores where the crate has a thread pool anyway.
#[cfg(feature = "cpu")]
fn each_row(out: &mut [u8], stride: usize, fill: impl Fn(usize, &mut [u8]) + Sync) {
    use rayon::prelude::*;
    out.par_chunks_mut(stride).enumerate().for_each(|(y, row)| fill(y, row));
}

#[cfg(not(feature = "cpu"))]
fn each_row(out: &mut [u8], stride: usize, fill: impl Fn(usize, &mut [u8])) {
    out.chunks_mut(stride).enumerate().for_each(|(y, row)| fill(y, row));
}

fn horizontal(source: &[u8], from: usize, to: usize, kernel: &Kernel) -> Vec<u8> {
    let mut out = vec![0u8; source.len() / from * to];
    each_row(&mut out, 3 * to, |y, out| {
        let row = &source[3 * from * y..][..3 * from];
        for (i, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (first, weights) = kernel.taps_of(i);
            let mut sums = [kernel.half(); 3];
            for (weight, source) in weights.iter().zip(row[3 * first..].as_chunks::<3>().0) {
                for (sum, sample) in sums.iter_mut().zip(source) {
                    *sum = sum.wrapping_add(i32::from(*sample) * weight);
                }
            }
            *pixel = sums.map(|sum| kernel.clip(sum));
        }
    });
    out
}

fn vertical(source: &[u8], width: usize, to: usize, kernel: &Kernel) -> Vec<u8> {
    let stride = 3 * width;
    let mut out = vec![0u8; stride * to];
    each_row(&mut out, stride, |i, out| {
        let (first, weights) = kernel.taps_of(i);
        let mut sums = vec![kernel.half(); stride];
        for (weight, row) in weights.iter().zip(source[first * stride..].chunks_exact(stride)) {
            for (sum, sample) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(i32::from(*sample) * weight);
            }
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = kernel.clip(sum));
    });
    out
}

/// The pixel under each output's centre, stepping as Pillow's affine transform does.
fn nearest(image: &Image, width: usize, height: usize) -> Vec<u8> {
    let positions = |from: usize, to: usize| -> Vec<usize> {
        let step = from as f64 / to as f64;
        let mut at = step * 0.5;
        (0..to)
            .map(|_| {
                let position = (at as usize).min(from - 1);
                at += step;
                position
            })
            .collect()
    };
    let (columns, rows) = (positions(image.width(), width), positions(image.height(), height));
    let pixels = image.data().as_chunks::<3>().0;
    let mut out = Vec::with_capacity(3 * width * height);
    for row in rows {
        columns.iter().for_each(|column| out.extend(pixels[row * image.width() + column]));
    }
    out
}

/// Resizes to `width` by `height`, as `Image.resize((width, height), filter)` or torchvision's `resize` does.
///
/// # Errors
/// [`crate::Error::Image`] if a side is 0.
pub fn resize(image: &Image, width: usize, height: usize, filter: Filter, resizer: Resizer) -> Result<Image> {
    let (from_w, from_h) = (image.width(), image.height());
    if width == 0 || height == 0 || (from_w, from_h) == (width, height) {
        return Image::from_rgb(width, height, image.data().to_vec());
    }
    if filter == Filter::Nearest {
        return Image::from_rgb(width, height, nearest(image, width, height));
    }
    let resizer = if matches!(filter, Filter::Bilinear | Filter::Bicubic) { resizer } else { Resizer::Pillow };
    let columns = |source: &[u8]| {
        if from_w == width {
            return source.to_vec();
        }
        horizontal(source, from_w, width, &Kernel::new(from_w, width, filter, resizer))
    };
    let rows = |source: &[u8], width: usize| {
        if from_h == height {
            return source.to_vec();
        }
        vertical(source, width, height, &Kernel::new(from_h, height, filter, resizer))
    };
    // Pillow 13 goes vertically first where that loses more than twice as many rows as columns. The order shows in the
    // last bit, since the first pass is rounded to bytes; Pillow up to 12.1 always went horizontally first.
    let (lost_rows, lost_columns) = (from_h as i64 - height as i64, from_w as i64 - width as i64);
    let rows_first = resizer == Resizer::Pillow && lost_rows > 0 && lost_rows > 2 * lost_columns;
    let data = if rows_first { columns(&rows(image.data(), from_w)) } else { rows(&columns(image.data()), width) };
    Image::from_rgb(width, height, data)
}
