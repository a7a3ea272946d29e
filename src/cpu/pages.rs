//! Memory for weights, in large pages where the system has them: a run reads all weights from end to end, and looking up a small page
//! for each 4 KiB costs as much as 5 % of its time.

use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, OnceLock};

use super::amx::Line;
use super::memory::full;
use crate::error::Result;

/// Lines of memory that begin with zeros.
enum Chunk {
    #[cfg(target_os = "linux")]
    Mapped(memmap2::MmapMut),
    Owned(Vec<Line>),
}

impl Chunk {
    fn new(count: usize) -> Option<Chunk> {
        #[cfg(target_os = "linux")]
        if count * size_of::<Line>() >= LARGE {
            let map = memmap2::MmapMut::map_anon(count * size_of::<Line>()).ok()?;
            // A system without large pages goes on with small ones.
            let _ = map.advise(memmap2::Advice::HugePage);
            return Some(Chunk::Mapped(map));
        }
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line::ZERO);
        Some(Chunk::Owned(lines))
    }
}

impl Deref for Chunk {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        match self {
            #[cfg(target_os = "linux")]
            Chunk::Mapped(map) => bytemuck::cast_slice(map),
            Chunk::Owned(lines) => lines,
        }
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [Line] {
        match self {
            #[cfg(target_os = "linux")]
            Chunk::Mapped(map) => bytemuck::cast_slice_mut(map),
            Chunk::Owned(lines) => lines,
        }
    }
}

/// Bytes of a large page.
const LARGE: usize = 2 << 20;

/// Hands out memory that is filled one piece after another, and read only after [`Arena::close`].
pub struct Arena {
    /// Bytes that are asked of the system at a time. What is never touched takes no memory.
    chunk: usize,
    filling: Option<(Chunk, usize, Arc<OnceLock<Chunk>>)>,
}

impl Arena {
    /// For all weights of a model.
    pub fn large() -> Arena {
        // Elsewhere than on Linux, memory counts as soon as it is asked for.
        Arena { chunk: if cfg!(target_os = "linux") { 32 * LARGE } else { 0 }, filling: None }
    }

    /// For one weight.
    pub fn small() -> Arena {
        Arena { chunk: 0, filling: None }
    }

    /// `count` lines of zeros, filled by `fill`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn store(&mut self, count: usize, fill: impl FnOnce(&mut [Line])) -> Result<Stored> {
        if self.filling.as_ref().is_none_or(|(memory, used, _)| memory.len() - used < count) {
            self.close();
            let lines = count.max(self.chunk / size_of::<Line>());
            let memory = Chunk::new(lines).ok_or_else(|| full("weights", lines * size_of::<Line>()))?;
            self.filling = Some((memory, 0, Arc::default()));
        }
        let Some((memory, used, home)) = &mut self.filling else { unreachable!("memory was just made") };
        let range = *used..*used + count;
        *used = range.end;
        fill(&mut memory[range.clone()]);
        Ok(Stored { home: Arc::clone(home), range })
    }

    /// Makes everything readable that was stored.
    pub fn close(&mut self) {
        if let Some((memory, _, home)) = self.filling.take() {
            let _ = home.set(memory);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.close();
    }
}

/// A piece of memory of an arena, which lives as long as its last piece.
pub struct Stored {
    home: Arc<OnceLock<Chunk>>,
    range: Range<usize>,
}

impl Deref for Stored {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // Nothing is there to be read before the arena is closed.
        self.home.get().map_or(&[], |memory| &memory[self.range.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_values_and_lie_on_lines() {
        for mut arena in [Arena::large(), Arena::small()] {
            let pieces: Vec<Stored> = [3, 0, 70_000, 1_200_000, 5]
                .into_iter()
                .enumerate()
                .map(|(i, count)| {
                    let fill = |lines: &mut [Line]| {
                        assert!(lines.len() == count && lines.iter().all(|line| *line == Line::ZERO));
                        lines.fill(Line([i as u8; 64]));
                    };
                    arena.store(count, fill).unwrap()
                })
                .collect();
            drop(arena);
            for (i, piece) in pieces.iter().enumerate() {
                assert!(piece.iter().all(|line| *line == Line([i as u8; 64])));
                assert!(piece.as_ptr().is_aligned());
            }
            assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), 1_270_008);
        }
    }
}
