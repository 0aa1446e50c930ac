//! What operators can ask a running host on the command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::Common;

/// Which host is asked, and how it answers. Its heading holds for what stands behind it, so it
/// stands last.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which host, and how it answers")]
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

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Load a plugin, or another version of one, while events flow.
    ///
    /// The new version is ready before the old one goes. If anything is wrong with it, the old
    /// one keeps running and the reason is printed. A signature in FILE.sig (or at URL.sig) goes
    /// with it by itself.
    #[command(after_help = LOAD_EXAMPLES)]
    Load(LoadOptions),
    /// List the plugins: state, version, lag, events a second, faults, p99, memory.
    #[command(after_help = "Example:\n  carillon plugin list")]
    List(ListOptions),
    /// Show everything about one plugin: what it asks for, is granted and uses.
    #[command(after_help = "Example:\n  carillon plugin show booking-updates")]
    Show(NameOptions),
    /// List the loads of a plugin that can be gone back to, newest first.
    #[command(after_help = "Example:\n  carillon plugin versions booking-updates")]
    Versions(NameOptions),
    /// Stop handing events to a plugin. It keeps its place.
    #[command(after_help = "Example:\n  carillon plugin pause booking-updates")]
    Pause(NameOptions),
    /// Go on after a pause or a quarantine. The plugin catches up from where it stood.
    #[command(after_help = "Example:\n  carillon plugin resume booking-updates")]
    Resume(NameOptions),
    /// Go back to an earlier load: binary and settings.
    #[command(
        after_help = "Examples:\n  carillon plugin rollback booking-updates\n  carillon plugin rollback booking-updates --to 1.4.0"
    )]
    Rollback(RollbackOptions),
    /// Remove a plugin. What it has sent stays.
    #[command(
        after_help = "Examples:\n  carillon plugin remove booking-updates\n  carillon plugin remove booking-updates --state=delete"
    )]
    Remove(RemoveOptions),
    /// Show or change the settings of a plugin.
    ///
    /// What is set here stands before what the configuration says; KEY- takes it back.
    #[command(
        after_help = "Examples:\n  carillon plugin settings late-cancellations\n  carillon plugin settings late-cancellations minutes=30 tone-"
    )]
    Settings(SettingsOptions),
    /// Print what a plugin has logged.
    #[command(
        after_help = "Examples:\n  carillon plugin logs booking-updates --tail 20\n  carillon plugin logs booking-updates -f"
    )]
    Logs(LogsOptions),
    /// List the events that a shadow answers otherwise than the active version, side by side.
    #[command(
        after_help = "Example:\n  carillon plugin load next.wasm --shadow\n  carillon plugin diff booking-updates"
    )]
    Diff(DiffOptions),
    /// Let the candidate (shadow or canary) take the place of the active version.
    #[command(after_help = "Example:\n  carillon plugin promote booking-updates")]
    Promote(NameOptions),
    /// Take the candidate (shadow or canary) away.
    #[command(after_help = "Example:\n  carillon plugin abort booking-updates")]
    Abort(NameOptions),
    /// Handle a stretch of the log again.
    ///
    /// What was sent already is not sent twice. With --dry-run nothing is sent: what would be is
    /// compared with what was. The plugin's state stays as it is unless --with-state is given.
    /// Ctrl-C ends the replay where it stands.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayOptions),
}

const LOAD_EXAMPLES: &str = "Examples:
  carillon plugin load target/plugins/booking-updates.wasm
  carillon plugin load https://plugins.example.org/booking-updates-1.5.0.wasm
  carillon plugin load new-plugin.wasm --start earliest
  carillon plugin load next.wasm --shadow
  carillon plugin load next.wasm --canary 10 --abort-after 5";

const REPLAY_EXAMPLES: &str = "Examples:
  carillon plugin replay booking-updates --from 2h --dry-run
  carillon plugin replay booking-updates --from 2031-05-06T09:00:00Z --to 2031-05-06T12:00:00Z";

#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("trial").args(["shadow", "canary"])))]
pub(crate) struct LoadOptions {
    /// A file, or a URL of one: https://, http:// or file://.
    #[arg(value_name = "FILE|URL")]
    pub(crate) source: String,
    /// Where a plugin that is new begins: latest, earliest, or a time such as
    /// 2031-05-06T09:00:00Z.
    #[arg(long, value_name = "WHERE", default_value = "latest")]
    pub(crate) start: String,
    /// Run it beside the active version: its answers are recorded and never sent.
    #[arg(long)]
    pub(crate) shadow: bool,
    /// Run it in place of the active version for this share of the keys, 1 to 99.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    pub(crate) canary: Option<u8>,
    /// End the shadow or canary after this many faults.
    #[arg(long, value_name = "N", requires = "trial")]
    pub(crate) abort_after: Option<u32>,
    /// The ed25519 signature of the file, raw or base64.
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NameOptions {
    /// The plugin.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RollbackOptions {
    /// A version, the number of a load, or the beginning of a SHA-256; without it, the newest
    /// load that differs from what runs.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) plugin: NameOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RemoveOptions {
    /// What becomes of the plugin's state; --state alone deletes it.
    #[arg(
        long,
        value_enum,
        value_name = "FATE",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = StateFate::Keep,
        default_missing_value = "delete"
    )]
    pub(crate) state: StateFate,
    #[command(flatten)]
    pub(crate) plugin: NameOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateFate {
    /// It is found again when the plugin comes back.
    Keep,
    /// It is gone.
    Delete,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsOptions {
    /// The plugin.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// KEY=VALUE sets, KEY- goes back to the configuration. None: they are shown.
    #[arg(value_name = "CHANGE", value_parser = SettingChange::parse)]
    pub(crate) changes: Vec<SettingChange>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingChange {
    pub(crate) key: String,
    /// `None`: what the configuration says.
    pub(crate) value: Option<String>,
}

impl SettingChange {
    fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) => (key, Some(value.to_owned())),
            (None, Some(key)) => (key, None),
            (None, None) => {
                return Err("write KEY=VALUE to set it, or KEY- to go back".to_owned());
            }
        };
        if key.is_empty() {
            return Err("the key is missing".to_owned());
        }
        Ok(Self {
            key: key.to_owned(),
            value,
        })
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LogsOptions {
    /// How many of the last lines.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tail: u32,
    /// Go on with what is logged from now on, until the host ends.
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) plugin: NameOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DiffOptions {
    #[command(flatten)]
    pub(crate) page: PageOptions,
    #[command(flatten)]
    pub(crate) plugin: NameOptions,
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

#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayOptions {
    /// From when: a time such as 2031-05-06T09:00:00Z, or how long ago: 90m, 2h.
    #[arg(long, value_name = "TIME", value_parser = super::time::parse)]
    pub(crate) from: i64,
    /// Until when; now unless given.
    #[arg(long, value_name = "TIME", value_parser = super::time::parse)]
    pub(crate) to: Option<i64>,
    /// Send nothing: compare with what was sent.
    #[arg(long, conflicts_with = "with_state")]
    pub(crate) dry_run: bool,
    /// Let the plugin write its state.
    #[arg(long)]
    pub(crate) with_state: bool,
    #[command(flatten)]
    pub(crate) plugin: NameOptions,
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
    fn a_setting_is_changed_or_taken_back() {
        let change = |text: &str| SettingChange::parse(text);
        let set = |key: &str, value: &str| SettingChange {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        };
        assert_eq!(change("minutes=30").unwrap(), set("minutes", "30"));
        assert_eq!(change("text=a=b-").unwrap(), set("text", "a=b-"));
        assert_eq!(change("empty=").unwrap(), set("empty", ""));
        let back = SettingChange {
            key: "a-b".to_owned(),
            value: None,
        };
        assert_eq!(change("a-b-").unwrap(), back);
        for odd in ["minutes", "=30", "-"] {
            assert!(change(odd).is_err(), "{odd}");
        }
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
    fn options_that_contradict_each_other_are_refused() {
        for bad in [
            "carillon plugin load a.wasm --shadow --canary 10",
            "carillon plugin load a.wasm --canary 100",
            "carillon plugin load a.wasm --abort-after 5",
            "carillon plugin replay a --from 2h --dry-run --with-state",
            "carillon plugin replay a --from yesterday",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        for good in [
            "carillon plugin load a.wasm --shadow --abort-after 5",
            "carillon plugin load a.wasm --canary 10 --abort-after 5",
            "carillon plugin replay a --from 2h --dry-run",
        ] {
            assert!(parsed(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_removed_plugin_keeps_its_state_unless_asked_otherwise() {
        let fate = |line: &str| match parsed(line).unwrap() {
            Command::Plugin(PluginCommand::Remove(options)) => options.state,
            other => panic!("{other:?}"),
        };
        assert_eq!(fate("carillon plugin remove a"), StateFate::Keep);
        assert_eq!(
            fate("carillon plugin remove a --state=keep"),
            StateFate::Keep
        );
        for line in [
            "carillon plugin remove a --state",
            "carillon plugin remove --state a",
            "carillon plugin remove a --state=delete",
        ] {
            assert_eq!(fate(line), StateFate::Delete, "{line}");
        }
    }
}
