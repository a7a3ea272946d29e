#![doc = include_str!("../README.md")]

mod checkpoint;
#[cfg(feature = "cpu")]
mod cpu;
mod device;
mod error;
mod executor;
#[cfg(feature = "gpu")]
mod gpu;
mod graph;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "index")]
pub mod index;
#[cfg(feature = "insight")]
pub mod insight;
mod labels;
mod model;
mod ops;
mod preprocess;
mod session;
mod text;

pub use device::{Adapter, Device, MatrixShape};
pub use error::{Error, HubFault, Result, Source};
pub use graph::Precision;
pub use labels::Prediction;
pub use preprocess::{Image, Orient};
pub use session::{Classifier, Embedder, Model, Output, Outputs, Progress, Session, SessionBuilder};
#[cfg(feature = "hub")]
pub use session::{Pulled, pull};
#[cfg(feature = "text")]
pub use session::{TextEmbedder, ZeroShot};

/// Every Vulkan, Metal and DX12 adapter, in a stable order: [`Device::Index`] is a position in it. Needs the feature `gpu`; a
/// browser has no such list.
#[cfg(all(feature = "gpu", not(target_family = "wasm")))]
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    pollster::block_on(gpu::adapters())
}

/// What this crate's own command line, tests and benches use. Anything in it may change in any release.
#[doc(hidden)]
pub mod internals {
    macro_rules! rooms {
        ($($(#[$when:meta])* $room:ident),* $(,)?) => {
            $($(#[$when])* pub mod $room {
                pub use crate::$room::*;
            })*
        };
    }
    rooms!(
        checkpoint,
        #[cfg(feature = "cpu")]
        cpu,
        device,
        executor,
        #[cfg(feature = "gpu")]
        gpu,
        graph,
        #[cfg(feature = "hub")]
        hub,
        labels,
        model,
        ops,
        preprocess,
        text,
    );
    #[cfg(feature = "text")]
    pub use crate::session::TEMPLATE;
    pub use crate::session::normalize;
    #[cfg(feature = "hub")]
    pub use crate::session::place_of;
}

/// The programs in that page are tests.
#[cfg(all(doctest, feature = "insight", feature = "bundled", feature = "decode"))]
#[doc = include_str!("../docs/insight.md")]
mod insight_page {}

/// Sessions are shared between threads and moved to others.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Session>();
    shared::<Model>();
    shared::<Classifier>();
    shared::<Embedder>();
    #[cfg(feature = "index")]
    shared::<index::Index>();
    #[cfg(feature = "text")]
    shared::<TextEmbedder>();
    #[cfg(feature = "text")]
    shared::<ZeroShot>();
};
