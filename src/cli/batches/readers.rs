//! Threads that read and preprocess images ahead of the model, in order of the inputs as far as anyone can see.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use vit_gpu::internals::preprocess::Pixels;
use vit_gpu::{Result, Session};

use super::super::inputs::{Input, Reading, named};
use super::budget::Budget;
use super::interrupt;

/// Says by its number and bytes that an image need not be decoded and run.
pub type Skips<'a> = dyn Fn(usize, &[u8]) -> bool + Sync + 'a;

/// What comes of reading an image: its pixels, or nothing if it is skipped.
pub type Read = Result<Option<Pixels>>;

/// Images that are read by several threads and taken in order.
pub struct Readers<'a> {
    inputs: &'a [Input],
    reading: Reading,
    skips: &'a Skips<'a>,
    budget: Budget,
    /// How many images may be read, or being read, ahead of those that are taken.
    ahead: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The next image to read, and the next to be taken.
    next: usize,
    taken: usize,
    ready: BTreeMap<usize, Read>,
    stopped: bool,
}

impl<'a> Readers<'a> {
    /// Images from number `first` on, of which up to `batch` are taken together.
    pub fn new(
        inputs: &'a [Input],
        first: usize,
        (batch, threads): (usize, usize),
        reading: Reading,
        skips: &'a Skips<'a>,
    ) -> Readers<'a> {
        let state = State { next: first, taken: first, ready: BTreeMap::new(), stopped: false };
        let budget = Budget::of(reading.memory);
        let ahead = 2 * batch + threads;
        Readers { inputs, reading, skips, budget, ahead, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads. They end when all is read, or after [`Readers::stop`].
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, threads: usize, session: &'scope Session) {
        for _ in 0..threads {
            scope.spawn(|| self.read_all(session));
        }
    }

    fn read_all(&self, session: &Session) {
        loop {
            let full = |state: &mut State| !state.stopped && state.next >= state.taken + self.ahead;
            let waited = self.changed.wait_while(self.state(), full);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let number = state.next;
            let Some(input) = self.inputs.get(number).filter(|_| !state.stopped) else { return };
            state.next += 1;
            drop(state);
            let read = self.read(session, number, input).map_err(|error| named(error, input));
            self.state().ready.insert(number, read);
            self.changed.notify_all();
        }
    }

    fn read(&self, session: &Session, number: usize, input: &Input) -> Read {
        let bytes = input.bytes()?;
        if (self.skips)(number, &bytes) {
            return Ok(None);
        }
        let share = self.budget.take(self.reading.memory_for(&bytes));
        let image = self.reading.decode(&bytes, &input.name())?;
        drop(bytes);
        let pixels = session.preprocess(&image);
        drop(image);
        drop(share);
        pixels.map(Some)
    }

    /// The next images, up to `count` of them; fewer only at the end. `None` if all were taken, or the user ended the run.
    pub fn take(&self, count: usize) -> Option<Vec<Read>> {
        let mut state = self.state();
        let wanted = count.min(self.inputs.len() - state.taken);
        while (state.taken..state.taken + wanted).any(|number| !state.ready.contains_key(&number)) {
            if interrupt::asked() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(100));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if wanted == 0 || interrupt::asked() {
            return None;
        }
        let images = (state.taken..state.taken + wanted).filter_map(|number| state.ready.remove(&number)).collect();
        state.taken += wanted;
        self.changed.notify_all();
        Some(images)
    }

    /// Lets the threads end after the image that they are reading.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}

/// Stops readers when it is dropped, however their run ends.
pub struct StopAtEnd<'a, 'b>(pub &'a Readers<'b>);

impl Drop for StopAtEnd<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
