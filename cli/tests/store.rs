//! `wireproof store` as people call it.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::path::Path;

use serde_json::Value;

fn store(verb: &str, folder: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(folder)
        .args(["store", verb, "--store", "s.sqlite"])
        .args(more)
        .output()
        .expect("the program runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn a_store_is_made_and_told_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let (status, said) = store("status", folder.path(), &[]);
    assert_eq!(status, Some(1));
    assert!(said.contains("schema   none yet: `wireproof store migrate` makes it"), "{said}");
    assert!(!folder.path().join("s.sqlite").exists(), "a look changes nothing");

    let (status, said) = store("migrate", folder.path(), &["-o", "json"]);
    assert_eq!(status, Some(0), "{said}");
    let form: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&form["schema"], &form["flows"]), (&form["known"], &Value::from(0)));
    assert_eq!(
        (&form["first"], &form["last"], &form["keep_seconds"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(form["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{form}");

    let (status, said) = store("status", folder.path(), &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(", the newest") && said.contains("size     "), "{said}");
}
