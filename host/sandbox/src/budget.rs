//! The time that a call may take.
//!
//! The engine's epoch rises every millisecond while calls run, and a running guest looks at
//! it in every loop and function. The first look takes the thread's clocks, so a short
//! call reads no clock at all; the budget is counted from there, which gives a call at most
//! one tick more than its limit. What the host's own store takes to answer is not counted
//! against the guest's wall clock: a slow disk must not fail an innocent plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::model::Fault;

const TICK: Duration = Duration::from_millis(1);
/// How long the ticker goes on without calls. Between the batches of a steady flow it need not
/// be woken, which would cost a system call each time; a quiet host is quiet soon.
const IDLE_TICKS: u32 = 50;

/// The clocks of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    cpu: Duration,
    wall: Duration,
    /// Spent waiting for the host since `began`.
    excused: Duration,
    /// Spent waiting for the host, all in all.
    waited: Duration,
    began: Option<(Duration, Instant)>,
}

impl Budget {
    pub(crate) fn new(cpu_ms: u64, wall_ms: u64) -> Self {
        Self {
            cpu: Duration::from_millis(cpu_ms),
            wall: Duration::from_millis(wall_ms),
            excused: Duration::ZERO,
            waited: Duration::ZERO,
            began: None,
        }
    }

    /// Looks at the clocks; answers the fault once the budget is used up.
    pub(crate) fn tick(&mut self) -> Option<Fault> {
        let cpu_now = thread_cpu_time();
        let now = Instant::now();
        let (cpu_began, began) = *self.began.get_or_insert((cpu_now, now));
        if cpu_now.saturating_sub(cpu_began) >= self.cpu {
            return Some(Fault::CpuTime {
                limit_ms: millis(self.cpu),
            });
        }
        if now.duration_since(began).saturating_sub(self.excused) >= self.wall {
            return Some(Fault::WallClock {
                limit_ms: millis(self.wall),
            });
        }
        None
    }

    /// The guest waited this long for the host.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        // The guest looks at the epoch in its own code only, so a wait lies before the first
        // look, and was never counted, or after it.
        if self.began.is_some() {
            self.excused += waited;
        }
        self.waited += waited;
    }

    /// Processor time and wall clock of a call that took so long, in microseconds, both without
    /// what it waited for the host. The processor time is measured since the first look at the
    /// clocks; what was before, which is a tick at most, and calls without a look, are bounded by
    /// the wall clock.
    pub(crate) fn used_us(&self, took: Duration) -> (u64, u64) {
        let wall = micros(took.saturating_sub(self.waited));
        let Some((cpu_began, began)) = self.began else {
            return (wall, wall);
        };
        let before = took
            .saturating_sub(began.elapsed())
            .saturating_sub(self.waited.saturating_sub(self.excused));
        let since = thread_cpu_time().saturating_sub(cpu_began);
        (micros(before + since), wall)
    }
}

/// Cheaper than with 128 bits, on the way of every call.
fn micros(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000)
        .saturating_add(duration.subsec_micros().into())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Raises the epoch while calls run, and sleeps while none do.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

struct Shared {
    calls: AtomicUsize,
    stop: AtomicBool,
}

/// While one of these lives, the epoch rises.
pub(crate) struct Ticking<'a>(&'a Ticker);

impl Ticker {
    pub(crate) fn start(raise: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            calls: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let seen = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("epoch-ticker".to_owned())
            .spawn(move || {
                let mut idle_ticks = 0;
                while !seen.stop.load(Ordering::Acquire) {
                    idle_ticks = match seen.calls.load(Ordering::Acquire) {
                        0 => idle_ticks + 1,
                        _ => 0,
                    };
                    if idle_ticks > IDLE_TICKS {
                        // No wake-up is lost: an `unpark` between the look above and here makes
                        // this return at once.
                        std::thread::park();
                        idle_ticks = 0;
                    } else {
                        std::thread::sleep(TICK);
                        raise();
                    }
                }
            })?;
        let thread = handle.thread().clone();
        Ok(Self {
            shared,
            thread,
            handle: Some(handle),
        })
    }

    pub(crate) fn ticking(&self) -> Ticking<'_> {
        if self.shared.calls.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Ticking(self)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.shared.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // The thread runs nothing that panics.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget whose call began this long ago by the wall clock.
    fn begun(wall_ms: u64, ago_ms: u64) -> Budget {
        let mut budget = Budget::new(60_000, wall_ms);
        let began = Instant::now() - Duration::from_millis(ago_ms);
        budget.began = Some((thread_cpu_time(), began));
        budget
    }

    #[test]
    fn a_call_is_over_when_the_wall_clock_says_so() {
        assert_eq!(begun(3_600_000, 1_000).tick(), None);
        assert_eq!(
            begun(1_000, 1_000).tick(),
            Some(Fault::WallClock { limit_ms: 1_000 })
        );
    }

    #[test]
    fn waiting_for_the_host_is_not_the_guests_time() {
        let mut budget = begun(60_000, 90_000);
        budget.excuse(Duration::from_secs(80));
        assert_eq!(budget.tick(), None);
        // What was waited before the first look was never counted.
        let mut budget = Budget::new(60_000, 60_000);
        budget.excuse(Duration::from_secs(80));
        assert_eq!(budget.excused, Duration::ZERO);
    }

    #[test]
    fn what_was_used_is_told_without_what_was_waited() {
        let second = Duration::from_secs(1);
        let mut short = Budget::new(1, 1);
        assert_eq!(short.used_us(second), (1_000_000, 1_000_000));
        short.excuse(second / 4);
        assert_eq!(short.used_us(second), (750_000, 750_000));
        // It began 90 s ago, waited for 80 s of them, and has hardly used the processor since.
        let mut long = begun(60_000, 90_000);
        long.excuse(80 * second);
        let (cpu_us, wall_us) = long.used_us(90 * second);
        assert_eq!(wall_us, 10_000_000);
        assert!(cpu_us < 1_000_000, "{cpu_us}");
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }

    #[test]
    fn the_epoch_rises_again_however_often_the_ticker_goes_to_sleep() {
        let epoch = Arc::new(AtomicUsize::new(0));
        let raised = Arc::clone(&epoch);
        let ticker = Ticker::start(move || {
            raised.fetch_add(1, Ordering::SeqCst);
        });
        let Ok(ticker) = ticker else {
            panic!("no thread")
        };
        let wait_for = |wanted: usize| {
            let patience = Instant::now() + Duration::from_secs(30);
            while epoch.load(Ordering::SeqCst) < wanted {
                assert!(Instant::now() < patience, "the ticker sleeps");
                std::thread::yield_now();
            }
        };
        for _ in 0..10 {
            let ticking = ticker.ticking();
            wait_for(epoch.load(Ordering::SeqCst) + 3);
            drop(ticking);
            // The next call begins in the very moment in which the ticker lies down.
            wait_for(epoch.load(Ordering::SeqCst) + IDLE_TICKS as usize - 1);
        }
    }
}
