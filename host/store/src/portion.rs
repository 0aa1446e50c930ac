//! How much is read at once.

/// A record may take a mebibyte, and a burst of large ones must not fill the memory.
const MAX_READ_BYTES: i64 = 8 << 20;

/// The first of these keys whose rows, of so many bytes, fit into 8 MiB together, but one at
/// least.
pub(crate) fn fitting<K>(sizes: &[(K, i64)]) -> impl Iterator<Item = &(K, i64)> {
    let mut bytes = 0;
    sizes.iter().take_while(move |(_, size)| {
        let first = bytes == 0;
        bytes += size;
        first || bytes <= MAX_READ_BYTES
    })
}
