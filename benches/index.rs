//! How long an index takes to be made and searched: `cargo bench --bench index -- [PHOTOS…]`, of 512 values each.
//!
//! The files are in the folder for temporary files, and stay in the system's cache between the measurements.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use vit_gpu::index::{Digest, Index, IndexWriter, IndexedModel, Stamp};

const DIM: usize = 512;
const TIMES: usize = 15;

/// Numbers between -1 and 1 that look random.
fn values(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..DIM).map(|_| next()).collect()
}

fn made(file: &Path, photos: u64) -> vit_gpu::Result<()> {
    let mut writer = IndexWriter::open_as(file, &IndexedModel::named("bench", DIM, BTreeMap::new()))?;
    for photo in 0..photos {
        let path = format!("/photos/{}/{photo}.jpg", photo / 1000);
        let digest = Digest::of(path.as_bytes());
        writer.add(path.as_ref(), Stamp { size: photo, modified: 0 }, digest, &values(photo + 1))?;
        if photo % 1000 == 999 {
            writer.commit()?;
        }
    }
    writer.commit()
}

fn median(mut run: impl FnMut() -> vit_gpu::Result<()>, times: usize) -> vit_gpu::Result<(Duration, Duration)> {
    run()?;
    let mut times: Vec<_> = (0..times)
        .map(|_| {
            let start = Instant::now();
            run().map(|()| start.elapsed())
        })
        .collect::<Result<_, _>>()?;
    times.sort();
    Ok((times[times.len() / 2], times[0]))
}

fn main() -> vit_gpu::Result<()> {
    let asked: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let folder = std::env::temp_dir().join(format!("vit-gpu-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    for photos in if asked.is_empty() { vec![10_000, 100_000, 1_000_000] } else { asked } {
        let file = folder.join(format!("{photos}.index"));
        let start = Instant::now();
        made(&file, photos)?;
        println!("{photos} photos: written in {:.2?}", start.elapsed());
        let query = values(u64::MAX / 3);
        for in_memory in [false, true] {
            let index = Index::open(&file)?.in_memory(in_memory);
            let (median, best) = median(|| index.search(&query, 20).map(|hits| assert_eq!(hits.len(), 20)), TIMES)?;
            let from = if in_memory { "memory" } else { "the file" };
            println!("  search, vectors from {from}: median {median:.2?}, best {best:.2?}");
        }
        let start = Instant::now();
        Index::open(&file)?.in_memory(false).search(&query, 20)?;
        println!("  opened and searched once: {:.2?}", start.elapsed());
        if photos <= 100_000 {
            let index = Index::open(&file)?;
            let start = Instant::now();
            assert!(index.near_duplicates(0.97)?.is_empty());
            println!("  near duplicates: {:.2?}", start.elapsed());
        }
    }
    std::fs::remove_dir_all(&folder).expect("the folder is there");
    Ok(())
}
