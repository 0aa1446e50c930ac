//! Requests of plugins, to real servers on loopback.

mod bounds;
mod headers;
mod hosts;
mod redirects;
mod surroundings;

use std::sync::Arc;

use carillon_sandbox::{Egress, Grants, HttpGrant, NoLog, NoState, Plugin, Refusal, Sandbox};
use serde_json::{Value, json};

use crate::guests::{event, guest, notified, sandbox, sandbox_with};
use crate::name_server::NameServer;

/// A grant as it stands in the configuration.
#[track_caller]
pub(crate) fn grant(written: Value) -> HttpGrant {
    serde_json::from_value(written).unwrap()
}

/// A grant of this machine's own addresses, for a server that a test has started.
pub(crate) fn local(allow: &str) -> HttpGrant {
    grant(json!({"allow": [allow], "addresses": ["127.0.0.0/8"]}))
}

pub(crate) fn try_caller(sandbox: &Sandbox, http: HttpGrant) -> Result<Plugin, Refusal> {
    let grants = Grants {
        http,
        ..Grants::default()
    };
    sandbox
        .examine(&guest("http-caller"))?
        .ready(grants, Arc::new(NoLog))
}

#[track_caller]
pub(crate) fn caller(http: HttpGrant) -> Plugin {
    try_caller(&sandbox(), http).unwrap()
}

/// A plugin whose names are resolved by this server.
#[track_caller]
pub(crate) fn caller_asking(name_server: &NameServer, http: HttpGrant) -> Plugin {
    let sandbox = sandbox_with(|config| config.nameservers = vec![name_server.address]);
    try_caller(&sandbox, http).unwrap()
}

/// What the plugin says came of a request.
#[track_caller]
pub(crate) fn said(plugin: &Plugin, data: &Value) -> String {
    said_with(plugin, Egress::Open, data).0
}

/// The same, and the body of the last response.
#[track_caller]
pub(crate) fn said_with(plugin: &Plugin, egress: Egress, data: &Value) -> (String, String) {
    let data = data.to_string();
    let call = plugin
        .session(egress)
        .handle(&event(&data), Box::new(NoState));
    let notification = notified(call.answer);
    (notification.title, notification.body)
}

/// What came of each of many requests.
#[track_caller]
pub(crate) fn all_said(plugin: &Plugin, data: &Value) -> Vec<String> {
    let data = data.to_string();
    let call = plugin
        .session(Egress::Open)
        .handle(&event(&data), Box::new(NoState));
    let notification = notified(call.answer);
    serde_json::from_str(notification.data.unwrap().get()).unwrap()
}
