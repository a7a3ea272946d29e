//! JavaScript's functions, kept where the one thread of a worker finds them. What the crate is given holds only their numbers, as
//! it must be movable to other threads, which JavaScript's values are not.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};

use js_sys::{Function, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

thread_local! {
    static KEPT: RefCell<(u32, HashMap<u32, Function>)> = RefCell::default();
}

/// A function that is kept until this is dropped.
struct Kept(u32);

impl Kept {
    fn new(function: Function) -> Kept {
        KEPT.with_borrow_mut(|(last, kept)| {
            *last += 1;
            kept.insert(*last, function);
            Kept(*last)
        })
    }

    /// Calls the function; what it gives, or throws.
    fn call(&self, first: f64, second: f64) -> std::result::Result<JsValue, JsValue> {
        // Not called while it is borrowed, as it may come back here.
        let function = KEPT.with_borrow(|(_, kept)| kept.get(&self.0).cloned());
        function.unwrap_or_default().call2(&JsValue::NULL, &first.into(), &second.into())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT.with_borrow_mut(|(_, kept)| kept.remove(&self.0));
    }
}

/// Somebody who is told numbers: how many are done, and of how many.
pub struct Listener(Kept);

impl Listener {
    pub fn new(function: Function) -> Listener {
        Listener(Kept::new(function))
    }

    pub fn tell(&self, done: usize, of: usize) {
        // What a listener throws is its own matter.
        let _ = self.0.call(done as f64, of as f64);
    }
}

/// The bytes of a file that JavaScript holds.
pub struct Bytes {
    read: Kept,
    len: u64,
    at: u64,
}

impl Bytes {
    /// `read(offset, length)` gives so many bytes as a `Uint8Array`.
    pub fn new(read: Function, len: u64) -> Bytes {
        Bytes { read: Kept::new(read), len, at: 0 }
    }
}

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let wanted = (out.len() as u64).min(self.len.saturating_sub(self.at)) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let given = self.read.call(self.at as f64, wanted as f64).map_err(|thrown| Error::other(said(&thrown)))?;
        match given.dyn_into::<Uint8Array>() {
            Ok(bytes) if bytes.length() as usize == wanted => bytes.copy_to(&mut out[..wanted]),
            _ => return Err(Error::new(ErrorKind::UnexpectedEof, "the file has become shorter")),
        }
        self.at += wanted as u64;
        Ok(wanted)
    }
}

impl Seek for Bytes {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "before the file's begin"))?;
        Ok(self.at)
    }
}

/// What a thrown value says.
fn said(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{thrown:?}"),
    }
}
