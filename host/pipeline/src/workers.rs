//! The threads that run plugin code.
//!
//! Jobs wait in one queue a plugin, and the plugins take turns: one with much to do cannot
//! starve another, and none may hold every thread.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

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

#[derive(Default)]
struct Queue {
    plugins: HashMap<PluginId, Line>,
    /// Plugins with waiting jobs, in the order of their turns.
    turns: VecDeque<PluginId>,
    stopped: bool,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Box<dyn Job>>,
    running: usize,
    limit: usize,
}

impl Workers {
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let threads = if threads == 0 {
            std::thread::available_parallelism()
                .map_or(2, std::num::NonZero::get)
                .max(2)
        } else {
            threads
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            threads,
        });
        let threads = (0..threads)
            .map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("plugin-{number}"))
                    .stack_size(STACK_BYTES)
                    .spawn(move || shared.work())
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// Queues a job. `one_at_a_time` keeps the plugin's jobs from running beside each other.
    pub(crate) fn submit(&self, plugin: PluginId, one_at_a_time: bool, job: Box<dyn Job>) {
        let mut queue = self.shared.lock();
        let line = queue.plugins.entry(plugin).or_default();
        line.limit = if one_at_a_time {
            1
        } else {
            (self.shared.threads - 1).max(1)
        };
        line.jobs.push_back(job);
        if line.jobs.len() == 1 {
            queue.turns.push_back(plugin);
        }
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
        while let Some((plugin, mut job)) = self.next() {
            let progress =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.run(SLICE)));
            let mut queue = self.lock();
            let line = queue.plugins.entry(plugin).or_default();
            line.running -= 1;
            match progress {
                Ok(Progress::More) => line.jobs.push_back(job),
                Ok(Progress::Done) => drop(job),
                // Dropping the job tells whoever waits for it; its lane tries again.
                Err(_) => {
                    tracing::error!(plugin = plugin.0, "the host panicked while it ran a plugin");
                    drop(job);
                }
            }
            // The plugin may have been passed over while it was at its limit.
            let waiting = !line.jobs.is_empty();
            let idle = line.running == 0;
            if waiting && !queue.turns.contains(&plugin) {
                queue.turns.push_back(plugin);
            }
            if !waiting && idle {
                queue.plugins.remove(&plugin);
            }
            drop(queue);
            if waiting {
                self.changed.notify_one();
            }
        }
    }

    fn next(&self) -> Option<(PluginId, Box<dyn Job>)> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            if let Some(found) = queue.take() {
                return Some(found);
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queue {
    fn take(&mut self) -> Option<(PluginId, Box<dyn Job>)> {
        let plugins = &mut self.plugins;
        let turn = self.turns.iter().position(|plugin| {
            plugins
                .get(plugin)
                .is_some_and(|line| line.running < line.limit && !line.jobs.is_empty())
        })?;
        let plugin = self.turns.remove(turn)?;
        let line = self.plugins.get_mut(&plugin)?;
        let job = line.jobs.pop_front()?;
        line.running += 1;
        if !line.jobs.is_empty() {
            self.turns.push_back(plugin);
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
        let workers = Workers::start(2).unwrap();
        let stop = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            workers.submit(PluginId(1), false, Box::new(Endless(Arc::clone(&stop))));
        }
        let (sender, told) = mpsc::channel();
        for number in 0..100 {
            workers.submit(PluginId(2), true, Box::new(Tell(sender.clone(), number)));
        }
        let order: Vec<usize> = (0..100)
            .map(|_| told.recv_timeout(Duration::from_secs(30)).unwrap())
            .collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        stop.store(1, Ordering::SeqCst);
    }
}
