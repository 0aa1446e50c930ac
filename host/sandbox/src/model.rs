//! What goes into a plugin and what comes out, whatever version of the interface it speaks.

use serde_json::value::RawValue;

/// An event as a plugin gets it. Texts are borrowed: each is copied once, into the guest.
#[derive(Debug, Clone, Copy)]
pub struct GuestEvent<'a> {
    /// The producer's id.
    pub id: &'a str,
    /// The canonical kind.
    pub kind: &'a str,
    /// By the producer's clock, milliseconds since 1970.
    pub time_ms: i64,
    /// The record's timestamp, milliseconds since 1970: the plugin's clock.
    pub logged_at_ms: i64,
    /// Whom it is about.
    pub user_id: Option<&'a str>,
    /// Which resource.
    pub resource_id: Option<&'a str>,
    /// What changed.
    pub subject_id: Option<&'a str>,
    /// `eventData` as it came.
    pub data: &'a str,
    /// Ties it to a request.
    pub correlation_id: Option<&'a str>,
    /// The topic …
    pub topic: &'a str,
    /// … its partition …
    pub partition: u32,
    /// … and the record's offset.
    pub offset: u64,
    /// From 1.
    pub attempt: u32,
}

/// What a plugin answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It handled the event.
    Handled(Vec<Action>),
    /// It never will.
    Reject(String),
    /// It may, later.
    Retry(String),
}

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Tell somebody something.
    Notify(Box<Notification>),
    /// Take something back.
    Withdraw(Withdrawal),
}

/// Who a notification is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// One user.
    User(String),
    /// Everybody in a group.
    Group(String),
}

impl Recipient {
    /// The name of the recipient's stream.
    #[must_use]
    pub fn stream(&self) -> String {
        match self {
            Self::User(id) => format!("user:{id}"),
            Self::Group(name) => format!("group:{name}"),
        }
    }
}

/// A way out of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The inbox and live connections.
    InApp,
    /// E-mail.
    Email,
    /// Text messages.
    Sms,
    /// Push to devices.
    Push,
    /// Chat rooms.
    Chat,
    /// Webhooks.
    Webhook,
}

impl Channel {
    /// The name in the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InApp => "in-app",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Push => "push",
            Self::Chat => "chat",
            Self::Webhook => "webhook",
        }
    }
}

/// How urgent a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// May wait.
    Low,
    /// The usual.
    Normal,
    /// Before others.
    High,
    /// Ignores quiet hours.
    Critical,
}

/// Several notifications gathered into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// What is gathered together.
    pub key: String,
    /// For how long, in milliseconds.
    pub window_ms: i64,
}

/// A notification that a plugin asks for, checked.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Who it is for.
    pub recipient: Recipient,
    /// What it is about.
    pub category: String,
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
    /// Further data: JSON.
    pub data: Option<Box<RawValue>>,
    /// Where a click leads.
    pub link: Option<String>,
    /// Empty: the recipient's choice.
    pub channels: Vec<Channel>,
    /// How urgent.
    pub urgency: Urgency,
    /// Replaces older ones.
    pub collapse_key: Option<String>,
    /// Not before, milliseconds since 1970.
    pub deliver_at_ms: Option<i64>,
    /// Not after, milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
    /// Gathered with others.
    pub digest: Option<Digest>,
}

/// A notification that a plugin takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Who received it.
    pub recipient: Recipient,
    /// What it was sent with.
    pub collapse_key: String,
}

/// What a plugin says of itself, checked.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// The kinds that it wants.
    pub subscriptions: Vec<carillon_events::Subscription>,
    /// The settings that it reads.
    pub settings: Vec<Setting>,
}

/// A setting that a plugin reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// What it is for.
    pub summary: String,
    /// Without one, the setting is required.
    pub default: Option<String>,
}

/// A call went wrong, and it was the plugin's doing (or, for [`Fault::Host`], the host's).
/// The instance is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The guest trapped.
    #[error("it trapped: {0}")]
    Trap(String),
    /// The call used up its processor time.
    #[error("it used more than its {limit_ms} ms of processor time")]
    CpuTime {
        /// The limit.
        limit_ms: u64,
    },
    /// The call ran into the ceiling by the wall clock.
    #[error("it had not answered after {limit_ms} ms")]
    WallClock {
        /// The limit.
        limit_ms: u64,
    },
    /// The guest asked for more memory than granted, and could not go on without.
    #[error("it asked for more than its {limit_bytes} bytes of memory")]
    Memory {
        /// The limit.
        limit_bytes: usize,
    },
    /// The guest asked for more table elements than granted, and could not go on without.
    #[error("it asked for more than its {limit_elements} table elements")]
    Table {
        /// The limit.
        limit_elements: usize,
    },
    /// The guest's stack is full.
    #[error("its stack overflowed, which means a recursion without an end")]
    Stack,
    /// The answer was too large.
    #[error("its answer is larger than {limit_bytes} bytes")]
    Output {
        /// The limit.
        limit_bytes: usize,
    },
    /// The guest asked the state too often in one call.
    #[error("it called `state` more than {limit} times for one event")]
    StateCalls {
        /// The limit.
        limit: u32,
    },
    /// The answer breaks a rule of the interface.
    #[error("its answer is not valid: {0}")]
    Answer(String),
    /// No instance could be made.
    #[error("no instance of it could be made: {0}")]
    Instance(String),
    /// The host could not serve a call of the guest.
    #[error("the host could not serve it: {0}")]
    Host(String),
}

impl Fault {
    /// A short name, for metrics and dead letters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::CpuTime { .. } => "cpu-time",
            Self::WallClock { .. } => "wall-clock",
            Self::Memory { .. } => "memory",
            Self::Table { .. } => "table",
            Self::Stack => "stack",
            Self::Output { .. } => "output",
            Self::StateCalls { .. } => "state-calls",
            Self::Answer(_) => "answer",
            Self::Instance(_) => "instance",
            Self::Host(_) => "host",
        }
    }
}
