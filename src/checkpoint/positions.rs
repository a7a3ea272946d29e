//! Resamples position tables to other resolutions, by the rule of each library.
//!
//! Every rule is separable: rows and columns are resampled one after the other, the width first, each with its own weights.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names;
use crate::error::Result;
use crate::model::{VitConfig, WeightLoader};

/// How a library resamples a position table. `F.interpolate` is PyTorch's (`ATen/native/cpu/UpSampleKernel.cpp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// `F.interpolate(mode="bicubic")`: Keys' kernel with a = −0.75, taps clamped to the edge.
    Bicubic,
    /// The same, stepping by old/(new + 0.1): original DINO and DINOv2.
    BicubicOffset,
    /// `F.interpolate(mode="bicubic", antialias=True)`: a = −0.5, as wide as the step when shrinking, renormalised.
    BicubicAntialias,
    /// `F.interpolate(mode="bicubic", align_corners=True)`.
    BicubicAlignCorners,
    /// `F.interpolate(mode="bilinear")`.
    Bilinear,
    /// `scipy.ndimage.zoom(order=1)`: linear, corners on corners.
    Zoom,
    /// Must not be resampled: the table was already resampled when the model was converted.
    Never,
    /// There is no table in the file. It is computed for any size from sines and cosines of row and column (SimpleViT).
    SinCos,
}

/// When and how a model's position table is resampled.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Positions {
    pub rule: Resample,
    /// Whether the library always resamples to the size of its input, so that preprocessing decides the size.
    pub always: bool,
    /// Whether the library treats every table that it resamples as a square one.
    pub square: bool,
    /// With `square`: whether the library keeps the table for any image with the same number of patches (`true`) or only for square images (`false`).
    pub by_count: bool,
    /// Whether the library pads images to whole patches. Padding is not supported, so only sizes that are multiples of the patch size can be run.
    pub whole: bool,
    /// The rule that the library uses while it runs, if it differs from the rule while loading.
    pub running: Option<Resample>,
    /// Whether the library runs inputs of any size by resampling positions.
    pub dynamic: bool,
    /// The image size that the configuration asks for, if it is not the size of the table.
    #[serde(skip)]
    pub image_size: Option<(usize, usize)>,
}

impl Positions {
    pub fn on_request(rule: Resample) -> Positions {
        Positions {
            rule,
            always: false,
            square: false,
            by_count: false,
            whole: false,
            running: None,
            dynamic: false,
            image_size: None,
        }
    }

    /// transformers' rule, for the classes that resample when they are told to.
    pub fn square_on_request(rule: Resample) -> Positions {
        Positions { square: true, dynamic: true, ..Positions::on_request(rule) }
    }

    /// open_clip's rule.
    pub fn square_unless_same_count(rule: Resample) -> Positions {
        Positions { square: true, by_count: true, ..Positions::on_request(rule) }
    }

    /// The rule of Meta's models, and of transformers' DINOv2, which resample without being told.
    pub fn square_always(rule: Resample) -> Positions {
        Positions { always: true, ..Positions::square_on_request(rule) }
    }
}

impl Positions {
    /// The grid of the table, if it must be resampled for the size at which the model runs; `None` if the table is used as it is.
    pub fn resampled_from(
        &self,
        cfg: &VitConfig,
        own_size: (usize, usize),
        own_grid: (usize, usize),
    ) -> Result<Option<(usize, usize)>, String> {
        let ((h, w), (ph, pw)) = (cfg.img_size, cfg.patch_size);
        if self.whole && !(h.is_multiple_of(ph) && w.is_multiple_of(pw)) {
            return Err(format!(
                "`dynamic_img_pad` pads an image of {h}x{w} to whole patches of {ph}x{pw}, which can't be run"
            ));
        }
        if !cfg.pos_embed {
            return Ok(None);
        }
        if self.rule == Resample::Never && cfg.grid() != own_grid {
            let (own_h, own_w) = own_size;
            let reason = "the position table was resampled when the model was converted, and can't be resampled again";
            return Err(format!("{reason} from {own_h}x{own_w} to {h}x{w}: convert the original for that size"));
        }
        if !self.square {
            return Ok((cfg.grid() != own_grid).then_some(own_grid));
        }
        let patches = own_grid.0 * own_grid.1;
        let asked = self.always || cfg.img_size != own_size;
        if !asked || (h == w || self.by_count) && cfg.grid().0 * cfg.grid().1 == patches {
            return Ok(None);
        }
        match names::grid(patches, None) {
            Some(square) => Ok(Some(square)),
            None => Err(format!(
                "its library can't resample the position table for {h}x{w}, because it treats the table as square and {patches} is not a square number"
            )),
        }
    }
}

/// Loads weights like `inner`, but resamples the position table to another grid.
pub struct ResampledLoader {
    pub inner: Arc<dyn WeightLoader>,
    /// Number of rows for prefix tokens, which come before those of the grid and are copied.
    pub prefix: usize,
    /// Width of a token (D).
    pub width: usize,
    pub from: (usize, usize),
    pub to: (usize, usize),
    pub rule: Resample,
}

impl WeightLoader for ResampledLoader {
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()> {
        if name != "pos_embed" {
            return self.inner.load(name, first_row, out);
        }
        let mut table = vec![0.0; (self.prefix + self.from.0 * self.from.1) * self.width];
        self.inner.load(name, 0, &mut table)?;
        let grid = table.split_off(self.prefix * self.width);
        table.extend(resample(&grid, self.width, self.from, self.to, self.rule));
        let first = first_row * self.width;
        out.copy_from_slice(&table[first..first + out.len()]);
        Ok(())
    }
}

/// Loads weights like `inner`, but computes the position table: SimpleViT's `posemb_sincos_2d`, a quarter of the channels each for sine and
/// cosine of column and row, times 10,000^(−i/(D/4 − 1)).
pub struct SinCosLoader {
    pub inner: Arc<dyn WeightLoader>,
    pub grid: (usize, usize),
    pub width: usize,
}

impl WeightLoader for SinCosLoader {
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()> {
        if name != "pos_embed" {
            return self.inner.load(name, first_row, out);
        }
        let quarter = self.width / 4;
        for (row, out) in out.chunks_exact_mut(self.width).enumerate() {
            let cell = first_row + row;
            let (y, x) = ((cell / self.grid.1) as f64, (cell % self.grid.1) as f64);
            for i in 0..quarter {
                let omega = 10_000f64.powf(-(i as f64) / (quarter as f64 - 1.0));
                for (part, value) in
                    [(x * omega).sin(), (x * omega).cos(), (y * omega).sin(), (y * omega).cos()].into_iter().enumerate()
                {
                    out[part * quarter + i] = value as f32;
                }
            }
        }
        Ok(())
    }
}

/// `table [from.0·from.1, width]` as `[to.0·to.1, width]`.
fn resample(table: &[f32], width: usize, from: (usize, usize), to: (usize, usize), rule: Resample) -> Vec<f32> {
    let mut wide = vec![0.0f64; from.0 * to.1 * width];
    for (x, taps) in taps(from.1, to.1, rule).iter().enumerate() {
        for y in 0..from.0 {
            let out = &mut wide[(y * to.1 + x) * width..][..width];
            for (at, weight) in taps {
                let row = &table[(y * from.1 + at) * width..][..width];
                out.iter_mut().zip(row).for_each(|(sum, v)| *sum += weight * f64::from(*v));
            }
        }
    }
    let mut out = vec![0.0f64; to.0 * to.1 * width];
    let row = to.1 * width;
    for (y, taps) in taps(from.0, to.0, rule).iter().enumerate() {
        for (at, weight) in taps {
            let source = &wide[at * row..][..row];
            out[y * row..][..row].iter_mut().zip(source).for_each(|(sum, v)| *sum += weight * v);
        }
    }
    out.into_iter().map(|v| v as f32).collect()
}

/// For each of the `to` outputs: the indices of the inputs that it is computed from, with their weights.
fn taps(from: usize, to: usize, rule: Resample) -> Vec<Vec<(usize, f64)>> {
    let (n, m) = (from as f64, to as f64);
    let corners = if to > 1 { (n - 1.0) / (m - 1.0) } else { 0.0 };
    let clamped = |at: f64| at.clamp(0.0, n - 1.0) as usize;
    let cubic = |at: f64| {
        let first = at.floor();
        (-1..=2).map(|tap| (clamped(first + f64::from(tap)), keys(at - first - f64::from(tap), -0.75))).collect()
    };
    let linear = |at: f64| {
        let first = at.floor();
        vec![(clamped(first), 1.0 - (at - first)), (clamped(first + 1.0), at - first)]
    };
    let each = |i: usize| {
        let i = i as f64;
        match rule {
            Resample::Bicubic => cubic(n / m * (i + 0.5) - 0.5),
            Resample::BicubicOffset => cubic(n / (m + 0.1) * (i + 0.5) - 0.5),
            Resample::BicubicAlignCorners => cubic(corners * i),
            Resample::SinCos | Resample::Never => Vec::new(),
            Resample::Bilinear => linear((n / m * (i + 0.5) - 0.5).max(0.0)),
            Resample::Zoom => linear(corners * i),
            Resample::BicubicAntialias => {
                let step = n / m;
                let shrink = step.max(1.0);
                let center = (i + 0.5) * step;
                let first = (center - 2.0 * shrink + 0.5).max(0.0) as usize;
                let last = ((center + 2.0 * shrink + 0.5) as usize).min(from);
                let weights: Vec<f64> =
                    (first..last).map(|at| keys((at as f64 - center + 0.5) / shrink, -0.5)).collect();
                let sum: f64 = weights.iter().sum();
                (first..last).zip(weights.iter().map(|w| w / sum)).collect()
            }
        }
    };
    // If the size stays the same, every rule except the one with an offset copies the table.
    if from == to && rule != Resample::BicubicOffset {
        return (0..to).map(|i| vec![(i, 1.0)]).collect();
    }
    (0..to).map(each).collect()
}

/// Keys' cubic convolution kernel (1981).
fn keys(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against PyTorch, timm and SciPy (`tests/goldens/positions.py`).
    #[test]
    fn tables_are_resampled_as_their_libraries_do() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/positions.safetensors");
        let file = super::super::Tensors::open(&file).unwrap();
        let pair = |text: &str| {
            let (h, w) = text.split_once('x').unwrap();
            (h.parse::<usize>().unwrap(), w.parse::<usize>().unwrap())
        };
        let mut compared = 0;
        for name in file.shapes().map(|(name, _)| name.to_owned()).filter(|name| !name.starts_with("source")) {
            let parts: Vec<&str> = name.split(' ').collect();
            let rule = match parts[0] {
                "bicubic" => Resample::Bicubic,
                "bicubic_offset" => Resample::BicubicOffset,
                "bicubic_antialias" => Resample::BicubicAntialias,
                "bicubic_align_corners" => Resample::BicubicAlignCorners,
                "bilinear" => Resample::Bilinear,
                "zoom" => Resample::Zoom,
                other => panic!("{other}"),
            };
            let (_, table) = file.values(&format!("source {}", parts[1])).unwrap();
            let (_, want) = file.values(&name).unwrap();
            let got = resample(&table, 3, pair(parts[1]), pair(parts[2]), rule);
            // PyTorch computes coordinates in f32.
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(got.len() == want.len() && worst < 1e-5, "{name}: {worst:e}");
            compared += 1;
        }
        assert_eq!(compared, 24);
    }

    #[test]
    fn taps_are_those_that_pytorch_documents() {
        let [.., (_, last)] = taps(8, 4, Resample::Bicubic)[1][..] else { panic!() };
        assert_eq!(last, keys(1.5, -0.75));
        // t = 0.25
        let quarter: Vec<f64> = (-1..=2).map(|tap| keys(0.25 - f64::from(tap), -0.75)).collect();
        assert_eq!(quarter, [-0.105_468_75, 0.878_906_25, 0.261_718_75, -0.035_156_25]);
        for rule in [Resample::Bicubic, Resample::BicubicAntialias, Resample::Bilinear, Resample::Zoom] {
            for (from, to) in [(37, 16), (7, 11), (1, 3), (3, 1), (5, 5)] {
                for taps in taps(from, to, rule) {
                    let sum: f64 = taps.iter().map(|(_, w)| w).sum();
                    assert!((sum - 1.0).abs() < 1e-12 && taps.iter().all(|(at, _)| *at < from), "{rule:?} {from} {to}");
                }
            }
        }
    }
}
