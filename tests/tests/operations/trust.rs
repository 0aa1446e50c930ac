//! Which binaries are trusted: by a list of hashes, or by a signature that OpenSSL makes.

use std::path::{Path, PathBuf};
use std::process::Command;

use carillon_tests::host::guest;
use carillon_tests::operate::Operator;
use tempfile::TempDir;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_binaries_are_loaded_where_that_is_required() {
    let stage = Stage::new("listed", 1).await;
    let listed = sha256(&guest("greeter-v1"));
    let config = format!("[trust]\nrequire = \"listed\"\nallow_sha256 = [\"{listed}\"]");
    let mut host = stage.setup(&config).start().await.unwrap();
    let operator = Operator::of(&host).unwrap();

    let loaded = operator.load(&guest("greeter-v1"), &[]).await.unwrap();
    assert_eq!(loaded["sha256"], listed);
    let refused = refused_load(&operator, &guest("greeter-v2"), &[]).await;
    assert!(refused.contains("trust.allow_sha256"), "{refused}");
    assert!(refused.contains(&sha256(&guest("greeter-v2"))), "{refused}");
    let running = operator.plugin("greeter").await.unwrap();
    assert_eq!(running["version"], "1.0.0");
    println!("trust, listed: {refused}");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_signed_binaries_are_loaded_where_that_is_required() {
    let stage = Stage::new("signed", 1).await;
    let desk = Desk::new();
    let (ours, theirs) = (desk.key("ours"), desk.key("theirs"));
    let config = format!(
        "[trust]\nrequire = \"signed\"\nsigners = {{ ci = \"{}\" }}",
        desk.public(&ours)
    );
    let mut host = stage.setup(&config).start().await.unwrap();
    let operator = Operator::of(&host).unwrap();
    let [v1, v2] = ["greeter-v1", "greeter-v2"].map(|name| desk.binary(name));

    let unsigned = refused_load(&operator, &v1, &[]).await;
    assert!(unsigned.contains("came without a signature"), "{unsigned}");
    // Beside the file, it is found.
    desk.sign(&ours, &v1, &beside(&v1));
    let loaded = operator.load(&v1, &[]).await.unwrap();
    let notes = loaded["notes"].to_string();
    assert!(notes.contains("signed by ci"), "{notes}");
    let of_another_file = beside(&v1).display().to_string();
    let options = ["--signature", of_another_file.as_str()];
    let wrong_file = refused_load(&operator, &v2, &options).await;
    assert!(
        wrong_file.contains("by none of the signers"),
        "{wrong_file}"
    );
    desk.sign(&theirs, &v2, &beside(&v2));
    let wrong_key = refused_load(&operator, &v2, &[]).await;
    assert!(wrong_key.contains("by none of the signers"), "{wrong_key}");
    let running = operator.plugin("greeter").await.unwrap();
    assert_eq!(running["version"], "1.0.0");

    // The watched folder asks for the same.
    desk.sign(&ours, &v2, &beside(&v2));
    let folder = host.plugin_folder();
    std::fs::copy(beside(&v2), folder.join("greeter.wasm.sig")).unwrap();
    std::fs::copy(&v2, folder.join("greeter.wasm")).unwrap();
    operator
        .plugin_that("greeter", "version 2.0.0", |plugin| {
            plugin["version"] == "2.0.0"
        })
        .await
        .unwrap();
    std::fs::copy(guest("echo"), folder.join("echo.wasm")).unwrap();
    let record = operator.audited_load("echo.wasm").await.unwrap();
    let dropped = record["outcome"].as_str().unwrap();
    assert!(dropped.contains("came without a signature"), "{dropped}");
    // What was loaded with a signature is brought back with it.
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
    host.restart().await.unwrap();
    let running = operator.plugin("greeter").await.unwrap();
    assert_eq!(
        (&running["version"], &running["state"]),
        (&"2.0.0".into(), &"active".into())
    );
    println!("trust, signed, without a signature: {unsigned}");
    println!("trust, signed, with one of another file: {wrong_file}");
    println!("trust, signed, by another key: {wrong_key}");
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

async fn refused_load(operator: &Operator, file: &Path, options: &[&str]) -> String {
    let file = file.display().to_string();
    let command = [&["plugin", "load", file.as_str()], options].concat();
    operator.refused(&command).await.unwrap()
}

/// Where keys and signed files lie.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn key(&self, name: &str) -> PathBuf {
        let key = self.folder.path().join(format!("{name}.pem"));
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", text(&key)]);
        key
    }

    /// The public key as `[trust] signers` has it: the last 32 bytes of its DER form (RFC 8410).
    fn public(&self, key: &Path) -> String {
        let der = openssl(&["pkey", "-in", text(key), "-pubout", "-outform", "DER"]);
        let raw = self.folder.path().join("public.raw");
        std::fs::write(&raw, &der[der.len() - 32..]).unwrap();
        let base64 = openssl(&["base64", "-A", "-in", text(&raw)]);
        String::from_utf8(base64).unwrap().trim().to_owned()
    }

    /// A copy of a guest, with nothing beside it.
    fn binary(&self, name: &str) -> PathBuf {
        let file = self.folder.path().join(format!("{name}.wasm"));
        std::fs::copy(guest(name), &file).unwrap();
        file
    }

    fn sign(&self, key: &Path, file: &Path, signature: &Path) {
        let (key, file, signature) = (text(key), text(file), text(signature));
        openssl(&[
            "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", file, "-out", signature,
        ]);
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn sha256(file: &Path) -> String {
    let line = openssl(&["dgst", "-sha256", "-r", text(file)]);
    let line = String::from_utf8(line).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
