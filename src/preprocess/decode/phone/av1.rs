//! AV1 by `re_rav1d`, whose interface is that of the C library dav1d.

// A panic in the crate can't be caught, because it would pass through a function of C's kind: it ends the process.
// The interface takes pointers, and gives pictures as pointers. Everything unsafe about AV1 is in this file.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::{NonNull, copy_nonoverlapping};
use std::slice::from_raw_parts;

use re_rav1d::include::dav1d::data::Dav1dData;
use re_rav1d::include::dav1d::dav1d::{Dav1dContext, Dav1dLogger, Dav1dSettings};
use re_rav1d::include::dav1d::headers::{DAV1D_PIXEL_LAYOUT_I400, DAV1D_PIXEL_LAYOUT_I420, DAV1D_PIXEL_LAYOUT_I422};
use re_rav1d::include::dav1d::picture::Dav1dPicture;
use re_rav1d::src::lib::{
    dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture, dav1d_open,
    dav1d_picture_unref, dav1d_send_data,
};

use super::super::decoded::Refusal;
use super::container::Bytes;
use super::planes::{Colours, Plane, Planes};

/// Frames that one item may have: as many as a picture has layers.
const MOST_FRAMES: usize = 4;

/// Decodes the first picture of a stream, which must have exactly the given size, on this thread.
pub fn decode(stream: &[u8], (width, height): (usize, usize), operating_point: u8) -> Result<Planes, Refusal> {
    // Each frame takes as long as the whole picture, however few bytes it has.
    if frames(stream).is_none_or(|frames| frames > MOST_FRAMES) {
        return Err("its AV1 stream is damaged, or not that of a still picture".into());
    }
    let mut decoder = Decoder::new((width * height) as u32, operating_point)?;
    let picture = decoder.first_picture(stream)?;
    let planes = picture.planes()?;
    if (planes.width(), planes.height()) != (width, height) {
        return Err("its picture has not the size that the file says".into());
    }
    Ok(planes)
}

/// How many frames a stream has, without a look into them; `None` if its units don't follow each other.
fn frames(stream: &[u8]) -> Option<usize> {
    let (mut rest, mut frames) = (Bytes(stream), 0);
    while !rest.0.is_empty() {
        let head = rest.uint(1)?;
        let (kind, extended, sized) = (head >> 3 & 15, head >> 2 & 1 == 1, head >> 1 & 1 == 1);
        rest.take(usize::from(extended))?;
        let mut size = rest.0.len() as u64;
        if sized {
            size = 0;
            for shift in 0..8 {
                let byte = rest.uint(1)?;
                size |= (byte & 127) << (7 * shift);
                if byte < 128 {
                    break;
                }
            }
        }
        rest.take(usize::try_from(size).ok()?)?;
        // A header of a frame, or one with the frame's tiles.
        frames += usize::from(kind == 3 || kind == 6);
    }
    Some(frames)
}

/// An open decoder.
struct Decoder(Option<Dav1dContext>);

impl Decoder {
    fn new(most_pixels: u32, operating_point: u8) -> Result<Decoder, Refusal> {
        let mut settings = std::mem::MaybeUninit::<Dav1dSettings>::uninit();
        // SAFETY: `settings` may be written to, and is initialised by the call.
        let mut settings = unsafe {
            dav1d_default_settings(NonNull::from(&mut settings).cast());
            settings.assume_init()
        };
        settings.n_threads = 1;
        settings.max_frame_delay = 1;
        settings.all_layers = 0;
        settings.operating_point = i32::from(operating_point);
        settings.frame_size_limit = most_pixels;
        // SAFETY: without a callback nothing is called, and nothing is printed.
        settings.logger = unsafe { Dav1dLogger::new(None, None) };
        let mut context = None;
        // SAFETY: both pointers are to live values of their types.
        let opened = unsafe { dav1d_open(Some(NonNull::from(&mut context)), Some(NonNull::from(&mut settings))) };
        // From here on, dropping closes it.
        let decoder = Decoder(context);
        if opened.0 == 0 { Ok(decoder) } else { Err("the AV1 decoder could not be opened".into()) }
    }

    fn first_picture(&mut self, stream: &[u8]) -> Result<Picture, Refusal> {
        let mut data = Data(Dav1dData::default());
        // SAFETY: `data` is a live value; the call makes it own `stream.len()` bytes at the address that it returns.
        let address = unsafe { dav1d_data_create(Some(NonNull::from(&mut data.0)), stream.len()) };
        let address = NonNull::new(address).ok_or("there is not enough memory for its picture")?;
        // SAFETY: the new allocation has `stream.len()` bytes and overlaps nothing.
        unsafe { copy_nonoverlapping(stream.as_ptr(), address.as_ptr(), stream.len()) };
        loop {
            let before = data.0.sz;
            // SAFETY: the context is open; `data` is a live value that was created by the library.
            unsafe { dav1d_send_data(self.0, Some(NonNull::from(&mut data.0))) };
            let mut picture = Picture(Dav1dPicture::default());
            // SAFETY: the context is open; `picture` is a live, empty value.
            let got = unsafe { dav1d_get_picture(self.0, Some(NonNull::from(&mut picture.0))) };
            if got.0 == 0 {
                return Ok(picture);
            }
            if data.0.sz == 0 || data.0.sz == before {
                return Err("its AV1 stream is damaged or cut off".into());
            }
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context, if there is one, was opened by the library, and no picture refers to it.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.0))) };
    }
}

/// Bytes that the library owns.
struct Data(Dav1dData);

impl Drop for Data {
    fn drop(&mut self) {
        // SAFETY: the value is empty, or was created by the library.
        unsafe { dav1d_data_unref(Some(NonNull::from(&mut self.0))) };
    }
}

/// A decoded picture, which the library owns.
struct Picture(Dav1dPicture);

impl Drop for Picture {
    fn drop(&mut self) {
        // SAFETY: the value is empty, or was written by the library.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.0))) };
    }
}

impl Picture {
    /// Copies the picture out.
    fn planes(&self) -> Result<Planes, Refusal> {
        let wrong = "its picture was decoded to nothing";
        let (width, height) = (self.0.p.w as usize, self.0.p.h as usize);
        let (count, shifts) = match self.0.p.layout {
            DAV1D_PIXEL_LAYOUT_I400 => (1, (0, 0)),
            DAV1D_PIXEL_LAYOUT_I420 => (3, (1, 1)),
            DAV1D_PIXEL_LAYOUT_I422 => (3, (1, 0)),
            _ => (3, (0, 0)),
        };
        // SAFETY: the header belongs to the picture and lives as long as it.
        let header = unsafe { self.0.seq_hdr.ok_or(wrong)?.as_ref() };
        let colours =
            Colours { primaries: header.pri as u16, matrix: header.mtrx as u16, full: header.color_range != 0 };
        let depth = self.0.p.bpc as u32;
        let mut planes = Vec::with_capacity(count);
        for index in 0..count {
            let (x, y) = if index == 0 { (0, 0) } else { shifts };
            let (width, height) = ((width + (1 << x) - 1) >> x, (height + (1 << y) - 1) >> y);
            let address: NonNull<c_void> = self.0.data[index].ok_or(wrong)?;
            let stride = self.0.stride[index.min(1)];
            let mut samples = Vec::with_capacity(width * height);
            for row in 0..height as isize {
                // SAFETY: the library allocates every plane with `height` rows that are `stride` bytes apart and have room
                // for `width` samples: bytes at a depth of 8, aligned 16-bit words at larger depths.
                unsafe {
                    let start = address.as_ptr().cast::<u8>().offset(row * stride);
                    match depth {
                        8 => samples.extend(from_raw_parts(start, width).iter().map(|&sample| u16::from(sample))),
                        _ => samples.extend_from_slice(from_raw_parts(start.cast::<u16>(), width)),
                    }
                }
            }
            planes.push(Plane { width, height, samples });
        }
        Ok(Planes { depth, colours: Some(colours), shifts, planes })
    }
}
