//! The crate's errors as JavaScript's, which `../src/errors.ts` knows by their names.

use vit_gpu::Error;
use wasm_bindgen::JsValue;

/// The error with the same line of text; its name says what is at fault.
pub fn thrown(error: Error) -> JsValue {
    let name = match &error {
        Error::Image { .. } | Error::NotFinite { .. } => "ImageError",
        Error::NoDevice { .. }
        | Error::Precision { .. }
        | Error::Kernels { .. }
        | Error::Device { .. }
        | Error::DeviceLost { .. }
        | Error::OutOfMemory { .. }
        | Error::Limit { .. } => "DeviceError",
        // Images are no files here, so that these are the model's.
        Error::Io { .. }
        | Error::Safetensors { .. }
        | Error::Config { .. }
        | Error::MissingTensor { .. }
        | Error::WrongShape { .. }
        | Error::Contradiction { .. }
        | Error::UnusedTensors { .. }
        | Error::Model { .. }
        | Error::ImageSize { .. }
        | Error::NoHead { .. }
        | Error::NoText { .. }
        | Error::Feature { .. } => "ModelError",
        Error::Argument { .. } => "ArgumentError",
        _ => "VitGpuError",
    };
    let thrown = js_sys::Error::new(&error.to_string());
    thrown.set_name(name);
    thrown.into()
}
