//! Writing to standard output.

use std::io::{ErrorKind, Write as _};

use anyhow::Result;

/// Writes text that ends its own lines.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read this has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// Writes one line.
pub(crate) fn line(line: &str) -> Result<()> {
    text(&format!("{line}\n"))
}
