//! Why a model says what it says: attention maps, attention rollout, and the relevance of each patch for a class.

mod attention;
mod heatmap;
mod relevance;
mod rollout;

pub use attention::{HeadMaps, class_attention};
pub use heatmap::Heatmap;
pub use relevance::{Relevance, relevance};
pub use rollout::{Fusion, Rollout, rollout};
