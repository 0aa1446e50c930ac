//! What is asked for and not there: arguments, an environment, terminals, files, sockets.

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, Resource, Val};

use crate::guest::Guest;

pub(super) struct TerminalInput;
pub(super) struct TerminalOutput;
pub(super) struct Descriptor;
pub(super) struct Network;

/// For interfaces of types, and of what cannot be called by who holds none of it.
pub(super) fn nothing(_: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    Ok(())
}

pub(super) fn environment(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("get-environment", |_, ()| {
        Ok((Vec::<(String, String)>::new(),))
    })?;
    instance.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
    instance.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))
}

pub(super) fn exit(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap(
        "exit",
        |mut context, (status,): (std::result::Result<(), ()>,)| {
            let word = if status.is_ok() { "success" } else { "failure" };
            Err::<(), _>(context.data_mut().exited(word))
        },
    )?;
    instance.func_wrap("exit-with-code", |mut context, (code,): (u8,)| {
        Err::<(), _>(context.data_mut().exited(&format!("code {code}")))
    })
}

impl Guest {
    fn exited(&mut self, how: &str) -> wasmtime::Error {
        self.end_lines();
        let reason = format!("it ended its own process with {how}");
        let reason = match &self.last_error {
            Some(line) => format!("{reason}; its last error line was: {line}"),
            None => reason,
        };
        self.ended(reason)
    }
}

pub(super) fn terminal_stdin(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    no_terminal::<TerminalInput>(instance, "get-terminal-stdin")
}

pub(super) fn terminal_stdout(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    no_terminal::<TerminalOutput>(instance, "get-terminal-stdout")
}

pub(super) fn terminal_stderr(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    no_terminal::<TerminalOutput>(instance, "get-terminal-stderr")
}

fn no_terminal<T: 'static>(instance: &mut LinkerInstance<'_, Guest>, name: &str) -> Result<()> {
    instance.func_wrap(name, |_, ()| Ok((None::<Resource<T>>,)))
}

pub(super) fn preopens(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("get-directories", |_, ()| {
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })
}

/// A network from which nothing can be reached.
pub(super) fn instance_network(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("instance-network", |mut context, ()| {
        Ok((context.data_mut().handle::<Network>(0)?,))
    })
}

pub(super) fn ip_name_lookup(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    denied(instance, "resolve-addresses")
}

pub(super) fn tcp_create_socket(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    denied(instance, "create-tcp-socket")
}

pub(super) fn udp_create_socket(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    denied(instance, "create-udp-socket")
}

/// Answers the `access-denied` of `wasi:sockets/network`.
fn denied(instance: &mut LinkerInstance<'_, Guest>, name: &str) -> Result<()> {
    instance.func_new(name, |mut context, _, given, results| {
        for value in given {
            // What is lent to a function that takes values of any type, it must give back.
            if let Val::Resource(lent) = value {
                lent.resource_drop(&mut context)?;
            }
        }
        let reason = Val::Enum("access-denied".to_owned());
        results[0] = Val::Result(Err(Some(Box::new(reason))));
        Ok(())
    })
}
