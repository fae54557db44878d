//! The OpenAPI document is made of the code; a change of it shows here.

use std::path::Path;

use utoipa::OpenApi;
use wasmill_server::rest::openapi::Document;

#[test]
fn the_openapi_document_is_the_one_that_was_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/openapi.json");
    let document = format!("{}\n", Document::openapi().to_pretty_json().unwrap());
    if std::env::var_os("WASMILL_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        reviewed, document,
        "run again with WASMILL_UPDATE_SNAPSHOTS=1 and look at the difference"
    );
}
