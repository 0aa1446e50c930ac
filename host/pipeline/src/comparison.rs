//! Answers written down, so that two versions can be compared.

use carillon_sandbox::{Action, Answer, Fault, Notification, Recipient};
use carillon_store::{PluginId, Side, Source, TrialAnswer, TrialId};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::batch::Decoded;

/// Who answers in a trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answerer {
    pub(crate) trial: TrialId,
    pub(crate) side: Side,
    pub(crate) plugin: PluginId,
}

/// The answer to one event, as a trial keeps it.
pub(crate) fn answer(
    by: Answerer,
    decoded: &Decoded,
    source: Source,
    answer: &Result<Answer, Fault>,
    took_us: u32,
) -> TrialAnswer {
    let (outcome, detail, actions) = match answer {
        Ok(Answer::Handled(actions)) => {
            let actions: Vec<Value> = actions.iter().map(action).collect();
            ("handled", None, Value::from(actions).to_string())
        }
        Ok(Answer::Reject(reason)) => ("rejected", Some(reason.clone()), "[]".to_owned()),
        Ok(Answer::Retry(reason)) => ("retry", Some(reason.clone()), "[]".to_owned()),
        Err(fault) => (fault.code(), Some(fault.to_string()), "[]".to_owned()),
    };
    TrialAnswer {
        trial: by.trial,
        side: by.side,
        plugin: by.plugin,
        event_key: decoded.key,
        event_id: decoded.event.id.clone(),
        kind: decoded.event.kind.as_str().to_owned(),
        source,
        outcome: outcome.to_owned(),
        detail,
        digest: digest(&actions),
        actions,
        took_us,
    }
}

fn digest(actions: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&Sha256::digest(actions.as_bytes())[..8]);
    u64::from_be_bytes(first)
}

fn action(action: &Action) -> Value {
    match action {
        Action::Notify(notification) => json!({ "notify": shown(notification) }),
        Action::Withdraw(withdrawal) => json!({
            "withdraw": {
                "recipient": withdrawal.recipient.stream(),
                "collapseKey": withdrawal.collapse_key,
            }
        }),
    }
}

fn shown(notification: &Notification) -> Value {
    let Notification {
        recipient,
        category,
        title,
        body,
        data,
        link,
        channels,
        urgency,
        collapse_key,
        deliver_at_ms,
        expires_at_ms,
        digest,
    } = notification;
    let channels: Vec<&str> = channels.iter().map(|channel| channel.name()).collect();
    let mut shown = json!({
        "recipient": Recipient::stream(recipient),
        "category": category,
        "title": title,
        "body": body,
        "priority": format!("{urgency:?}").to_lowercase(),
    });
    let further = [
        ("data", data.as_ref().map(|data| json!(data))),
        ("link", link.as_ref().map(|link| json!(link))),
        ("channels", (!channels.is_empty()).then(|| json!(channels))),
        ("collapseKey", collapse_key.as_ref().map(|key| json!(key))),
        ("deliverAtMs", deliver_at_ms.map(|at| json!(at))),
        ("expiresAtMs", expires_at_ms.map(|at| json!(at))),
        (
            "digest",
            digest
                .as_ref()
                .map(|digest| json!({ "key": digest.key, "windowMs": digest.window_ms })),
        ),
    ];
    if let Value::Object(fields) = &mut shown {
        fields.extend(
            further
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?))),
        );
    }
    shown
}
