//! Uses the system that components from other languages expect, as `eventData.do` says, and tells
//! what it found: `look`, `sleep`, `timers`, `print`, `exit`, `keep` (as many handles as `count`
//! says), `hoard`, `hoard-streams`, `poll-nothing`, `sleep-for-ever`, `random-most`, `random-flood`,
//! `write-most`, `write-flood`. Anything else only tells of the event.

use carillon_guests::{echo, field};
use carillon_plugin::prelude::*;

#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
mod system {
    wit_bindgen::generate!({
        path: "system",
        world: "user",
        generate_all,
    });
}

use system::wasi::cli::{environment, exit, stderr, stdin, stdout};
use system::wasi::clocks::{monotonic_clock, wall_clock};
use system::wasi::filesystem::preopens;
use system::wasi::io::poll;
use system::wasi::random::random;
use system::wasi::sockets::network::IpAddressFamily;
use system::wasi::sockets::{instance_network, ip_name_lookup, tcp_create_socket};

const HOUR_NS: u64 = 3_600_000_000_000;

#[plugin(
    name = "system-user",
    summary = "Uses a system and tells what it found.",
    subscriptions = ["*"]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let task = field(&event, "do");
    let found = match task.as_str().unwrap_or_default() {
        "look" => look(),
        "sleep" => sleep(),
        "timers" => timers(),
        "print" => print(),
        "exit" => {
            write(&stderr::get_stderr(), b"the settings are gone\n");
            exit::exit(Err(()));
            String::new()
        }
        "keep" => {
            let count = field(&event, "count").as_u64().unwrap_or_default();
            // What is forgotten is never dropped.
            (0..count).for_each(|_| std::mem::forget(monotonic_clock::subscribe_duration(0)));
            count.to_string()
        }
        "hoard" => {
            let held: Vec<_> = (0..100_000)
                .map(|_| monotonic_clock::subscribe_duration(HOUR_NS))
                .collect();
            held.len().to_string()
        }
        "hoard-streams" => {
            let held: Vec<_> = (0..100_000).map(|_| stdout::get_stdout()).collect();
            held.len().to_string()
        }
        "poll-nothing" => format!("{:?}", poll::poll(&[])),
        "sleep-for-ever" => loop {
            monotonic_clock::subscribe_duration(HOUR_NS).block();
        },
        "random-most" => random::get_random_bytes(65_536).len().to_string(),
        "random-flood" => random::get_random_bytes(65_537).len().to_string(),
        "write-most" => written(4_096),
        "write-flood" => written(4_097),
        _ => return Ok(echo(&event)),
    };
    let notification = Notification::to_user(event.require_user()?)
        .category("test")
        .title("what it found")
        .body(found);
    Ok(vec![notification.into()])
}

/// Everything that there is to see.
fn look() -> String {
    let network = instance_network::instance_network();
    let lookup = ip_name_lookup::resolve_addresses(&network, "localhost");
    let socket = tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4);
    let now = wall_clock::now();
    format!(
        "environment {:?}, arguments {:?}, cwd {:?}, files {}, input {:?}, lookup {:?}, socket {:?}, time {}.{:09}, random {} {:?}",
        environment::get_environment(),
        environment::get_arguments(),
        environment::initial_cwd(),
        preopens::get_directories().len(),
        stdin::get_stdin().blocking_read(10).map_err(|_| "ended"),
        lookup.map(|_| ()).map_err(|error| error.name()),
        socket.map(|_| ()).map_err(|error| error.name()),
        now.seconds,
        now.nanoseconds,
        random::get_random_u64(),
        random::get_random_bytes(40),
    )
}

/// The moments before and after two hours of sleep.
fn sleep() -> String {
    let before = monotonic_clock::now();
    monotonic_clock::subscribe_duration(HOUR_NS).block();
    let pollable = monotonic_clock::subscribe_duration(HOUR_NS);
    let early = pollable.ready();
    poll::poll(&[&pollable]);
    format!(
        "{early} {} {}",
        pollable.ready(),
        monotonic_clock::now() - before
    )
}

/// Which of three timers goes off first, second, and third.
fn timers() -> String {
    let timers = [3, 1, 2].map(|hours| monotonic_clock::subscribe_duration(hours * HOUR_NS));
    let mut waiting: Vec<(usize, &poll::Pollable)> = timers.iter().enumerate().collect();
    let mut order = Vec::new();
    while !waiting.is_empty() {
        let pollables: Vec<&poll::Pollable> = waiting.iter().map(|(_, timer)| *timer).collect();
        for place in poll::poll(&pollables) {
            order.push(waiting.remove(place as usize).0);
        }
    }
    format!("{order:?}")
}

fn print() -> String {
    write(&stdout::get_stdout(), b"one\ntwo, and ");
    write(&stderr::get_stderr(), b"a complaint\n");
    write(&stdout::get_stdout(), b"its end\n\nthree");
    "printed".to_owned()
}

/// Whether so many bytes could be written at once.
fn written(bytes: usize) -> String {
    let line = [b'x'].repeat(bytes);
    stdout::get_stdout()
        .blocking_write_and_flush(&line)
        .is_ok()
        .to_string()
}

fn write(stream: &system::wasi::io::streams::OutputStream, bytes: &[u8]) {
    // An error would be told by the line that is missing.
    let _ = stream.blocking_write_and_flush(bytes);
}
