//! Announces what will be read soon, so that memory delivers it while something else is computed.

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// Asks for the cache line at `values[at]` to be brought near, into the second level's cache. Nothing happens behind the end,
/// and on processors for which Rust has no such instruction yet.
#[inline(always)]
pub fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(at) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint reads and writes nothing, whatever the address; this one is a value's.
        #[expect(unsafe_code, reason = "the instruction takes a pointer")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(value).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}
