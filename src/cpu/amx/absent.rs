//! Where there are no such instructions, none are found, and nothing else is called.

use super::{Block, Line};

#[derive(Debug, Clone, Copy)]
pub struct Amx(());

impl Amx {
    pub fn here() -> Option<Amx> {
        None
    }

    pub fn ready(self) -> Ready {
        Ready(self)
    }

    pub fn split_row(self, _: &[f32], _: &mut [Line]) {
        unreachable!("{self:?}");
    }

    pub fn split_columns(self, _: &Block<f32>, _: &mut [[Line; super::BLOCK]]) {
        unreachable!("{self:?}");
    }
}

pub struct Ready(Amx);

impl Ready {
    pub fn bytes(&self, _: [&[Line]; 2], _: usize, _: &[Line], _: &mut Block<i32>, _: &[u8]) {
        unreachable!("{:?}", self.0);
    }

    pub fn bf16(&self, _: [&[Line]; 2], _: usize, _: (&[Line], usize), _: &mut Block<f32>, _: &[u8]) {
        unreachable!("{:?}", self.0);
    }
}
