//! Grows a table until there is no room.
//!
//! Rust has no word for `table.grow`, so this one speaks the assembler's. It is not stable for
//! WebAssembly; `plugins/build.sh --guests` allows it.
#![cfg_attr(target_arch = "wasm32", feature(asm_experimental_arch))]

use carillon_guests::{echo, misbehaves};
use carillon_plugin::prelude::*;

const ENTRIES: u32 = 10_000;

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "a call into assembler")]
mod grow {
    core::arch::global_asm!(
        ".tabletype __indirect_function_table, funcref",
        ".globl grow_table",
        ".type grow_table,@function",
        "grow_table:",
        ".functype grow_table (i32) -> (i32)",
        "ref.null_func",
        "local.get 0",
        "table.grow __indirect_function_table",
        "end_function",
    );

    unsafe extern "C" {
        fn grow_table(entries: u32) -> i32;
    }

    /// Whether the table could be grown.
    pub(crate) fn by(entries: u32) -> bool {
        // SAFETY: the function touches nothing but the end of the table, where no function of this module is.
        unsafe { grow_table(entries) >= 0 }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod grow {
    /// There are no tables here.
    pub(crate) fn by(_entries: u32) -> bool {
        false
    }
}

#[plugin(
    name = "table-growth",
    summary = "Grows a table until there is no room.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    if misbehaves(&event) {
        while grow::by(ENTRIES) {}
        panic!("the table grows no further");
    }
    Ok(echo(&event))
}
