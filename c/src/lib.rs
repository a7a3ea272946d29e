//! The C interface: sessions and images as opaque pointers, numbers into the caller's memory. `include/vit_gpu.h` is made of this
//! file by cbindgen.
//!
//! Every function catches panics. What fails returns a null pointer or a status other than `VIT_GPU_OK`, and
//! `vit_gpu_error` gives the line that says why, for the thread that called.

mod error;

use std::ffi::{CStr, CString, c_char};

use error::{Fault, said, status, value};
use vit_gpu::{Image, Model, Orient, Precision, Session};

/// Everything was done.
pub const VIT_GPU_OK: i32 = 0;
/// An image can't be read, or its result is not finite.
pub const VIT_GPU_IMAGE: i32 = 1;
/// An argument, the model or the device is at fault.
pub const VIT_GPU_FAILED: i32 = 2;

/// A model on a device. Threads may share one.
pub struct VitGpuSession {
    session: Session,
    device: CString,
    /// The classes' names; a class without one has the empty text.
    labels: Vec<CString>,
}

/// An image: RGB pixels. Threads may share one.
pub struct VitGpuImage(Image);

/// A class of an image.
#[repr(C)]
pub struct VitGpuPrediction {
    /// The class, counted from 0.
    pub index: usize,
    /// What the model's library would show: a probability, or the value of a regression.
    pub score: f32,
    /// The class's name, which the session keeps until it is closed; the empty text if it has none.
    pub label: *const c_char,
}

/// This library's version.
#[unsafe(no_mangle)]
pub extern "C" fn vit_gpu_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Why the last call of this thread failed, as one line of UTF-8; the empty text if it did not. It is there until the thread's
/// next call.
#[unsafe(no_mangle)]
pub extern "C" fn vit_gpu_error() -> *const c_char {
    error::last()
}

/// Opens a model on a device; `vit_gpu_close` ends it.
///
/// `model` is a folder or a file, or a name on the Hugging Face Hub, which is downloaded unless the cache has it; null is the small
/// model within the library. `device` is `auto`, `gpu`, `cpu` or a part of an adapter's name; null is `auto`. `precision` is
/// `f32`, `f16` or `i8`; null is `f32`. Null is returned if it fails.
///
/// # Safety
/// Each argument is null or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_open(
    model: *const c_char,
    device: *const c_char,
    precision: *const c_char,
) -> *mut VitGpuSession {
    value(|| {
        // SAFETY: the caller's texts end with a zero byte.
        let [model, device, precision] = unsafe { [text(model)?, text(device)?, text(precision)?] };
        let model = match model {
            Some(name) => Model::named(name, None, |_| {})?,
            None => Model::bundled()?,
        };
        let precision: Precision = precision.map_or(Ok(Precision::F32), str::parse)?;
        let session = Session::builder().device(device.unwrap_or("auto").parse().unwrap_or_default());
        let session = session.precision(precision).build(model)?;
        let name = |text: &str| CString::new(text.replace('\0', " ")).unwrap_or_default();
        let classes = 0..session.model().num_classes();
        let labels = classes.map(|class| name(session.model().label(class).unwrap_or_default())).collect();
        let device = name(session.device());
        Ok(Box::into_raw(Box::new(VitGpuSession { session, device, labels })))
    })
}

/// Ends a session; null is left alone.
///
/// # Safety
/// `session` is null or of `vit_gpu_open`, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_close(session: *mut VitGpuSession) {
    // SAFETY: it is null or was made by `Box::into_raw`, and the caller gives it up.
    unsafe { end(session) }
}

/// The adapter's name, or `cpu`. The session keeps the text.
///
/// # Safety
/// `session` is of `vit_gpu_open` and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_device(session: *const VitGpuSession) -> *const c_char {
    // SAFETY: the caller's session is open.
    value(|| Ok(unsafe { there(session, "session") }?.device.as_ptr().cast_mut())).cast_const()
}

/// How many classes the model has; 0 without a head, or if `session` is null.
///
/// # Safety
/// `session` is null, or of `vit_gpu_open` and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_num_classes(session: *const VitGpuSession) -> usize {
    // SAFETY: the caller's session is open.
    unsafe { session.as_ref() }.map_or(0, |session| session.labels.len())
}

/// The name of a class, which the session keeps; the empty text if it has none, null if there is no such class.
///
/// # Safety
/// `session` is of `vit_gpu_open` and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_label(session: *const VitGpuSession, index: usize) -> *const c_char {
    let found = value(|| {
        // SAFETY: the caller's session is open.
        let labels = &unsafe { there(session, "session") }?.labels;
        let label = labels.get(index).ok_or_else(|| said(format!("class {index}: the model has {}", labels.len())))?;
        Ok(label.as_ptr().cast_mut())
    });
    found.cast_const()
}

/// Values of an embedding; 0 if `session` is null.
///
/// # Safety
/// `session` is null, or of `vit_gpu_open` and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_embedding_dim(session: *const VitGpuSession) -> usize {
    // SAFETY: the caller's session is open.
    unsafe { session.as_ref() }.map_or(0, |session| session.session.model().embedding_dim())
}

/// Reads an image file, turned as its EXIF orientation says; `vit_gpu_image_free` ends it. Null if it can't be read.
///
/// # Safety
/// `path` is a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_image_open(path: *const c_char) -> *mut VitGpuImage {
    value(|| {
        // SAFETY: the caller's text ends with a zero byte.
        let path = unsafe { text(path) }?.ok_or_else(|| said("path is null".to_owned()))?;
        Ok(boxed(Image::open(path)?))
    })
}

/// Decodes the `len` bytes of an image file, turned as its EXIF orientation says; `vit_gpu_image_free` ends it. Null if they can't
/// be decoded.
///
/// # Safety
/// `bytes` are `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_image_decode(bytes: *const u8, len: usize) -> *mut VitGpuImage {
    // SAFETY: the caller has so many bytes there.
    value(|| Ok(boxed(Image::decode(unsafe { slice(bytes, len, "bytes") }?, "memory", Orient::Exif)?)))
}

/// An image of `width` times `height` pixels, three bytes each (red, green, blue), rows from the top; they are copied.
/// `vit_gpu_image_free` ends it. Null if there are none, or too many.
///
/// # Safety
/// `rgb` are `3 * width * height` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_image_rgb(rgb: *const u8, width: usize, height: usize) -> *mut VitGpuImage {
    value(|| {
        let len = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        let len = len.filter(|len| isize::try_from(*len).is_ok());
        let len = len.ok_or_else(|| said(format!("{width}x{height}: too many pixels")))?;
        // SAFETY: the caller has so many bytes there.
        Ok(boxed(Image::from_rgb(width, height, unsafe { slice(rgb, len, "rgb") }?.to_vec())?))
    })
}

/// Ends an image; null is left alone.
///
/// # Safety
/// `image` is null or of one of the functions above, and is not used after this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_image_free(image: *mut VitGpuImage) {
    // SAFETY: it is null or was made by `Box::into_raw`, and the caller gives it up.
    unsafe { end(image) }
}

/// The classes with the highest scores, best first: as many as `top_k` and the model have. Their number is written to `count`.
///
/// # Safety
/// `session` and `image` are open, `out` has room for `top_k` predictions, and `count` for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_classify(
    session: *const VitGpuSession,
    image: *const VitGpuImage,
    top_k: usize,
    out: *mut VitGpuPrediction,
    count: *mut usize,
) -> i32 {
    status(|| {
        // SAFETY: the caller's session and image are open, and the number has a place.
        let (session, image) = unsafe { (there(session, "session")?, there(image, "image")?) };
        if out.is_null() || count.is_null() {
            return Err(said("out or count is null".to_owned()));
        }
        let classes = session.session.classify(std::slice::from_ref(&image.0), top_k)?.swap_remove(0);
        for (i, class) in classes.iter().enumerate() {
            let label = session.labels.get(class.index).map_or(c"".as_ptr(), |label| label.as_ptr());
            let prediction = VitGpuPrediction { index: class.index, score: class.score, label };
            // SAFETY: there are no more than `top_k` of them, for which the caller has room.
            unsafe { out.add(i).write(prediction) };
        }
        // SAFETY: it is not null, and the caller has a number there.
        unsafe { count.write(classes.len()) };
        Ok(())
    })
}

/// The logits of images, `vit_gpu_num_classes` values each, one image after another, into `out`, which has `len` values. If one
/// image has no result, none has.
///
/// # Safety
/// `session` is open, `images` are `count` open images, and `out` has room for `len` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_logits(
    session: *const VitGpuSession,
    images: *const *const VitGpuImage,
    count: usize,
    out: *mut f32,
    len: usize,
) -> i32 {
    // SAFETY: as the caller promises.
    unsafe {
        run(session, images, count, out, len, |session, images| session.logits_each(images)?.into_iter().collect())
    }
}

/// The embeddings of images, `vit_gpu_embedding_dim` values each, one image after another, into `out`, which has `len` values. If
/// one image has no result, none has.
///
/// # Safety
/// `session` is open, `images` are `count` open images, and `out` has room for `len` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vit_gpu_embed(
    session: *const VitGpuSession,
    images: *const *const VitGpuImage,
    count: usize,
    out: *mut f32,
    len: usize,
) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { run(session, images, count, out, len, Session::embed) }
}

/// Runs images and writes the values of all.
///
/// # Safety
/// `session` is open, `images` are `count` open images, and `out` has room for `len` values.
unsafe fn run(
    session: *const VitGpuSession,
    images: *const *const VitGpuImage,
    count: usize,
    out: *mut f32,
    len: usize,
    compute: impl FnOnce(&Session, &[Image]) -> vit_gpu::Result<Vec<Vec<f32>>>,
) -> i32 {
    status(|| {
        // SAFETY: as the caller promises.
        let (session, images) = unsafe { (there(session, "session")?, slice(images, count, "images")?) };
        // SAFETY: each is open; copies share the pixels.
        let images = images.iter().map(|image| Ok(unsafe { there(*image, "an image") }?.0.clone()));
        let values = compute(&session.session, &images.collect::<Result<Vec<_>, Fault>>()?)?.concat();
        if out.is_null() || values.len() != len {
            return Err(said(format!("out: {} values are needed, it has {len}", values.len())));
        }
        // SAFETY: it is not null and has room for `len` values, which are as many as there are.
        unsafe { out.copy_from_nonoverlapping(values.as_ptr(), len) };
        Ok(())
    })
}

/// Drops what a pointer owns.
///
/// # Safety
/// It is null, or was made by `Box::into_raw` and is not used after this.
unsafe fn end<T>(pointer: *mut T) {
    if !pointer.is_null() {
        status(|| {
            // SAFETY: as the caller promises.
            drop(unsafe { Box::from_raw(pointer) });
            Ok(())
        });
    }
}

fn boxed(image: Image) -> *mut VitGpuImage {
    Box::into_raw(Box::new(VitGpuImage(image)))
}

/// What a pointer points to.
///
/// # Safety
/// It is null, or points to what is open as long as the reference lives.
unsafe fn there<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Fault> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| said(format!("{what} is null")))
}

/// The text that a pointer points to; none if it is null.
///
/// # Safety
/// It is null, or a text that ends with a zero byte and stays as it is while the reference lives.
unsafe fn text<'a>(pointer: *const c_char) -> Result<Option<&'a str>, Fault> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|_| said(format!("`{}`: not UTF-8", text.to_string_lossy())))
}

/// Values that a pointer points to.
///
/// # Safety
/// There are `len` of them, which stay as they are while the reference lives.
unsafe fn slice<'a, T>(pointer: *const T, len: usize, what: &str) -> Result<&'a [T], Fault> {
    if pointer.is_null() {
        return Err(said(format!("{what} is null")));
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}
