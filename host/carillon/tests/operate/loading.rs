//! Plugins are loaded from files and URLs, swapped and rolled back, and are there after a restart.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};

use crate::host::{Host, guest};
use crate::web::{Page, serve};

#[tokio::test]
async fn a_plugin_is_swapped_and_rolled_back_and_what_ran_runs_after_a_restart() {
    let host = Host::start().await;
    let loaded = host.ok(&["plugin", "load", &guest("greeter-v1")]).await;
    assert!(
        loaded.starts_with("greeter 1.0.0 is loaded, which is new here.\n"),
        "{loaded}"
    );
    let swapped = host.ok(&["plugin", "load", &guest("greeter-v2")]).await;
    assert!(
        swapped.starts_with("greeter 2.0.0 is loaded, in place of 1.0.0.\n"),
        "{swapped}"
    );
    assert!(swapped.contains("old calls drained in "), "{swapped}");

    let refused = host.run(&["plugin", "load", &guest("wrong-world")]).await;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.error.contains("does not export"), "{refused:?}");

    host.ok(&["plugin", "rollback", "greeter", "--to", "1.0.0"])
        .await;
    host.ok(&["plugin", "pause", "greeter"]).await;
    let versions = host.ok(&["plugin", "versions", "greeter"]).await;
    let first = versions.lines().nth(1).unwrap();
    assert!(
        first.contains("1.0.0") && first.contains("rollback"),
        "{versions}"
    );

    let host = host.restart().await;
    let list = host.ok(&["plugin", "list"]).await;
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["greeter", "1.0.0", "paused"], "{list}");
    let shown = host.ok(&["plugin", "show", "greeter"]).await;
    assert!(shown.contains("by local, load 3"), "{shown}");
    assert!(shown.contains("state          paused since "), "{shown}");
    let json = host
        .run(&["plugin", "show", "greeter", "--json"])
        .await
        .json();
    assert_eq!(
        (&json["name"], &json["load"]),
        (&"greeter".into(), &3.into())
    );

    let removed = host.ok(&["plugin", "remove", "greeter", "--state"]).await;
    assert!(removed.contains("its state is deleted"), "{removed}");
    let audit = host.ok(&["audit", "--plugin", "greeter"]).await;
    assert!(audit.lines().nth(1).unwrap().contains("remove"), "{audit}");
}

#[tokio::test]
async fn a_file_that_is_dropped_into_the_folder_is_loaded() {
    let host = Host::start().await;
    std::fs::copy(
        guest("greeter-v1"),
        host.data().join("plugins/greeter.wasm"),
    )
    .unwrap();
    let list = host
        .eventually(&["plugin", "list"], |list| {
            list["items"][0]["name"] == "greeter"
        })
        .await;
    assert_eq!(list["items"][0]["version"], "1.0.0");
}

#[tokio::test]
async fn settings_are_shown_changed_and_taken_back() {
    let host = Host::start().await;
    host.ok(&["plugin", "load", &guest("slow")]).await;
    let row = async || {
        let shown = host.ok(&["plugin", "settings", "slow"]).await;
        let row = shown.lines().nth(1).unwrap().to_owned();
        row.split_whitespace()
            .take(3)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row().await, ["rounds", "13500000", "default"]);
    let changed = host.ok(&["plugin", "settings", "slow", "rounds=10"]).await;
    assert!(changed.contains("runs with the new settings"), "{changed}");
    assert_eq!(row().await, ["rounds", "10", "operator"]);
    host.ok(&["plugin", "settings", "slow", "rounds-"]).await;
    assert_eq!(row().await, ["rounds", "13500000", "default"]);
    let refused = host.run(&["plugin", "settings", "slow", "speed=1"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.error.contains("it reads rounds"), "{refused:?}");
}

#[tokio::test]
async fn a_plugin_is_fetched_with_its_signature_and_only_a_signed_one_is_trusted() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = STANDARD.encode(key.verifying_key().as_bytes());
    let host = Host::with(&format!(
        "[trust]\nrequire = \"signed\"\nsigners = {{ release = \"{public}\" }}\n"
    ))
    .await;
    let binary = std::fs::read(guest("greeter-v1")).unwrap();
    let signature = key.sign(&binary).to_bytes().to_vec();
    let other = std::fs::read(guest("echo")).unwrap();
    let site = serve(HashMap::from([
        ("/greeter.wasm", Page::File(binary)),
        ("/greeter.wasm.sig", Page::File(signature)),
        ("/unsigned.wasm", Page::File(other.clone())),
        ("/swapped.wasm", Page::File(other)),
        (
            "/swapped.wasm.sig",
            Page::File(key.sign(b"another file").to_bytes().to_vec()),
        ),
        ("/moved.wasm", Page::Redirect("/greeter.wasm".to_owned())),
        (
            "/moved.wasm.sig",
            Page::Redirect("/greeter.wasm.sig".to_owned()),
        ),
        ("/round.wasm", Page::Redirect("/round.wasm".to_owned())),
    ]))
    .await;
    let load = async |path: &str| {
        host.run(&["plugin", "load", &format!("{site}{path}")])
            .await
    };

    for (path, words) in [
        ("/unsigned.wasm", "came without a signature"),
        (
            "/swapped.wasm",
            "by none of the signers in trust.signers (release)",
        ),
        ("/missing.wasm", "the server answers 404"),
        ("/round.wasm", "redirects too often"),
    ] {
        let done = load(path).await;
        assert_eq!(done.code, 1, "{path}: {done:?}");
        assert!(done.error.contains(words), "{path}: {done:?}");
    }
    for path in ["/greeter.wasm?secret=1", "/moved.wasm"] {
        let done = load(path).await;
        assert_eq!(done.code, 0, "{path}: {done:?}");
    }
    let versions = host.ok(&["plugin", "versions", "greeter"]).await;
    assert!(
        versions.contains(&format!("{site}/greeter.wasm\n")),
        "{versions}"
    );
    assert!(!versions.contains("secret"), "{versions}");
}
