//! The threads that run plugin code.
//!
//! Jobs wait in one queue a plugin, and the plugins take turns: one with much to do cannot
//! starve another, and none may hold every thread. Jobs of lanes at the head go before those of
//! lanes that catch up, but leave these a share of the time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use carillon_store::PluginId;

/// A guest's stack lies on the thread's, and the host's own frames come on top.
const STACK_BYTES: usize = 4 << 20;
/// How long a job runs before others get their turn.
const SLICE: Duration = Duration::from_millis(5);

/// What a job has come to.
pub(crate) enum Progress {
    /// It is done.
    Done,
    /// It has used up its slice.
    More,
}

/// Whose work it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Of a lane at the head.
    Head,
    /// Of a lane that is away from it, or of a replay.
    Away,
}

/// Work for one plugin.
pub(crate) trait Job: Send {
    fn run(&mut self, slice: Duration) -> Progress;
}

/// The pool. Dropping it ends the threads after the jobs that run now.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    threads: usize,
}

struct Queue {
    plugins: HashMap<PluginId, Line>,
    /// Plugins with waiting jobs of each class, in the order of their turns.
    head_turns: VecDeque<PluginId>,
    away_turns: VecDeque<PluginId>,
    shares: Shares,
    stopped: bool,
}

/// The jobs of one plugin.
#[derive(Default)]
struct Line {
    head: VecDeque<Box<dyn Job>>,
    away: VecDeque<Box<dyn Job>>,
    running: usize,
    limit: usize,
}

impl Line {
    fn jobs(&mut self, class: Class) -> &mut VecDeque<Box<dyn Job>> {
        match class {
            Class::Head => &mut self.head,
            Class::Away => &mut self.away,
        }
    }
}

/// How the time of the threads was shared lately.
struct Shares {
    /// What lanes away from the head may take while the head has work, in percent.
    away_percent: u64,
    head_us: u64,
    away_us: u64,
}

impl Shares {
    /// Old times count less and less.
    const MEMORY_US: u64 = 1_000_000;

    fn spent(&mut self, class: Class, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(Self::MEMORY_US);
        match class {
            Class::Head => self.head_us += us,
            Class::Away => self.away_us += us,
        }
        if self.head_us + self.away_us > Self::MEMORY_US {
            self.head_us /= 2;
            self.away_us /= 2;
        }
    }

    /// Who comes first where both have work.
    fn first(&self) -> Class {
        let all = self.head_us + self.away_us;
        if self.away_us.saturating_mul(100) < self.away_percent.saturating_mul(all) {
            Class::Away
        } else {
            Class::Head
        }
    }
}

impl Workers {
    /// `away_percent`: what lanes away from the head may take of the time while the head has work.
    pub(crate) fn start(name: &str, threads: usize, away_percent: u8) -> std::io::Result<Self> {
        let threads = if threads == 0 {
            std::thread::available_parallelism()
                .map_or(2, std::num::NonZero::get)
                .max(2)
        } else {
            threads
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                plugins: HashMap::new(),
                head_turns: VecDeque::new(),
                away_turns: VecDeque::new(),
                shares: Shares {
                    away_percent: u64::from(away_percent),
                    head_us: 0,
                    away_us: 0,
                },
                stopped: false,
            }),
            changed: Condvar::new(),
            threads,
        });
        let threads = (0..threads)
            .map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("{name}-{number}"))
                    .stack_size(STACK_BYTES)
                    .spawn(move || shared.work())
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// Queues a job. `one_at_a_time` keeps the plugin's jobs from running beside each other.
    pub(crate) fn submit(
        &self,
        plugin: PluginId,
        class: Class,
        one_at_a_time: bool,
        job: Box<dyn Job>,
    ) {
        let mut queue = self.shared.lock();
        let line = queue.plugins.entry(plugin).or_default();
        line.limit = if one_at_a_time {
            1
        } else {
            (self.shared.threads - 1).max(1)
        };
        line.jobs(class).push_back(job);
        queue.wait_for_turn(plugin, class);
        drop(queue);
        self.shared.changed.notify_one();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((plugin, class, mut job)) = self.next() {
            let began = Instant::now();
            let progress =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run(SLICE)));
            let mut queue = self.lock();
            queue.shares.spent(class, began.elapsed());
            let line = queue.plugins.entry(plugin).or_default();
            line.running -= 1;
            match progress {
                Ok(Progress::More) => line.jobs(class).push_back(job),
                Ok(Progress::Done) => drop(job),
                // Dropping the job tells whoever waits for it; its lane tries again.
                Err(_) => {
                    tracing::error!(plugin = plugin.0, "the host panicked while it ran a plugin");
                    drop(job);
                }
            }
            // The plugin may have been passed over while it was at its limit.
            let waiting =
                [Class::Head, Class::Away].map(|class| (class, !line.jobs(class).is_empty()));
            let idle = line.running == 0 && waiting.iter().all(|(_, waiting)| !waiting);
            for (class, _) in waiting.into_iter().filter(|(_, waiting)| *waiting) {
                queue.wait_for_turn(plugin, class);
            }
            if idle {
                queue.plugins.remove(&plugin);
            }
            drop(queue);
            if waiting.iter().any(|(_, waiting)| *waiting) {
                self.changed.notify_one();
            }
        }
    }

    fn next(&self) -> Option<(PluginId, Class, Box<dyn Job>)> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            let first = queue.shares.first();
            let second = match first {
                Class::Head => Class::Away,
                Class::Away => Class::Head,
            };
            let found = queue
                .take(first)
                .map(|(plugin, job)| (plugin, first, job))
                .or_else(|| {
                    queue
                        .take(second)
                        .map(|(plugin, job)| (plugin, second, job))
                });
            if found.is_some() {
                return found;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn turns(&mut self, class: Class) -> &mut VecDeque<PluginId> {
        match class {
            Class::Head => &mut self.head_turns,
            Class::Away => &mut self.away_turns,
        }
    }

    fn wait_for_turn(&mut self, plugin: PluginId, class: Class) {
        let turns = self.turns(class);
        if !turns.contains(&plugin) {
            turns.push_back(plugin);
        }
    }

    fn take(&mut self, class: Class) -> Option<(PluginId, Box<dyn Job>)> {
        let plugins = &mut self.plugins;
        let turns = match class {
            Class::Head => &mut self.head_turns,
            Class::Away => &mut self.away_turns,
        };
        let turn = turns.iter().position(|plugin| {
            plugins
                .get_mut(plugin)
                .is_some_and(|line| line.running < line.limit && !line.jobs(class).is_empty())
        })?;
        let plugin = turns.remove(turn)?;
        let line = plugins.get_mut(&plugin)?;
        let job = line.jobs(class).pop_front()?;
        line.running += 1;
        if !line.jobs(class).is_empty() {
            turns.push_back(plugin);
        }
        Some((plugin, job))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    struct Endless(Arc<AtomicUsize>);

    impl Job for Endless {
        fn run(&mut self, _: Duration) -> Progress {
            std::thread::yield_now();
            if self.0.load(Ordering::SeqCst) == 0 {
                Progress::More
            } else {
                Progress::Done
            }
        }
    }

    struct Tell(mpsc::Sender<usize>, usize);

    impl Job for Tell {
        fn run(&mut self, _: Duration) -> Progress {
            self.0.send(self.1).unwrap();
            Progress::Done
        }
    }

    #[test]
    fn a_plugin_with_endless_work_does_not_hold_every_thread() {
        let workers = Workers::start("test", 2, 50).unwrap();
        let stop = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            workers.submit(
                PluginId(1),
                Class::Head,
                false,
                Box::new(Endless(Arc::clone(&stop))),
            );
        }
        let (sender, told) = mpsc::channel();
        for number in 0..100 {
            workers.submit(
                PluginId(2),
                Class::Head,
                true,
                Box::new(Tell(sender.clone(), number)),
            );
        }
        let order: Vec<usize> = (0..100)
            .map(|_| told.recv_timeout(Duration::from_secs(30)).unwrap())
            .collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        stop.store(1, Ordering::SeqCst);
    }

    /// Takes about a millisecond, and tells whose it was.
    struct Spin(mpsc::Sender<Class>, Class);

    impl Job for Spin {
        fn run(&mut self, _: Duration) -> Progress {
            let until = Instant::now() + Duration::from_millis(1);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            self.0.send(self.1).unwrap();
            Progress::Done
        }
    }

    #[test]
    fn catching_up_takes_no_more_than_its_share_while_the_head_has_work() {
        let workers = Workers::start("test", 2, 20).unwrap();
        let (sender, told) = mpsc::channel();
        for number in 0..200 {
            for (plugin, class) in [(1, Class::Away), (2, Class::Head), (3, Class::Head)] {
                let job = Spin(sender.clone(), class);
                workers.submit(
                    PluginId(plugin * 1_000 + number),
                    class,
                    false,
                    Box::new(job),
                );
            }
        }
        let order: Vec<Class> = (0..600)
            .map(|_| told.recv_timeout(Duration::from_secs(30)).unwrap())
            .collect();
        let away_in = |jobs: &[Class]| jobs.iter().filter(|class| **class == Class::Away).count();
        let early = away_in(&order[..200]);
        assert!(
            (1..=90).contains(&early),
            "{early} of the first 200 jobs were of lanes that catch up; a fifth is theirs"
        );
        assert_eq!(away_in(&order), 200, "none is left behind");
    }
}
