//! What a panic said. WebAssembly ends at a panic, and JavaScript sees no more than that it ended.

use std::cell::RefCell;

use wasm_bindgen::prelude::wasm_bindgen;

thread_local! {
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what panics say from now on.
#[wasm_bindgen(start)]
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|info| SAID.set(Some(info.to_string()))));
}

/// What the panic said after which nothing works any more; nothing before a panic.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> Option<String> {
    SAID.with_borrow(Clone::clone)
}
