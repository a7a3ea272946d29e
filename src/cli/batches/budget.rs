//! Memory for decoding, shared by all threads that decode.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that may be in use at a time. Who asks for more than are free waits; who asks for more than there are gets all of them,
/// so that a huge picture is decoded alone.
pub struct Budget {
    total: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

/// Bytes that are in use; dropping it returns them.
pub struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub fn of(total: u64) -> Budget {
        Budget { total, free: Mutex::new(total), returned: Condvar::new() }
    }

    /// Waits until so many bytes are free, and takes them.
    pub fn take(&self, bytes: u64) -> Share<'_> {
        let bytes = bytes.min(self.total);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = self.returned.wait_while(free, |free| *free < bytes);
        *enough.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use super::*;

    #[test]
    fn no_more_is_in_use_than_there_is() {
        let (budget, used, most) = (Budget::of(100), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, used, most) = (&budget, &used, &most);
                scope.spawn(move || {
                    for i in 0..50 {
                        let bytes = (thread * 37 + i * 11) % 160;
                        let share = budget.take(bytes);
                        most.fetch_max(used.fetch_add(bytes.min(100), SeqCst) + bytes.min(100), SeqCst);
                        std::thread::yield_now();
                        used.fetch_sub(bytes.min(100), SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert!((60..=100).contains(&most.load(SeqCst)), "{most:?}");
    }
}
