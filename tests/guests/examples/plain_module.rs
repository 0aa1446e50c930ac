//! A core module without component types: WebAssembly, but no plugin.

/// Adds.
#[allow(unsafe_code, reason = "the module's export")]
#[unsafe(no_mangle)]
pub extern "C" fn add(left: i32, right: i32) -> i32 {
    left.wrapping_add(right)
}
