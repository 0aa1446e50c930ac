//! The lane that is built in for direct requests: `notification.requested` events say
//! themselves who hears what.

use carillon_events::Event;
use carillon_sandbox::{Action, Answer, Channel, Notification, Recipient, Urgency};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The name under which its decisions and notifications stand. No plugin can have it: the
/// names of plugins have no dot.
pub(crate) const NAME: &str = "carillon.direct";
pub(crate) const KIND: &str = "notification.requested";

/// As for plugins.
const MAX_NAME_BYTES: usize = 256;
const MAX_TITLE_CHARS: usize = 200;
const MAX_BODY_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    category: Option<String>,
    title: Option<String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    channels: Vec<String>,
    group: Option<String>,
    link: Option<String>,
    data: Option<Box<RawValue>>,
    collapse_key: Option<String>,
    priority: Option<String>,
}

/// Handles one request.
pub(crate) fn handle(event: &Event) -> Answer {
    match serde_json::from_str(event.data.get())
        .map_err(|error| format!("eventData is not a request: {error}"))
    {
        Ok(request) => notify(event, request).unwrap_or_else(Answer::Reject),
        Err(reason) => Answer::Reject(reason),
    }
}

fn notify(event: &Event, request: Request) -> Result<Answer, String> {
    let title = request
        .title
        .filter(|title| !title.is_empty())
        .ok_or("eventData.title is missing; it is what the recipient reads first")?;
    if let Some(name) = [
        &request.group,
        &request.category,
        &request.collapse_key,
        &request.link,
    ]
    .into_iter()
    .flatten()
    .find(|text| text.is_empty() || text.len() > MAX_NAME_BYTES || text.contains(char::is_control))
    {
        return Err(format!(
            "{name:?} cannot be a group, category, collapseKey or link: these have 1 to {MAX_NAME_BYTES} bytes and no control characters"
        ));
    }
    if title.chars().count() > MAX_TITLE_CHARS || request.body.len() > MAX_BODY_BYTES {
        return Err(format!(
            "eventData.title has more than {MAX_TITLE_CHARS} characters, or eventData.body more than {MAX_BODY_BYTES} bytes"
        ));
    }
    if title.contains(char::is_control) {
        return Err("eventData.title is more than one line of text".to_owned());
    }
    let recipient = match (request.group, &event.user_id) {
        (Some(group), _) => Recipient::Group(group),
        (None, Some(user)) => Recipient::User(user.clone()),
        (None, None) => {
            return Err("neither userId nor eventData.group says who is to be notified".to_owned());
        }
    };
    let channels = request
        .channels
        .iter()
        .map(|name| channel(name))
        .collect::<Result<_, _>>()?;
    Ok(Answer::Handled(vec![Action::Notify(Box::new(
        Notification {
            recipient,
            category: request
                .category
                .unwrap_or_else(|| "announcement".to_owned()),
            title,
            body: request.body,
            data: request.data,
            link: request.link,
            channels,
            urgency: urgency(request.priority.as_deref())?,
            collapse_key: request.collapse_key,
            deliver_at_ms: None,
            expires_at_ms: None,
            digest: None,
        },
    ))]))
}

fn channel(name: &str) -> Result<Channel, String> {
    let all = [
        Channel::InApp,
        Channel::Email,
        Channel::Sms,
        Channel::Push,
        Channel::Chat,
        Channel::Webhook,
    ];
    all.into_iter()
        .find(|channel| channel.name() == name)
        .ok_or_else(|| {
            format!(
                "eventData.channels names {name:?}; there are {}",
                all.map(Channel::name).join(", ")
            )
        })
}

fn urgency(name: Option<&str>) -> Result<Urgency, String> {
    match name {
        None | Some("normal") => Ok(Urgency::Normal),
        Some("low") => Ok(Urgency::Low),
        Some("high") => Ok(Urgency::High),
        Some("critical") => Ok(Urgency::Critical),
        Some(other) => Err(format!(
            "eventData.priority is {other:?}; there are low, normal, high and critical"
        )),
    }
}
