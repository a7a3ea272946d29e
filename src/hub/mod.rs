//! Names → files: models of the Hugging Face Hub, in the cache that Python's `huggingface_hub` uses.
//!
//! `pull` is the whole way. It asks the hub which commit a name means and which files it has (`api`), takes those that a model
//! needs (`select`), and fetches what the cache lacks (`cache`, `download`). Nothing here reads weights.

mod api;
mod cache;
mod digest;
mod download;
mod http;
mod list;
mod lock;
mod name;
mod place;
mod pull;
mod select;
mod settings;
mod short;

pub use list::{Cached, cached, remove};
pub use name::{Name, is_name};
pub use pull::{Found, of_adapter, pull};
pub use settings::Settings;
pub use short::{Short, nearest, short_names};
