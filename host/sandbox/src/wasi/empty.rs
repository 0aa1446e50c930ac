//! What is asked for and not there: arguments, an environment, terminals, files, sockets.

use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};

use crate::guest::Guest;

pub(super) struct TerminalInput;
pub(super) struct TerminalOutput;
pub(super) struct Descriptor;
pub(super) struct Network;
pub(super) struct ResolveAddressStream;
pub(super) struct TcpSocket;
pub(super) struct UdpSocket;

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "only a guest makes them")]
enum IpAddressFamily {
    #[component(name = "ipv4")]
    Ipv4,
    #[component(name = "ipv6")]
    Ipv6,
}

/// The `error-code` of `wasi:sockets/network`.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "one is answered, and the type must be whole")]
enum ErrorCode {
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "not-supported")]
    NotSupported,
    #[component(name = "invalid-argument")]
    InvalidArgument,
    #[component(name = "out-of-memory")]
    OutOfMemory,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "concurrency-conflict")]
    ConcurrencyConflict,
    #[component(name = "not-in-progress")]
    NotInProgress,
    #[component(name = "would-block")]
    WouldBlock,
    #[component(name = "invalid-state")]
    InvalidState,
    #[component(name = "new-socket-limit")]
    NewSocketLimit,
    #[component(name = "address-not-bindable")]
    AddressNotBindable,
    #[component(name = "address-in-use")]
    AddressInUse,
    #[component(name = "remote-unreachable")]
    RemoteUnreachable,
    #[component(name = "connection-refused")]
    ConnectionRefused,
    #[component(name = "connection-reset")]
    ConnectionReset,
    #[component(name = "connection-aborted")]
    ConnectionAborted,
    #[component(name = "datagram-too-large")]
    DatagramTooLarge,
    #[component(name = "name-unresolvable")]
    NameUnresolvable,
    #[component(name = "temporary-resolver-failure")]
    TemporaryResolverFailure,
    #[component(name = "permanent-resolver-failure")]
    PermanentResolverFailure,
}

type Asked<T> = std::result::Result<Resource<T>, ErrorCode>;

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
        let reason = self.with_last_error(format!("it ended its own process with {how}"));
        self.end_call(&reason)
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
        Ok((context.data_mut().new_handle::<Network>(0)?,))
    })
}

pub(super) fn ip_name_lookup(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    type Name = (Resource<Network>, String);
    instance.func_wrap("resolve-addresses", |_, _: Name| {
        Ok((denied::<ResolveAddressStream>(),))
    })
}

pub(super) fn tcp_create_socket(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("create-tcp-socket", |_, _: (IpAddressFamily,)| {
        Ok((denied::<TcpSocket>(),))
    })
}

pub(super) fn udp_create_socket(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("create-udp-socket", |_, _: (IpAddressFamily,)| {
        Ok((denied::<UdpSocket>(),))
    })
}

fn denied<T>() -> Asked<T> {
    Err(ErrorCode::AccessDenied)
}
