//! What operators can ask a running host on the command line.

use clap::{ArgGroup, Args, Subcommand};

use super::Common;

/// What stands above the options of [`Remote`] in the help.
const HOST_HEADING: &str = "Which host, and how it answers";

/// Which host is asked, and how it answers. Its heading holds for what stands behind it, so it
/// stands last.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HOST_HEADING)]
pub(crate) struct Remote {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The gateway's address, where the data folder does not say it.
    #[arg(long, value_name = "URL", env = "CARILLON_GATEWAY_URL")]
    pub(crate) gateway_url: Option<String>,
    /// The operator's token; without one, that of the data folder or the configuration.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "CARILLON_ADMIN_TOKEN",
        hide_env_values = true
    )]
    pub(crate) admin_token: Option<String>,
    /// Print what the host answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NameOptions {
    /// The plugin.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Which part of a long list.
#[derive(Debug, Clone, Args)]
pub(crate) struct PageOptions {
    /// How many at the most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: u32,
    /// Go on after a page that said how.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List what could not be handled, newest first.
    #[command(
        after_help = "Examples:\n  carillon dead-letters list\n  carillon dead-letters list --plugin booking-updates --limit 10"
    )]
    List(LettersOptions),
    /// Show one dead letter whole: the record, its headers, and why.
    #[command(after_help = "Example:\n  carillon dead-letters show 17")]
    Show(LetterOptions),
    /// Hand dead letters to their plugin again, or to another one.
    ///
    /// What is handled this time is no dead letter any more; what fails again stays.
    #[command(
        after_help = "Examples:\n  carillon dead-letters replay 17 18\n  carillon dead-letters replay --plugin booking-updates\n  carillon dead-letters replay 17 --to late-cancellations"
    )]
    Replay(LettersReplayOptions),
    /// Delete dead letters that nobody needs any more.
    #[command(
        after_help = "Examples:\n  carillon dead-letters purge 17 18\n  carillon dead-letters purge --plugin booking-updates --code rejected"
    )]
    Purge(LettersPurgeOptions),
}

/// Which dead letters.
#[derive(Debug, Clone, Args)]
pub(crate) struct LettersFilter {
    /// Those of this plugin; `intake`: what is no event.
    #[arg(long, value_name = "NAME")]
    pub(crate) plugin: Option<String>,
    /// Those with this cause.
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Those from this topic.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LettersOptions {
    #[command(flatten)]
    pub(crate) filter: LettersFilter,
    #[command(flatten)]
    pub(crate) page: PageOptions,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LetterOptions {
    /// Its number, as the list shows it.
    #[arg(value_name = "ID")]
    pub(crate) id: i64,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Letters by number or by filter, but not both and not none.
#[derive(Debug, Clone, Args)]
#[command(group(
    ArgGroup::new("which").args(["ids", "plugin", "code", "topic"]).required(true).multiple(true)
))]
pub(crate) struct LettersChoice {
    /// Their numbers, as the list shows them.
    #[arg(value_name = "ID", conflicts_with_all = ["plugin", "code", "topic"])]
    pub(crate) ids: Vec<i64>,
    #[command(flatten)]
    pub(crate) filter: LettersFilter,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LettersReplayOptions {
    #[command(flatten)]
    pub(crate) which: LettersChoice,
    /// The plugin that gets them, instead of the one that failed.
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LettersPurgeOptions {
    #[command(flatten)]
    pub(crate) which: LettersChoice,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainOptions {
    /// The id of a notification or an event, or a place in the log: TOPIC/PARTITION/OFFSET.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AuditOptions {
    /// What was done to this plugin.
    #[arg(long, value_name = "NAME")]
    pub(crate) plugin: Option<String>,
    #[command(flatten)]
    pub(crate) page: PageOptions,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command)
    }

    #[test]
    fn every_command_has_a_sentence_and_every_command_of_operators_an_example() {
        fn look(command: &clap::Command, path: &str, of_operators: bool) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing");
            let mut inner = command.get_subcommands().peekable();
            if of_operators && inner.peek().is_none() {
                let help = command.get_after_help().map(ToString::to_string);
                assert!(
                    help.is_some_and(|help| help.contains(path.trim())),
                    "{path} has no example"
                );
            }
            for inner in inner {
                look(inner, &path, of_operators);
            }
        }
        let all = Arguments::command();
        for command in all.get_subcommands() {
            let of_operators = ["plugin", "dead-letters", "explain", "audit"];
            look(
                command,
                all.get_name(),
                of_operators.contains(&command.get_name()),
            );
        }
        all.debug_assert();
    }

    #[test]
    fn dead_letters_are_chosen_by_number_or_by_filter() {
        for good in [
            "carillon dead-letters purge 1 2",
            "carillon dead-letters purge --plugin a --code b",
            "carillon dead-letters replay --plugin a --to b",
        ] {
            assert!(parsed(good).is_ok(), "{good}");
        }
        for bad in [
            "carillon dead-letters purge",
            "carillon dead-letters purge 1 --plugin a",
            "carillon dead-letters replay --to b",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_options_of_the_command_itself_do_not_stand_under_those_of_the_host() {
        const OF_THE_HOST: [&str; 5] = ["data", "config", "gateway_url", "admin_token", "json"];
        fn look(command: &clap::Command) {
            for argument in command.get_arguments() {
                let of_the_host = argument.get_help_heading() == Some(HOST_HEADING);
                let id = argument.get_id().as_str();
                assert!(
                    !of_the_host || OF_THE_HOST.contains(&id),
                    "{id} of {}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(look);
        }
        look(&Arguments::command());
    }
}
