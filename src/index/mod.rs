//! An index of photos on disk: which photos there are, and a vector for each; and the search for the nearest vectors. Needs the
//! feature `index`.
//!
//! An index is an SQLite file (`photos.index`), a flat file of vectors in half precision beside it (`photos.index.0.vectors`), and a
//! file that the one process locks that writes (`photos.index.lock`). [`IndexWriter`] writes it, [`Index`] searches it, in any number
//! of processes at the same time.
//!
//! # What holds at any moment
//!
//! - Vectors are only appended. They reach the disk first; then one transaction of the database adds the photos that they belong to.
//!   So whatever the database knows is whole, and bytes of the vector file that it does not know are cut off by the next writer.
//! - A vector's place is never given to another photo, so a reader can't see the wrong vector. What removed photos leave is
//!   reclaimed by writing a new vector file, to which one transaction switches; readers keep the old one until they look again.
//! - Photos of the same content share one vector.
//!
//! ```
//! # #[cfg(all(feature = "bundled", feature = "decode"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use vit_gpu::index::{Index, IndexWriter};
//! use vit_gpu::{Embedder, Image, Model, Session};
//!
//! let folder = std::env::temp_dir().join(format!("vit-gpu-index-{}", std::process::id()));
//! std::fs::create_dir_all(&folder)?;
//! let file = folder.join("photos.index");
//! let session = Session::builder().build(Model::bundled()?)?;
//! let embedder = Embedder::new(session.clone());
//!
//! let mut writer = IndexWriter::open(&file, &session)?;
//! let vector = embedder.embed(&Image::open("assets/cat.png")?)?;
//! writer.add_file("assets/cat.png".as_ref(), &vector)?;
//! writer.commit()?;
//!
//! let hits = Index::open(&file)?.search(&vector, 5)?;
//! assert_eq!(hits[0].path.to_str(), Some("assets/cat.png"));
//! assert!(hits[0].score > 0.999);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "bundled", feature = "decode")))]
//! # fn main() {}
//! ```

mod alike;
mod changes;
mod database;
mod dot;
mod half;
mod lock;
mod made;
mod names;
mod scan;
mod search;
mod stamp;
mod vectors;
mod writer;

pub use changes::Known;
pub use made::IndexedModel;
pub use search::{Entry, Hit, Index};
pub use stamp::{Digest, Stamp};
pub use writer::IndexWriter;
