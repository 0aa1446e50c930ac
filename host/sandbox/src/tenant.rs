//! What all instances of one plugin share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::http::Access;
use crate::limits::Limits;
use crate::log_lines::{LogQuota, LogSink, NoLog};
use crate::usage::Highest;

/// A plugin as its instances see it: what it may use, and what they use together.
pub(crate) struct Tenant {
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) settings: HashMap<String, String>,
    /// For a plugin that imports `http`.
    pub(crate) http: Option<Arc<Access>>,
    pub(crate) log: Arc<dyn LogSink>,
    pub(crate) log_quota: LogQuota,
    pub(crate) highest: Highest,
    pub(crate) memory_bytes: AtomicUsize,
}

impl Tenant {
    pub(crate) fn new(name: Arc<str>, limits: Limits) -> Self {
        Self {
            name,
            log_quota: LogQuota::new(limits.log_lines_per_s, Instant::now()),
            limits,
            settings: HashMap::new(),
            http: None,
            log: Arc::new(NoLog),
            highest: Highest::default(),
            memory_bytes: AtomicUsize::new(0),
        }
    }

    /// The linear memory of all its living instances.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn memory_taken(&self, bytes: usize) {
        self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn memory_given_back(&self, bytes: usize) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
