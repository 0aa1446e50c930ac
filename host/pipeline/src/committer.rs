//! The group commit: everything that is ready goes into one transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_store::{PluginId, Share, ShareError, Store};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::backoff::pause;
use crate::state_space::{Standing, Ticket};

/// A share on its way into the store.
struct Waiting {
    share: Share,
    tickets: Vec<Ticket>,
    answer: oneshot::Sender<Result<(), Failed>>,
}

/// A share that was not written. Nothing of it stands.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: ShareError,
    /// Given back, so that parts of it can be written another way.
    pub(crate) share: Share,
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Hands shares to the task that writes them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Committer {
    queue: mpsc::Sender<Waiting>,
}

impl Committer {
    /// Starts the task. It ends when the last committer is dropped.
    pub(crate) fn start(store: Store, group_shares: usize, voided: Arc<Notify>) -> Self {
        let (queue, receiver) = mpsc::channel(group_shares);
        tokio::spawn(run(store, receiver, group_shares, voided));
        Self { queue }
    }

    /// Writes a share, together with whatever else is ready, and answers what became of it. While
    /// the store cannot write, this waits. `None`: the host is shutting down.
    pub(crate) async fn commit(
        &self,
        share: Share,
        tickets: Vec<Ticket>,
    ) -> Option<Result<(), Failed>> {
        let (answer, result) = oneshot::channel();
        self.queue
            .send(Waiting {
                share,
                tickets,
                answer,
            })
            .await
            .ok()?;
        result.await.ok()
    }
}

async fn run(
    store: Store,
    mut queue: mpsc::Receiver<Waiting>,
    group_shares: usize,
    voided: Arc<Notify>,
) {
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut failures: u32 = 0;
    loop {
        let open = tokio::select! {
            arrived = queue.recv_many(&mut waiting, group_shares) => arrived > 0,
            () = voided.notified() => true,
        };
        while let Some(group) = ready(&mut waiting) {
            let back = write(&store, group).await;
            if back.is_empty() {
                failures = 0;
            } else {
                // Nothing can be written: the shares keep their places and try again.
                waiting.extend(back);
                failures = failures.saturating_add(1);
                metrics::counter!("carillon_store_unavailable_total").increment(1);
                tokio::time::sleep(pause(failures, FIRST_PAUSE, LONGEST_PAUSE)).await;
                // Whoever is gone needs no answer; the store decides about the rest.
                waiting.retain(|waiting| !waiting.answer.is_closed());
            }
            // What has arrived meanwhile goes with the next group.
            while waiting.len() < group_shares {
                match queue.try_recv() {
                    Ok(more) => waiting.push(more),
                    Err(_) => break,
                }
            }
        }
        if !open {
            return;
        }
    }
}

/// Takes what can be written now: everything but shares whose plugin state follows on a share
/// that has not arrived yet. Shares whose state is void are answered at once.
fn ready(waiting: &mut Vec<Waiting>) -> Option<Vec<Waiting>> {
    let mut index = 0;
    while index < waiting.len() {
        if waiting[index]
            .tickets
            .iter()
            .any(|ticket| ticket.standing() == Standing::Void)
        {
            let void = waiting.swap_remove(index);
            // Its lane may be gone.
            let _ = void.answer.send(Err(Failed {
                error: ShareError::StateConflict,
                share: void.share,
            }));
        } else {
            index += 1;
        }
    }
    let mut taken = vec![true; waiting.len()];
    loop {
        let places = places(waiting, &taken);
        let gap = (0..waiting.len()).find(|i| {
            taken[*i]
                && waiting[*i]
                    .tickets
                    .iter()
                    .any(|ticket| match ticket.standing() {
                        Standing::Void => true,
                        Standing::After(others) => !follows(places.get(&ticket.plugin()), others),
                    })
        });
        match gap {
            None => break,
            Some(index) => taken[index] = false,
        }
    }
    if !taken.contains(&true) {
        return None;
    }
    let mut keep = taken.iter().map(|taken| !taken);
    let (kept, group): (Vec<_>, Vec<_>) = std::mem::take(waiting)
        .into_iter()
        .partition(|_| keep.next().unwrap_or(false));
    *waiting = kept;
    Some(group)
}

/// How many shares each ticket of a plugin has to follow, sorted.
fn places(waiting: &[Waiting], taken: &[bool]) -> HashMap<PluginId, Vec<i64>> {
    let mut places: HashMap<PluginId, Vec<i64>> = HashMap::new();
    for (_, share) in taken.iter().zip(waiting).filter(|(taken, _)| **taken) {
        for ticket in &share.tickets {
            if let Standing::After(others) = ticket.standing() {
                places.entry(ticket.plugin()).or_default().push(others);
            }
        }
    }
    for places in places.values_mut() {
        places.sort_unstable();
    }
    places
}

/// Whether all places below `others` are taken.
fn follows(places: Option<&Vec<i64>>, others: i64) -> bool {
    places.is_some_and(|places| {
        places
            .iter()
            .take_while(|place| **place < others)
            .enumerate()
            .all(|(n, place)| i64::try_from(n) == Ok(*place))
            && places.iter().filter(|place| **place < others).count()
                == usize::try_from(others).unwrap_or(usize::MAX)
    })
}

/// Writes a group; gives back what the store could not write at the moment.
async fn write(store: &Store, group: Vec<Waiting>) -> Vec<Waiting> {
    let mut shares = Vec::with_capacity(group.len());
    let mut owners = Vec::with_capacity(group.len());
    for waiting in group {
        shares.push(waiting.share);
        owners.push((waiting.tickets, waiting.answer));
    }
    let results = store.commit(&shares).await;
    let mut back = Vec::new();
    for ((share, (tickets, answer)), result) in shares.into_iter().zip(owners).zip(results) {
        let result = match result {
            Ok(()) => {
                for ticket in tickets {
                    ticket.committed();
                }
                Ok(())
            }
            Err(ShareError::Unavailable(reason)) => {
                tracing::error!(
                    reason,
                    "the store cannot write; nothing is lost, it is tried again"
                );
                back.push(Waiting {
                    share,
                    tickets,
                    answer,
                });
                continue;
            }
            Err(error) => Err(Failed { error, share }),
        };
        // The lane may be gone; what is written is written.
        let _ = answer.send(result);
    }
    back
}
