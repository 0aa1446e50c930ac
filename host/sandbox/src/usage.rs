//! What calls have used, beside what they may use.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What one call used, or the highest values of many calls.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Processor time, in microseconds: measured for a call that is longer than a tick of
    /// the epoch, else bounded from above by the wall clock.
    pub cpu_us: u64,
    /// Time by the wall clock, in microseconds, without what it waited for the host.
    pub wall_us: u64,
    /// Linear memory of one instance, in bytes.
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u64,
    /// Actions of one answer.
    pub actions: u64,
    /// What one answer, or one call of the host, lifted out of the guest, in bytes.
    pub output_bytes: u64,
    /// Log lines of one call, those that were dropped included.
    pub log_lines: u64,
    /// Calls of `state`.
    pub state_calls: u64,
    /// What was written to the state, keys and values, in bytes.
    pub state_bytes: u64,
    /// The largest value that was written to the state, in bytes.
    pub state_value_bytes: u64,
    /// Requests by `http`.
    pub http_requests: u64,
    /// Time spent in `http`, in milliseconds.
    pub http_ms: u64,
}

/// The highest values of each kind over all calls of a plugin, on whatever threads they run.
#[derive(Debug, Default)]
pub(crate) struct Highest([AtomicU64; 12]);

impl Highest {
    pub(crate) fn record(&self, used: &Usage) {
        for (highest, used) in self.0.iter().zip(used.values()) {
            // Nearly always it is no record: looking is cheaper than writing.
            if used > highest.load(Ordering::Relaxed) {
                highest.fetch_max(used, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn read(&self) -> Usage {
        let [
            cpu_us,
            wall_us,
            memory_bytes,
            table_elements,
            actions,
            output_bytes,
            log_lines,
            state_calls,
            state_bytes,
            state_value_bytes,
            http_requests,
            http_ms,
        ] = std::array::from_fn(|index| self.0[index].load(Ordering::Relaxed));
        Usage {
            cpu_us,
            wall_us,
            memory_bytes,
            table_elements,
            actions,
            output_bytes,
            log_lines,
            state_calls,
            state_bytes,
            state_value_bytes,
            http_requests,
            http_ms,
        }
    }
}

impl Usage {
    /// In the order of [`Highest::read`].
    fn values(&self) -> [u64; 12] {
        [
            self.cpu_us,
            self.wall_us,
            self.memory_bytes,
            self.table_elements,
            self.actions,
            self.output_bytes,
            self.log_lines,
            self.state_calls,
            self.state_bytes,
            self.state_value_bytes,
            self.http_requests,
            self.http_ms,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_keeps_its_own_highest() {
        let highest = Highest::default();
        let used = |first: u64, last: u64| Usage {
            cpu_us: first,
            wall_us: 2,
            memory_bytes: 3,
            table_elements: 4,
            actions: 5,
            output_bytes: 6,
            log_lines: 7,
            state_calls: 8,
            state_bytes: 9,
            state_value_bytes: 10,
            http_requests: 11,
            http_ms: last,
        };
        highest.record(&used(1, 20));
        highest.record(&used(30, 12));
        assert_eq!(highest.read(), used(30, 20));
    }
}
