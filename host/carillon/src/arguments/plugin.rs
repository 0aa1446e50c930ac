//! What operators can ask about plugins.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::operate::{NameOptions, PageOptions, Remote};

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
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command)
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
