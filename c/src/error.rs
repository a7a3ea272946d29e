//! Failures: a status, and a line for the thread that called.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use crate::{VIT_GPU_FAILED, VIT_GPU_IMAGE, VIT_GPU_OK};

/// A status and what it is about.
pub struct Fault(i32, String);

impl From<vit_gpu::Error> for Fault {
    fn from(error: vit_gpu::Error) -> Fault {
        Fault(if error.is_input() { VIT_GPU_IMAGE } else { VIT_GPU_FAILED }, error.to_string())
    }
}

/// A failure that lies in the arguments.
pub fn said(text: String) -> Fault {
    Fault(VIT_GPU_FAILED, text)
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// The last failure's line.
pub fn last() -> *const c_char {
    LAST.with_borrow(|line| line.as_ptr())
}

/// Does something; its status. No panic leaves this.
pub fn status(work: impl FnOnce() -> Result<(), Fault>) -> i32 {
    let done = catch_unwind(AssertUnwindSafe(work));
    let Fault(status, line) = match done {
        Ok(Ok(())) => Fault(VIT_GPU_OK, String::new()),
        Ok(Err(fault)) => fault,
        Err(_) => Fault(VIT_GPU_FAILED, "a fault of vit-gpu itself, which printed a panic".to_owned()),
    };
    LAST.set(CString::new(line.replace('\0', " ")).unwrap_or_default());
    status
}

/// Makes something; null if that fails.
pub fn value<T>(make: impl FnOnce() -> Result<*mut T, Fault>) -> *mut T {
    let mut made = null_mut();
    status(|| {
        made = make()?;
        Ok(())
    });
    made
}
