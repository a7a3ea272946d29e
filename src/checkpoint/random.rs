//! `random:ARCH@SEED`: makes weights from an integer hash, for benchmarks and comparisons without a download.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::model::random::{HashedValues, spread};
use crate::model::{VitConfig, WeightLoader, arch, weight_specs};

/// Makes weights by canonical name.
pub struct RandomLoader {
    shapes: HashMap<String, Vec<usize>>,
    seed: u64,
}

impl RandomLoader {
    pub fn new(cfg: &VitConfig, seed: u64) -> Result<RandomLoader> {
        Ok(RandomLoader { shapes: weight_specs(cfg)?.into_iter().map(|spec| (spec.name, spec.shape)).collect(), seed })
    }
}

impl WeightLoader for RandomLoader {
    fn load(&self, name: &str, first_row: usize, out: &mut [f32]) -> Result<()> {
        let shape =
            self.shapes.get(name).ok_or_else(|| Error::model("random", format!("the model has no weight `{name}`")))?;
        let (center, spread) = spread(name, shape);
        let first = first_row * shape[1..].iter().product::<usize>();
        let values = HashedValues::new(name, self.seed);
        for (i, out) in out.iter_mut().enumerate() {
            *out = center + spread * values.get(first + i);
        }
        Ok(())
    }
}

/// Reads `ARCH@SEED` (seed 0 where it is left out).
pub fn parse(spec: &str) -> Result<(VitConfig, u64)> {
    let (name, seed) = spec.split_once('@').unwrap_or((spec, "0"));
    let seed = seed
        .parse()
        .map_err(|_| Error::argument("model", format!("random:{spec}: the seed `{seed}` is no whole number")))?;
    let cfg = arch::lookup(name).ok_or_else(|| {
        let reason = format!("random:{spec}: architecture `{name}` is not known (such as vit_base_patch16_224)");
        Error::argument("model", reason)
    })?;
    Ok((cfg, seed))
}
