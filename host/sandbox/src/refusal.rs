//! Why a binary is not loaded.

/// A sentence that says what is wrong with a binary and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not WebAssembly.
    #[error(
        "this is not WebAssembly: it begins with {start:?}; build the plugin for wasm32-unknown-unknown and give the .wasm file"
    )]
    NotWebAssembly {
        /// Its first bytes.
        start: String,
    },
    /// It is WebAssembly, but does not hold together.
    #[error("this WebAssembly is damaged or cut off: {0}; build or copy it again")]
    Damaged(String),
    /// It is a core module of no known interface.
    #[error(
        "this is a WebAssembly module without component types, so it cannot say what it imports and exports: {0}; build it with the Carillon plugin SDK, or give a component"
    )]
    NoComponentTypes(String),
    /// It is larger than allowed.
    #[error(
        "this binary has {bytes} bytes and at most {limit} are loaded; build it with optimisation, or raise sandbox.max_binary_bytes"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It lacks the export that makes a plugin.
    #[error(
        "this component does not export {wanted}; it exports {found}: it is made for another world"
    )]
    MissingExport {
        /// What a plugin exports.
        wanted: String,
        /// What this exports.
        found: String,
    },
    /// It was made for another version of the interface.
    #[error(
        "this plugin was made for {found} and this host offers {offered}; update whichever is older"
    )]
    OtherVersion {
        /// What it exports.
        found: String,
        /// What the host has.
        offered: String,
    },
    /// It imports what the host does not have.
    #[error(
        "this plugin imports {name}, which this host does not offer; it offers {offered}, and of WASI 0.2 cli, clocks, filesystem, io, random and sockets with nothing in them"
    )]
    UnknownImport {
        /// The import.
        name: String,
        /// What there is.
        offered: String,
    },
    /// The types of its imports or exports differ from the interface's.
    #[error("this plugin does not fit the interface it names: {0}")]
    WrongTypes(String),
    /// `describe` failed.
    #[error("this plugin could not describe itself: {0}")]
    Describe(String),
    /// What it says of itself breaks a rule.
    #[error("what this plugin says of itself is not valid: {0}")]
    Description(String),
    /// A required setting has no value.
    #[error(
        "the plugin {plugin} needs the setting \"{key}\" ({summary}); give it in [plugins.{plugin}.settings]"
    )]
    MissingSetting {
        /// The plugin.
        plugin: String,
        /// The setting.
        key: String,
        /// What it is for.
        summary: String,
    },
    /// A setting has a value that nobody reads.
    #[error(
        "[plugins.{plugin}.settings] has \"{key}\", which the plugin does not read; it reads {known}"
    )]
    UnknownSetting {
        /// The plugin.
        plugin: String,
        /// The setting.
        key: String,
        /// What it reads.
        known: String,
    },
    /// It sends requests, and no host is granted to it.
    #[error(
        "the plugin {plugin} imports carillon:plugin/http and no host is granted to it; write [plugins.{plugin}.http] allow = [\"https://the.host\"]"
    )]
    NoHosts {
        /// The plugin.
        plugin: String,
    },
    /// It expects a system, and is not granted one.
    #[error(
        "the plugin {plugin} imports WASI, as binaries from other languages do; grant it an empty system (no files, no sockets, no environment) with wasi = true in [plugins.{plugin}]"
    )]
    Wasi {
        /// The plugin.
        plugin: String,
    },
    /// A secret cannot be read.
    #[error(
        "the secret \"{name}\" of the plugin {plugin} cannot be used: {reason}; mend it in [plugins.{plugin}.http.secrets]"
    )]
    Secret {
        /// The plugin.
        plugin: String,
        /// The secret's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host cannot send requests for it.
    #[error(
        "the plugin {plugin} imports carillon:plugin/http, and this host cannot send requests: {reason}"
    )]
    Http {
        /// The plugin.
        plugin: String,
        /// Why not.
        reason: String,
    },
    /// It does not even start under the limits that it is given.
    #[error(
        "the plugin {plugin} cannot be started under its limits: {fault}; raise them in [plugins.{plugin}.limits]"
    )]
    Limits {
        /// The plugin.
        plugin: String,
        /// What went wrong.
        fault: String,
    },
    /// It is whole, and more than the sandbox has room for.
    #[error(
        "this plugin does not fit into the sandbox: {0}; raise the limit in [sandbox], or build it smaller"
    )]
    Compile(String),
}

impl Refusal {
    /// Whether the binary may only be the beginning of one: somebody may still be writing it.
    #[must_use]
    pub fn may_be_cut_off(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::NotWebAssembly { start } => {
                start.is_empty() || "\0asm".starts_with(start.as_str())
            }
            _ => false,
        }
    }
}
