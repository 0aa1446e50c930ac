//! The page about events says what the code does.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn docs_events_md_is_what_the_catalogue_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md");
    let printed = carillon_events::document::catalogue_markdown();
    if std::env::var_os("CARILLON_UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &printed).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == printed,
        "docs/events.md is not what the catalogue prints; write it anew with\n\
         CARILLON_UPDATE_DOCS=1 cargo test --release -p carillon-events --test document"
    );
}
