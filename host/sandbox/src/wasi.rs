//! The system that components from other languages expect, with nothing in it.
//!
//! A Rust plugin imports what it uses and no more. The runtimes of other languages import WASI 0.2
//! whether the plugin uses it or not. Where the operator grants it, they get it empty: no files, no
//! sockets, no environment, no input; the time of the event, and random numbers that follow from
//! the event. What they print becomes lines of the plugin's log. There is no code here that could
//! open a file or a socket.
//!
//! Nothing here waits. Time stands still while a guest computes, and waiting moves it on at once
//! (`clocks.rs`), so that a guest that sleeps for a year holds its thread no longer than any other.

mod clocks;
mod empty;
mod io;
mod random;
mod system;

use wasmtime::Result;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};

use crate::component;
use crate::guest::Guest;

pub(crate) use system::System;

type Define = fn(&mut LinkerInstance<'_, Guest>) -> Result<()>;

/// The interfaces of WASI 0.2, and what defines the functions that a guest can come to call. Those
/// that are missing belong to things that a guest never holds, such as an open file; calling
/// one is a trap.
const INTERFACES: [(&str, Define); 27] = [
    ("wasi:cli/environment", empty::environment),
    ("wasi:cli/exit", empty::exit),
    ("wasi:cli/stdin", io::stdin),
    ("wasi:cli/stdout", io::stdout),
    ("wasi:cli/stderr", io::stderr),
    ("wasi:cli/terminal-input", empty::nothing),
    ("wasi:cli/terminal-output", empty::nothing),
    ("wasi:cli/terminal-stdin", empty::terminal_stdin),
    ("wasi:cli/terminal-stdout", empty::terminal_stdout),
    ("wasi:cli/terminal-stderr", empty::terminal_stderr),
    ("wasi:clocks/monotonic-clock", clocks::monotonic_clock),
    ("wasi:clocks/wall-clock", clocks::wall_clock),
    ("wasi:filesystem/preopens", empty::preopens),
    ("wasi:filesystem/types", empty::nothing),
    ("wasi:io/error", empty::nothing),
    ("wasi:io/poll", clocks::poll),
    ("wasi:io/streams", io::streams),
    ("wasi:random/insecure", random::insecure),
    ("wasi:random/insecure-seed", random::insecure_seed),
    ("wasi:random/random", random::random),
    ("wasi:sockets/instance-network", empty::instance_network),
    ("wasi:sockets/ip-name-lookup", empty::ip_name_lookup),
    ("wasi:sockets/network", empty::nothing),
    ("wasi:sockets/tcp", empty::nothing),
    ("wasi:sockets/tcp-create-socket", empty::tcp_create_socket),
    ("wasi:sockets/udp", empty::nothing),
    ("wasi:sockets/udp-create-socket", empty::udp_create_socket),
];

/// Whether an import is one of these, whatever its patch. What came before 0.2.0 (`0.2.0-rc-…`) is
/// something else.
pub(crate) fn offers(interface: &str, version: &str) -> bool {
    let is_known = INTERFACES.iter().any(|(name, _)| *name == interface);
    is_known && version.starts_with("0.2.") && !version.contains('-')
}

/// Gives a component the interfaces that it imports, by the names that it has for them.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>, component: &Component) -> Result<()> {
    let engine = component.engine();
    // First everything as a trap, then what can be called in its place.
    linker.allow_shadowing(true);
    for (import, item) in component.component_type().imports(engine) {
        let (interface, _) = component::split(import);
        let known = INTERFACES.iter().find(|(name, _)| *name == interface);
        let (Some((_, define)), ComponentItem::ComponentInstance(imported)) = (known, item.ty)
        else {
            continue;
        };
        let mut instance = linker.instance(import)?;
        for (name, item) in imported.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => missing(&mut instance, import, name)?,
                ComponentItem::Resource(_) => resource(&mut instance, name)?,
                _ => {}
            }
        }
        define(&mut instance)?;
    }
    Ok(())
}

/// A function that ends the call, of whatever type the component declares. It touches neither what
/// is given nor the room for results: there may be none.
fn missing(instance: &mut LinkerInstance<'_, Guest>, interface: &str, name: &str) -> Result<()> {
    let reason = format!("it called {name} of {interface}, and its system is empty");
    instance.func_new(name, move |mut context, _, _, _| {
        Err(context.data_mut().end_call(&reason))
    })
}

/// The type of a handle. An interface that uses a type of another names it, too, so it is known
/// by its name alone, which in WASI stands for one type.
fn resource(instance: &mut LinkerInstance<'_, Guest>, name: &str) -> Result<()> {
    let resource = match name {
        "pollable" => {
            return instance.resource(
                name,
                ResourceType::host::<clocks::Pollable>(),
                |mut context, number| {
                    context.data_mut().pollable_dropped(number);
                    Ok(())
                },
            );
        }
        "input-stream" => ResourceType::host::<io::InputStream>(),
        "output-stream" => ResourceType::host::<io::OutputStream>(),
        "error" => ResourceType::host::<io::IoError>(),
        "network" => ResourceType::host::<empty::Network>(),
        "resolve-address-stream" => ResourceType::host::<empty::ResolveAddressStream>(),
        "tcp-socket" => ResourceType::host::<empty::TcpSocket>(),
        "udp-socket" => ResourceType::host::<empty::UdpSocket>(),
        "descriptor" => ResourceType::host::<empty::Descriptor>(),
        "terminal-input" => ResourceType::host::<empty::TerminalInput>(),
        "terminal-output" => ResourceType::host::<empty::TerminalOutput>(),
        // Nothing gives one away.
        _ => ResourceType::host::<()>(),
    };
    instance.resource(name, resource, |mut context, _| {
        context.data_mut().handle_dropped();
        Ok(())
    })
}
