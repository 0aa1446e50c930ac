//! Who asks for a change.

use std::net::IpAddr;

/// Whoever asks without a token, where none is required.
pub(crate) const ANYBODY: &str = "anybody";

/// The service, for what it does by itself.
pub(crate) const SERVICE: &str = "service";

/// Who asks, from where, and for which request: what the audit record keeps of everybody.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// The user's id; `anybody` where no token is required, `service` for what it does by itself.
    pub(crate) id: String,
    pub(crate) role: Role,
    /// The address that the request came from.
    pub(crate) origin: Option<IpAddr>,
    /// The id of the request, which goes into every event that follows from it.
    pub(crate) correlation_id: String,
}

/// What somebody may do; each may do what those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Deals with their own bookings.
    User,
    /// Runs the place: every booking, approvals, times at which a resource cannot be used.
    Staff,
    /// Resources, users, the audit record.
    Admin,
    /// The service itself.
    Service,
}

impl Role {
    /// Its name in tokens and in the audit record.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Staff => "staff",
            Self::Admin => "admin",
            Self::Service => "service",
        }
    }
}

impl Actor {
    /// The service, which acts by itself: what it does in one go has one correlation id.
    pub(crate) fn service() -> Self {
        Self {
            id: SERVICE.to_owned(),
            role: Role::Service,
            origin: None,
            correlation_id: uuid::Uuid::now_v7().to_string(),
        }
    }

    /// The service, for what follows from what this one has asked for: under the same correlation id.
    pub(crate) fn service_after(&self) -> Self {
        Self {
            correlation_id: self.correlation_id.clone(),
            ..Self::service()
        }
    }

    /// Whether it is known who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.id != ANYBODY
    }

    /// Whether it may deal with what belongs to this user.
    pub(crate) fn may_act_for(&self, user_id: &str) -> bool {
        self.role >= Role::Staff || self.id == user_id
    }
}
