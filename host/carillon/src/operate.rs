//! What operators ask a running host: each command is a request to `/admin`, and its answer in
//! words, tables or JSON.

mod audit;
mod client;
mod dead_letters;
mod differences;
mod explain;
mod load;
mod logs;
mod plugins;
mod print;
mod progress;
mod replay;
mod show;
mod source;
mod table;
mod trial;
mod words;

use anyhow::Result;

use crate::arguments::{AuditOptions, DeadLettersCommand, ExplainOptions, PluginCommand};

/// `carillon plugin …`.
pub(crate) fn plugin(command: &PluginCommand) -> Result<()> {
    in_runtime(async {
        match command {
            PluginCommand::Load(options) => load::load(options).await,
            PluginCommand::List(options) => plugins::list(options).await,
            PluginCommand::Show(options) => show::show(options).await,
            PluginCommand::Versions(options) => plugins::versions(options).await,
            PluginCommand::Pause(options) => plugins::pause(options).await,
            PluginCommand::Resume(options) => plugins::resume(options).await,
            PluginCommand::Rollback(options) => plugins::rollback(options).await,
            PluginCommand::Remove(options) => plugins::remove(options).await,
            PluginCommand::Settings(options) => plugins::settings(options).await,
            PluginCommand::Logs(options) => logs::logs(options).await,
            PluginCommand::Diff(options) => trial::diff(options).await,
            PluginCommand::Promote(options) => plugins::promote(options).await,
            PluginCommand::Abort(options) => plugins::abort(options).await,
            PluginCommand::Replay(options) => replay::replay(options).await,
        }
    })
}

/// `carillon dead-letters …`.
pub(crate) fn dead_letters(command: &DeadLettersCommand) -> Result<()> {
    in_runtime(async {
        match command {
            DeadLettersCommand::List(options) => dead_letters::list(options).await,
            DeadLettersCommand::Show(options) => dead_letters::show(options).await,
            DeadLettersCommand::Replay(options) => dead_letters::replay(options).await,
            DeadLettersCommand::Purge(options) => dead_letters::purge(options).await,
        }
    })
}

/// `carillon explain ID`.
pub(crate) fn explain(options: &ExplainOptions) -> Result<()> {
    in_runtime(explain::explain(options))
}

/// `carillon audit`.
pub(crate) fn audit(options: &AuditOptions) -> Result<()> {
    in_runtime(audit::audit(options))
}

fn in_runtime(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
