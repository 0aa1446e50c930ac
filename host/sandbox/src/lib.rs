//! Plugins as WebAssembly components: loading, limits, capabilities, instances.
