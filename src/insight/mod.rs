//! Why a model says what it says, how good it is, and how it learns other classes: attention maps, attention rollout and the
//! relevance of each patch for a class; figures of labelled images; classifiers on features of a frozen model.

mod attention;
mod features;
mod head;
mod heatmap;
pub mod metrics;
mod overlay;
mod probe;
mod relevance;
mod rollout;
mod seen;

pub use attention::{HeadMaps, class_attention, class_attention_async};
pub use features::Features;
pub use head::{Head, HeadKind, Linear, Neighbours};
pub use heatmap::Heatmap;
pub use overlay::colour;
pub use probe::{Trained, Training, folds, split, train_linear};
pub use relevance::{Relevance, relevance, relevance_async};
pub use rollout::{Fusion, Rollout, rollout, rollout_async};
pub use seen::seen;
