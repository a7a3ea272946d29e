//! How good a classifier is: figures of its logits and the right classes, equal to scikit-learn's and torchmetrics'.

mod calibration;
mod confusion;
mod counts;
mod judged;
mod multi;

pub use calibration::{Bin, calibration, expected_calibration_error};
pub use confusion::Confusion;
pub use counts::{Average, Figures, Means};
pub use judged::{Judged, accuracy, cross_entropy};
pub use multi::{MultiLabel, average_precision};
