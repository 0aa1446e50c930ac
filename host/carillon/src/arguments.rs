//! What can be asked on the command line.

mod operate;
mod plugin;
mod time;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use operate::{
    AuditOptions, DeadLettersCommand, ExplainOptions, LetterOptions, LettersChoice, LettersFilter,
    LettersOptions, LettersPurgeOptions, LettersReplayOptions, NameOptions, Remote,
};
pub(crate) use plugin::{
    DiffOptions, ListOptions, LoadOptions, LogsOptions, PluginCommand, RemoveOptions,
    ReplayOptions, RollbackOptions, SettingsOptions, StateFate,
};

/// Turns the events of a booking service into notifications, decided by sandboxed
/// WebAssembly plugins.
///
/// Try it: `carillon run --demo` needs nothing else installed and prints where to look.
#[derive(Debug, Parser)]
#[command(name = "carillon", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: booking API, host and gateway.
    ///
    /// Without configured Kafka servers a broker inside the process carries the events, and
    /// SQLite files in the data folder keep everything that must survive.
    Run(RunOptions),
    /// Run the host and the gateway only. Needs a Kafka of your own.
    Host(HostOptions),
    /// Run the booking API only. Needs a Kafka of your own.
    Booking(BookingOptions),
    /// Make a token for trying things out, and print it.
    ///
    /// It is signed with the secret of the data folder, or of the configuration.
    Token(TokenOptions),
    /// Load, swap, watch and remove the plugins of a running host.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Look at, replay or delete what could not be handled.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Tell the story of a notification or an event: from the record to the socket, or why
    /// nobody was told.
    #[command(
        after_help = "Examples:\n  carillon explain 0198c1e2-4f00-8a3b-9c1d-2e3f40516273\n  carillon explain booking-events/0/1234"
    )]
    Explain(ExplainOptions),
    /// List who did what, newest first.
    #[command(after_help = "Example:\n  carillon audit --plugin booking-updates")]
    Audit(AuditOptions),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read the configuration, say what is wrong with it or what it comes to.
    Check(Common),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Where databases, plugins and secrets are.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "data",
        env = "CARILLON_DATA"
    )]
    pub(crate) data: PathBuf,
    /// The configuration, TOML. Without one, everything has its default.
    #[arg(long, value_name = "FILE", env = "CARILLON_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Logging {
    /// How log lines are written, to standard error. What is logged is set by CARILLON_LOG, for
    /// example `info,plugin=debug`.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "CARILLON_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayAddress {
    /// Where clients and operators connect: WebSocket, SSE, inbox, metrics.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8090",
        env = "CARILLON_GATEWAY_ADDR"
    )]
    pub(crate) gateway_addr: SocketAddr,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BookingAddress {
    /// Where the booking API listens.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "CARILLON_BOOKING_ADDR"
    )]
    pub(crate) booking_addr: SocketAddr,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) gateway: GatewayAddress,
    #[command(flatten)]
    pub(crate) booking: BookingAddress,
    #[command(flatten)]
    pub(crate) logging: Logging,
    /// Fill an empty store with rooms and users, and give tokens to the page at the gateway's
    /// address. For trying things out only: whoever reaches the page can be anybody.
    #[arg(long)]
    pub(crate) demo: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct HostOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) gateway: GatewayAddress,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BookingOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) booking: BookingAddress,
    #[command(flatten)]
    pub(crate) logging: Logging,
    /// Fill an empty store with rooms and users.
    #[arg(long)]
    pub(crate) demo: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TokenOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The user whom the token is for.
    #[arg(long, value_name = "USER")]
    pub(crate) user: String,
    /// A group that the user belongs to; may be given several times.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
    /// A role that the user has; may be given several times.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
    /// How long it is valid, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub(crate) ttl: u64,
}
