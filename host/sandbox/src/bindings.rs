//! The frozen bindings of version 0.1 of the interface, by its first patch: what a later patch adds
//! is looked up by hand, since a component may lack it. A later minor version gets bindings of its
//! own beside these, and these delegate to it.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    unused_qualifications
)]

wasmtime::component::bindgen!({
    path: "../../wit/carillon-plugin-0.1.0",
    world: "plugin",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
});
