//! Where the calls of a run find the plugin's state.

use std::sync::Arc;

use carillon_sandbox::{NoState, State};

use crate::handler::Handler;
use crate::plan::Purpose;
use crate::scratch::{Scratch, ScratchCall};
use crate::state_space::RunState;

/// Where the calls of a run find the plugin's state.
pub(super) enum Memory {
    None,
    Shared(RunState),
    /// Only as long as a replay lasts.
    Scratch(Arc<Scratch>),
}

impl Memory {
    pub(super) fn begin(handler: &Handler, purpose: &Purpose) -> Result<Self, String> {
        let Some(space) = &handler.state else {
            return Ok(Self::None);
        };
        if let Purpose::Again {
            scratch: Some(scratch),
            ..
        } = purpose
        {
            return Ok(Self::Scratch(Arc::clone(scratch)));
        }
        RunState::begin(space)
            .map(Self::Shared)
            .map_err(|error| error.to_string())
    }

    pub(super) fn for_call(&self, now_ms: i64) -> Box<dyn State> {
        match self {
            Self::None => Box::new(NoState),
            Self::Shared(state) => state.for_call(now_ms),
            Self::Scratch(scratch) => Box::new(ScratchCall::new(scratch, now_ms)),
        }
    }

    pub(super) fn settle(&self, handled: bool) {
        match self {
            Self::None => {}
            Self::Shared(state) if handled => state.keep_call(),
            Self::Shared(state) => state.drop_call(),
            Self::Scratch(scratch) if handled => scratch.keep_call(),
            Self::Scratch(scratch) => scratch.drop_call(),
        }
    }

    pub(super) fn written_bytes(&self) -> usize {
        match self {
            Self::Shared(state) => state.written_bytes(),
            Self::None | Self::Scratch(_) => 0,
        }
    }
}
