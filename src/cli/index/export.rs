//! `index --export`: the vectors and paths of an index, for programs that search more of them than this one.

use std::io::{BufWriter, Write};
use std::path::Path;

use vit_gpu::index::Index;

use super::super::outputs::{Embeddings, Format, names_npy, npy_head, write_whole};
use super::super::{Ended, Failure, Outcome};

/// What the file may end in.
const FILES: [Format; 2] = [Format::Parquet, Format::Npy];

pub fn run(index: &Path, to: &Path) -> Ended {
    let format = Format::named(to, "--export", &FILES)?;
    let index = Index::open(index)?.in_memory(false);
    let mut photos = 0;
    match format {
        Format::Parquet => write_whole(to, |out| {
            let model = index.model();
            let dim = model.dim.to_string();
            let about = [("model", model.name.as_str()), ("precision", &model.precision), ("dim", &dim)];
            let mut file = Embeddings::open("image", out, &about)?;
            index.vectors::<Failure>(
                |count| {
                    photos = count;
                    Ok(())
                },
                |path, vector| Ok(file.push(&path.display().to_string(), Some(vector), None)?),
            )?;
            Ok(file.finish()?)
        })?,
        _ => npy(&index, to, &mut photos)?,
    }
    log::info!("{}: the vectors of {photos} photos", to.display());
    Ok(Outcome::Done)
}

/// Vectors in one file, and the paths as bytes in another, in the same order.
fn npy(index: &Index, to: &Path, photos: &mut usize) -> Result<(), Failure> {
    let mut paths: Vec<Vec<u8>> = Vec::new();
    write_whole(to, |out| {
        let out = std::cell::RefCell::new(BufWriter::new(out));
        index.vectors::<Failure>(
            |count| {
                *photos = count;
                Ok(out.borrow_mut().write_all(&npy_head(&[count, index.model().dim]))?)
            },
            |path, vector| {
                paths.push(path.as_os_str().as_encoded_bytes().to_vec());
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Ok(out.borrow_mut().write_all(&bytes)?)
            },
        )?;
        Ok(out.into_inner().flush()?)
    })?;
    let names: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    write_whole(&to.with_extension("paths.npy"), |mut out| Ok(out.write_all(&names_npy(&names)?)?))
}
