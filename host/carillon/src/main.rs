//! The Carillon binary: arguments, configuration files, wiring; nothing else.

mod arguments;
mod configuration;
mod data_folder;
mod operate;
mod run;
mod serving;
mod telemetry;
mod token;

use std::process::ExitCode;

use arguments::{Arguments, Command, ConfigCommand};
use clap::Parser as _;

/// Events are many small texts, made on one thread and dropped on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("carillon: {}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, but no sentence twice: many of ours name their cause themselves.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut said, cause| {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            said = if said.is_empty() {
                cause
            } else {
                format!("{said}: {cause}")
            };
        }
        said
    })
}

fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Run(options) => run::everything(&options),
        Command::Host(options) => run::host(&options),
        Command::Booking(options) => run::booking(&options),
        Command::Token(options) => token::print(&options),
        Command::Plugin(command) => operate::plugin(&command),
        Command::DeadLetters(command) => operate::dead_letters(&command),
        Command::Explain(options) => operate::explain(&options),
        Command::Audit(options) => operate::audit(&options),
        Command::Config(ConfigCommand::Check(options)) => configuration::check(&options),
    }
}
