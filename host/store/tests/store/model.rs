//! Random sequences of effects in random groups, against a simple model that knows no groups.

use std::collections::{BTreeMap, BTreeSet};

use carillon_store::{Effect, NewNotification, NewWithdrawal, NotificationId};
use proptest::prelude::*;

use crate::world::{FAR_MS, THEN_MS, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    Later,
    Expired,
    Never,
}

#[derive(Debug, Clone)]
enum Op {
    Notify {
        stream: u8,
        plugin: u8,
        key: Option<u8>,
        when: When,
    },
    Withdraw {
        stream: u8,
        plugin: u8,
        key: u8,
    },
    /// An earlier effect comes once more.
    Repeat(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let when = prop_oneof![5 => Just(When::Now), 3 => Just(When::Later), 1 => Just(When::Expired), 1 => Just(When::Never)];
    prop_oneof![
        6 => (0..2_u8, 0..2_u8, prop::option::weighted(0.8, 0..2_u8), when)
            .prop_map(|(stream, plugin, key, when)| Op::Notify { stream, plugin, key, when }),
        3 => (0..2_u8, 0..2_u8, 0..2_u8).prop_map(|(stream, plugin, key)| Op::Withdraw { stream, plugin, key }),
        1 => any::<prop::sample::Index>().prop_map(Op::Repeat),
    ]
}

/// What should stand, told one effect at a time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model {
    /// The streams, by event; a withdrawal with a minus.
    streams: BTreeMap<u8, Vec<String>>,
    notifications: Vec<Shown>,
    stored: BTreeSet<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Shown {
    event: usize,
    stream: u8,
    plugin: u8,
    key: Option<u8>,
    seen: bool,
    stands: bool,
}

impl Model {
    fn apply(&mut self, event: usize, op: &Op) {
        match *op {
            Op::Repeat(_) => {}
            Op::Notify {
                stream,
                plugin,
                key,
                when,
            } => {
                if !self.stored.insert(event) {
                    return;
                }
                if key.is_some() && when != When::Never {
                    for older in self.with_key(stream, plugin, key) {
                        older.stands &= when == When::Later && older.seen;
                    }
                }
                let (seen, stands) = (when == When::Now, matches!(when, When::Now | When::Later));
                self.notifications.push(Shown {
                    event,
                    stream,
                    plugin,
                    key,
                    seen,
                    stands,
                });
                if seen {
                    self.streams
                        .entry(stream)
                        .or_default()
                        .push(format!("e{event}"));
                }
            }
            Op::Withdraw {
                stream,
                plugin,
                key,
            } => {
                if self.stored.contains(&event) {
                    return;
                }
                let mut seen = false;
                for older in self.with_key(stream, plugin, Some(key)) {
                    seen |= older.stands && older.seen;
                    older.stands = false;
                }
                if seen {
                    self.stored.insert(event);
                    self.streams
                        .entry(stream)
                        .or_default()
                        .push(format!("-e{event}"));
                }
            }
        }
    }

    fn with_key(
        &mut self,
        stream: u8,
        plugin: u8,
        key: Option<u8>,
    ) -> impl Iterator<Item = &mut Shown> {
        self.notifications
            .iter_mut()
            .filter(move |shown| (shown.stream, shown.plugin, shown.key) == (stream, plugin, key))
    }

    fn inbox(&self, stream: u8) -> BTreeSet<String> {
        let standing = |shown: &&Shown| shown.stream == stream && shown.stands && shown.seen;
        self.notifications
            .iter()
            .filter(standing)
            .map(|shown| format!("e{}", shown.event))
            .collect()
    }

    fn waits(&self) -> bool {
        self.notifications
            .iter()
            .any(|shown| shown.stands && !shown.seen)
    }
}

fn effect(world: &World, event: usize, op: &Op) -> Effect {
    let name = format!("e{event}");
    match *op {
        Op::Notify {
            stream,
            plugin,
            key,
            when,
        } => {
            let base = world.notification(&name);
            let (deliver_at_ms, expires_at_ms) = match when {
                When::Now => (None, None),
                When::Later => (Some(FAR_MS), None),
                When::Expired => (None, Some(THEN_MS)),
                When::Never => (Some(FAR_MS), Some(FAR_MS - 1)),
            };
            Effect::Notify(Box::new(NewNotification {
                stream: format!("user:{stream}").into(),
                plugin: world.plugins[usize::from(plugin)],
                collapse_key: key.map(|key| format!("k{key}")),
                deliver_at_ms,
                expires_at_ms,
                ..base
            }))
        }
        Op::Withdraw {
            stream,
            plugin,
            key,
        } => {
            let base = world.notification(&name);
            Effect::Withdraw(Box::new(NewWithdrawal {
                id: NotificationId::derive(THEN_MS, &name, "one", "", "\0withdrawal", None, 0),
                stream: format!("user:{stream}").into(),
                plugin: world.plugins[usize::from(plugin)],
                plugin_name: base.plugin_name,
                version: base.version,
                event_id: name,
                kind: base.kind,
                source: base.source,
                collapse_key: format!("k{key}"),
                correlation_id: None,
            }))
        }
        Op::Repeat(_) => unreachable!("resolved before"),
    }
}

/// The events of a sequence: repeats are resolved to what they repeat.
fn resolved(ops: &[Op]) -> Vec<(usize, &Op)> {
    let mut events: Vec<(usize, &Op)> = Vec::new();
    for (event, op) in ops.iter().enumerate() {
        match op {
            Op::Repeat(_) if events.is_empty() => {}
            Op::Repeat(index) => events.push(events[index.index(events.len())]),
            _ => events.push((event, op)),
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_effects_are_grouped_they_end_as_if_they_had_come_one_by_one(
        ops in prop::collection::vec(op(), 1..60),
        cuts in prop::collection::vec(1..12_usize, 60),
        per_share in 1..4_usize,
    ) {
        let events = resolved(&ops);
        let mut model = Model::default();
        for (event, op) in &events {
            model.apply(*event, op);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut rest = events.as_slice();
            let mut partition = 0;
            for cut in cuts {
                let (group, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                let shares: Vec<_> = group
                    .chunks(per_share)
                    .map(|chunk| {
                        partition += 1;
                        world.share_with(partition, chunk.iter().map(|(event, op)| effect(&world, *event, op)).collect())
                    })
                    .collect();
                for result in world.store.commit(&shares).await {
                    prop_assert_eq!(result, Ok(()));
                }
            }
            for stream in 0..2 {
                let name = format!("user:{stream}");
                let expected: Vec<(u64, String)> =
                    (1..).zip(model.streams.get(&stream).cloned().unwrap_or_default()).collect();
                prop_assert_eq!(world.history(&name).await, expected);
                let inbox: BTreeSet<String> = world.inbox(&[&name]).await.into_iter().collect();
                prop_assert_eq!(inbox, model.inbox(stream));
            }
            prop_assert_eq!(world.store.next_due_ms().await.unwrap().is_some(), model.waits());
            let heard: Vec<_> = world.heard().iter().map(|p| (p.stream.to_string(), p.offset)).collect();
            for stream in 0..2 {
                let name = format!("user:{stream}");
                let offsets: Vec<u64> = heard.iter().filter(|(s, _)| *s == name).map(|(_, offset)| *offset).collect();
                prop_assert_eq!(offsets.len(), model.streams.get(&stream).map_or(0, Vec::len));
                prop_assert!(offsets.iter().copied().eq(1..=offsets.len() as u64));
            }
            Ok(())
        })?;
    }
}
