//! Every test that needs a device or a file, in one process: shaders compile once and one device serves all.

mod checkpoints;
mod cli;
mod compare;
mod convert;
mod device;
mod docs;
mod doctor;
mod drawn;
mod families;
mod files;
mod finite;
mod fuzzed;
mod images;
mod int8;
mod layers;
mod limits;
mod loaders;
mod models;
mod ops;
mod options;
mod own_vit;
mod scores;
mod sealed;
mod shaders;
mod threads;
mod tuning;
