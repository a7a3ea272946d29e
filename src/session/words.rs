//! Texts through a model's text half: tokens, their vectors, runs of texts of one length, the pooled vectors.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::engine::{Engine, MAX_IMAGES, MAX_ROWS};
use super::output::{Outputs, Unchecked, join};
use crate::checkpoint::TextTower;
use crate::error::{Error, Result};
use crate::executor::Running;
use crate::graph::Plan;
use crate::model::{Input, Maps, Request, TEXT, Taps, TextConfig, WeightLoader, build};
use crate::ops::Data;
use crate::text::{Tokenizer, Tokens};

/// Plans that are kept.
const KEPT_PLANS: usize = 16;
/// Tokens of a run for each image that would keep the device busy: about those of an image.
const TOKENS: usize = 256;

/// What texts that run together have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Shape {
    /// Tokens that are run. In a causal tower, those after the pooled one change nothing, so they are left out.
    len: usize,
    /// The token that is pooled.
    token: usize,
    /// How many tokens are attended to.
    attended: usize,
}

impl Shape {
    fn of(cfg: &TextConfig, tokens: &Tokens) -> Shape {
        let token = cfg.pooled_token(&tokens.ids);
        match cfg.causal {
            true => Shape { len: token + 1, token, attended: token + 1 },
            false => Shape { len: tokens.ids.len(), token, attended: tokens.attended },
        }
    }
}

/// The tokenizer of a model, and what is kept between calls.
pub struct Words {
    tower: TextTower,
    tokenizer: Tokenizer,
    /// The table of positions, `[context, D]`.
    positions: OnceLock<Vec<f32>>,
    plans: Mutex<HashMap<(Shape, usize), Arc<Plan>>>,
}

impl Words {
    /// Reads the tokenizer of the engine's model.
    pub fn open(engine: &Engine) -> Result<Words> {
        let checkpoint = engine.checkpoint();
        let tower = checkpoint.text.clone();
        let tower = tower.map_err(|reason| Error::NoText { model: checkpoint.name.clone(), reason })?;
        let tokenizer = Tokenizer::open(&tower.tokens, checkpoint.folder.as_deref())?;
        Ok(Words { tower, tokenizer, positions: OnceLock::new(), plans: Mutex::default() })
    }

    pub fn config(&self) -> &TextConfig {
        &self.tower.config
    }

    pub fn tokens(&self, text: &str) -> Result<Tokens> {
        self.tokenizer.encode(text)
    }

    /// The pooled vector of each text, in their order.
    pub async fn embed(&self, engine: &Engine, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Err(Error::argument("texts", "no texts were given"));
        }
        let all = texts.iter().map(|text| self.tokens(text)).collect::<Result<Vec<_>>>()?;
        let mut groups: BTreeMap<Shape, Vec<usize>> = BTreeMap::new();
        for (i, tokens) in all.iter().enumerate() {
            groups.entry(Shape::of(self.config(), tokens)).or_default().push(i);
        }
        let rows = self.rows(engine, &all)?;
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut running: Option<(&[usize], Arc<Plan>, Running)> = None;
        let mut finished = async |(which, plan, running): (&[usize], Arc<Plan>, Running)| {
            let mut joined = Vec::new();
            join(&mut joined, plan.graph(), running.finish().await?);
            let affected = engine.weights.affected(plan.graph());
            let outputs = Unchecked { outputs: Outputs(joined), precision: engine.precision, affected };
            for (&i, vector) in which.iter().zip(outputs.rows("pooled")?) {
                vectors[i] = vector?;
            }
            Ok::<_, Error>(())
        };
        for (shape, which) in &groups {
            for which in which.chunks(self.step(engine, *shape)?) {
                let plan = self.plan(engine, *shape, which.len())?;
                let values = self.values(engine, &rows, which.iter().map(|&i| &all[i].ids[..shape.len]))?;
                // The next texts are handed over while the device computes these.
                let started = engine.executor.start(&plan, &[("token_values", Data::F32(&values))]).await?;
                if let Some(before) = running.replace((which, plan, started)) {
                    finished(before).await?;
                }
            }
        }
        if let Some(last) = running {
            finished(last).await?;
        }
        Ok(vectors)
    }

    /// The vector of every token that occurs.
    fn rows(&self, engine: &Engine, all: &[Tokens]) -> Result<HashMap<u32, Vec<f32>>> {
        let mut rows = HashMap::new();
        for id in all.iter().flat_map(|tokens| &tokens.ids) {
            if !rows.contains_key(id) {
                let mut row = vec![0.0; self.config().embed_dim];
                engine.weights.load(&format!("{TEXT}token_embed"), *id as usize, &mut row)?;
                rows.insert(*id, row);
            }
        }
        Ok(rows)
    }

    /// The input of a run, `[B, T, D]`: of each token its vector plus that of its position.
    fn values<'a>(
        &self,
        engine: &Engine,
        rows: &HashMap<u32, Vec<f32>>,
        texts: impl Iterator<Item = &'a [u32]>,
    ) -> Result<Vec<f32>> {
        let width = self.config().embed_dim;
        if self.positions.get().is_none() {
            let mut table = vec![0.0; self.config().context * width];
            engine.weights.load(&format!("{TEXT}pos_embed"), 0, &mut table)?;
            // Another thread may have been faster, with the same values.
            let _ = self.positions.set(table);
        }
        let positions = self.positions.get().map_or(&[][..], Vec::as_slice);
        let mut values = Vec::new();
        for ids in texts {
            for (id, position) in ids.iter().zip(positions.chunks_exact(width)) {
                values.extend(rows[id].iter().zip(position).map(|(token, position)| token + position));
            }
        }
        Ok(values)
    }

    /// How many texts of this shape run together.
    fn step(&self, engine: &Engine, shape: Shape) -> Result<usize> {
        let largest = self.build(engine, shape, 1)?.largest_bytes().max(1);
        let fitting = usize::try_from(engine.limit() / largest).unwrap_or(usize::MAX);
        let busy = engine.executor.busy_batch() * TOKENS / shape.len;
        Ok(busy.min(fitting).min(MAX_ROWS / shape.len).clamp(1, MAX_IMAGES))
    }

    fn build(&self, engine: &Engine, shape: Shape, batch: usize) -> Result<crate::graph::Graph> {
        let tower = self.config().tower(shape.len, shape.token, shape.attended);
        let (input, precision) = (Input::Tokens, engine.precision);
        let request = Request { batch, input, last_hidden_state: false, taps: Taps::None, maps: Maps::None, precision };
        build(&tower, request, engine.limit())
    }

    fn plan(&self, engine: &Engine, shape: Shape, batch: usize) -> Result<Arc<Plan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&(shape, batch)) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(Plan::new(self.build(engine, shape, batch)?, engine.limit())?);
        if plans.len() == KEPT_PLANS {
            plans.clear();
        }
        plans.insert((shape, batch), Arc::clone(&plan));
        Ok(plan)
    }

    /// What cosines are multiplied with, and what is added then, to give logits.
    pub fn scale_and_bias(&self, engine: &Engine) -> Result<(f32, f32)> {
        let one = |name: &str| {
            let mut value = [0.0];
            engine.weights.load(&format!("{TEXT}{name}"), 0, &mut value)?;
            Ok::<_, Error>(value[0])
        };
        Ok((one("logit_scale")?.exp(), if self.config().logit_bias { one("logit_bias")? } else { 0.0 }))
    }
}
