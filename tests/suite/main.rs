//! Every test that needs a device or a file, in one process: shaders compile once and one device serves all.

mod compare;
mod device;
mod ops;
mod shaders;
