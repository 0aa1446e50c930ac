//! Finding the host, and being let in.

use std::os::unix::fs::PermissionsExt as _;

use crate::host::{Host, carillon, run};

#[tokio::test]
async fn without_a_host_every_command_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for arguments in [
        &["plugin", "list"][..],
        &["dead-letters", "list"],
        &["explain", "x"],
        &["audit"],
    ] {
        let mut command = carillon(arguments);
        command.args(["--data", data]);
        let done = run(command).await;
        assert_eq!(done.code, 1, "{done:?}");
        assert!(
            done.error
                .starts_with("carillon: no carillon runs on this data folder (")
                && done.error.contains("start it, or give --gateway-url"),
            "{done:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_use_is_told_apart_from_a_refusal() {
    for arguments in [&["plugin", "pause"][..], &["dead-letters", "purge"]] {
        let done = run(carillon(arguments)).await;
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{done:?}");
        assert!(done.error.contains("Usage: carillon"), "{done:?}");
    }
}

#[tokio::test]
async fn the_token_of_the_folder_lets_its_owner_in_and_others_do_not_pass() {
    let mut host = Host::start().await;
    let mode = std::fs::metadata(host.data().join("admin-token")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    assert!(
        host.ok(&["plugin", "list"])
            .await
            .contains("No plugins are loaded")
    );

    let user = host.ok(&["token", "--user", "user-1"]).await;
    for wrong in [user.trim(), "a-token-that-nobody-has"] {
        let done = host.run(&["plugin", "list", "--admin-token", wrong]).await;
        assert_eq!(done.code, 1);
        assert!(
            done.error.contains("no admin token of this host"),
            "{done:?}"
        );
        assert!(!done.error.contains(wrong), "{done:?}");
    }
    let booking = host.address("booking").unwrap();
    let done = host
        .run(&["plugin", "list", "--gateway-url", &booking])
        .await;
    assert!(
        done.error.contains("is it the address of a gateway"),
        "{done:?}"
    );

    host.end().await;
    let done = host.run(&["plugin", "list"]).await;
    assert_eq!(done.code, 1);
    assert!(done.error.contains("nothing answers at"), "{done:?}");
}

#[tokio::test]
async fn configured_operators_have_names_in_the_audit() {
    let host = Host::with(
        "[admin]\ntokens = { ada = \"a-secret-of-ada's-own\", ci = \"a-secret-of-the-ci\" }\n",
    )
    .await;
    assert!(!host.data().join("admin-token").exists());
    let done = host.run(&["plugin", "list"]).await;
    assert!(done.error.contains("--admin-token"), "{done:?}");
    let config = host.folder.path().join("carillon.toml");
    let config = config.to_str().unwrap();
    let done = host.run(&["plugin", "list", "--config", config]).await;
    assert!(
        done.error
            .contains("several operators are configured (ada, ci)"),
        "{done:?}"
    );

    let token = "a-secret-of-the-ci";
    let done = host
        .run(&["plugin", "pause", "nothing", "--admin-token", token])
        .await;
    assert_eq!(done.code, 1);
    assert!(done.error.contains("there is no plugin"), "{done:?}");
    let audit = host.ok(&["audit", "--admin-token", token]).await;
    assert!(audit.contains(" ci ") && audit.contains("pause"), "{audit}");
}
