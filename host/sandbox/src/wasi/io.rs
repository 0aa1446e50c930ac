//! Streams: an input that has ended, and two outputs that become lines of the log.

use wasmtime::Result;
use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use super::clocks::Pollable;
use crate::bindings::carillon::plugin::log::{Host as _, Level};
use crate::guest::Guest;

/// What a guest may write at once: what `check-write` permits, and the most that WASI lets
/// `blocking-write-and-flush` take.
const WRITE_BYTES: u64 = 4_096;

pub(super) struct IoError;
pub(super) struct InputStream;
pub(super) struct OutputStream;

/// The numbers of the output streams.
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "nothing here fails, and the type must be whole")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

type Streamed<T> = std::result::Result<T, StreamError>;

pub(super) fn stdin(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("get-stdin", |mut context, ()| {
        Ok((context.data_mut().new_handle::<InputStream>(0)?,))
    })
}

pub(super) fn stdout(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("get-stdout", |mut context, ()| {
        Ok((context.data_mut().new_handle::<OutputStream>(STDOUT)?,))
    })
}

pub(super) fn stderr(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("get-stderr", |mut context, ()| {
        Ok((context.data_mut().new_handle::<OutputStream>(STDERR)?,))
    })
}

pub(super) fn streams(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    input(instance)?;
    output(instance)
}

type Read = (Resource<InputStream>, u64);
type Write = (Resource<OutputStream>, Vec<u8>);
type Zeroes = (Resource<OutputStream>, u64);
type Splice = (Resource<OutputStream>, Resource<InputStream>, u64);

fn input(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    for name in ["read", "blocking-read"] {
        let name = format!("[method]input-stream.{name}");
        instance.func_wrap(&name, |_, _: Read| Ok((closed::<Vec<u8>>(),)))?;
    }
    for name in ["skip", "blocking-skip"] {
        let name = format!("[method]input-stream.{name}");
        instance.func_wrap(&name, |_, _: Read| Ok((closed::<u64>(),)))?;
    }
    instance.func_wrap(
        "[method]input-stream.subscribe",
        |mut context, _: (Resource<InputStream>,)| Ok((always_ready(context.data_mut())?,)),
    )
}

fn output(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap(
        "[method]output-stream.check-write",
        |_, _: (Resource<OutputStream>,)| Ok((Streamed::Ok(WRITE_BYTES),)),
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        instance.func_wrap(&name, |mut context, (stream, bytes): Write| {
            context.data_mut().print(stream.rep(), &bytes)?;
            Ok((Streamed::Ok(()),))
        })?;
    }
    for name in ["flush", "blocking-flush"] {
        let name = format!("[method]output-stream.{name}");
        instance.func_wrap(&name, |_, _: (Resource<OutputStream>,)| {
            Ok((Streamed::Ok(()),))
        })?;
    }
    // Zeroes say nothing in a log.
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        let name = format!("[method]output-stream.{name}");
        instance.func_wrap(&name, |mut context, (_, length): Zeroes| {
            context.data_mut().check_length(length)?;
            Ok((Streamed::Ok(()),))
        })?;
    }
    for name in ["splice", "blocking-splice"] {
        let name = format!("[method]output-stream.{name}");
        instance.func_wrap(&name, |_, _: Splice| Ok((closed::<u64>(),)))?;
    }
    instance.func_wrap(
        "[method]output-stream.subscribe",
        |mut context, _: (Resource<OutputStream>,)| Ok((always_ready(context.data_mut())?,)),
    )
}

/// What reading answers: there is nothing and there never will be.
fn closed<T>() -> Streamed<T> {
    Err(StreamError::Closed)
}

fn always_ready(guest: &mut Guest) -> Result<Resource<Pollable>> {
    guest.new_pollable(0)
}

impl Guest {
    /// Takes what a guest prints; whole lines go to its log.
    fn print(&mut self, stream: u32, bytes: &[u8]) -> Result<()> {
        self.lifted(bytes.len());
        self.check_length(bytes.len() as u64)?;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let limit = self.limits().log_line_bytes;
            let line = match stream {
                STDERR => &mut self.system.stderr,
                _ => &mut self.system.stdout,
            };
            // What is beyond the longest line would be cut off anyway.
            let room = limit.saturating_sub(line.len());
            line.extend(piece.iter().take_while(|byte| **byte != b'\n').take(room));
            if piece.ends_with(b"\n") {
                self.end_line(stream)?;
            }
        }
        Ok(())
    }

    fn check_length(&mut self, length: u64) -> Result<()> {
        if length <= WRITE_BYTES {
            return Ok(());
        }
        Err(self.end_call(&format!(
            "it wrote {length} bytes to a stream at once, and {WRITE_BYTES} is the most"
        )))
    }

    /// Ends lines that the guest has left open, at the end of its call.
    pub(crate) fn end_lines(&mut self) {
        for stream in [STDOUT, STDERR] {
            // The log counts what it cannot take; it does not fail.
            let _ = self.end_line(stream);
        }
    }

    fn end_line(&mut self, stream: u32) -> Result<()> {
        let (line, level) = match stream {
            STDERR => (&mut self.system.stderr, Level::Error),
            _ => (&mut self.system.stdout, Level::Info),
        };
        if line.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(line).into_owned();
        line.clear();
        self.write(level, text)
    }
}
