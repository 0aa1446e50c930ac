//! A host that panics while it runs a plugin.

use std::fmt::Debug;
use std::sync::Once;

use carillon_pipeline::RunAs;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::rig::{Rig, event, eventually};

/// Panics when a plugin logs a line with these words: code of the host, called by a guest.
struct Panics(&'static str);

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "plugin"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Words(&'static str, bool);
        impl Visit for Words {
            fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
                self.1 |= format!("{value:?}").contains(self.0);
            }
        }
        let mut words = Words(self.0, false);
        event.record(&mut words);
        assert!(!words.1, "the host panics, as the test wants it");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// For the whole process: nobody else writes these words.
fn panic_on_cue() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Panics("panics on host-panic")).unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_makes_the_host_panic_is_quarantined_like_one_that_traps() {
    panic_on_cue();
    let rig = Rig::start(&["trap-always", "echo"], &[]).await;
    let bad = (0..4).map(|number| event(&format!("host-panic-{number}"), "u", json!({})));
    rig.send(bad).await;
    rig.quarantined("trap-always").await;
    let summary = rig.plugin("trap-always");
    let reason = summary.reason.unwrap_or_default();
    assert!(reason.contains("10 faults in a row"), "{reason}");
    assert!(reason.contains("the host panicked"), "{reason}");
    rig.stream("u", 4).await;
    assert_eq!(rig.plugin("echo").state, "active");
    // Two events took four attempts each; probes take none.
    rig.probes_failed("trap-always", 3).await;
    assert_eq!(rig.dead_letters(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_makes_the_host_panic_gets_past_it_without_a_dead_letter() {
    panic_on_cue();
    let rig = Rig::start(&["greeter-v1"], &[]).await;
    let shadow = RunAs::Shadow { abort_after: None };
    rig.load("greeter-traps", shadow).await.unwrap();
    let sent = ["host-panic-0", "host-panic-1", "last"];
    rig.send(sent.map(|id| event(id, "u", json!({})))).await;
    rig.stream("u", 3).await;
    eventually("the shadow to have answered the last", async || {
        let report = rig.operations().diff("greeter", None, 10).await.unwrap();
        (report.compared == 1).then_some(())
    })
    .await;
    let letters = rig.given_up().await;
    assert!(letters.is_empty(), "{letters:?}");
    assert_eq!(rig.plugin("greeter").state, "active");
}
