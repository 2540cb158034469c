//! `wireproof store` as people call it.

#![expect(clippy::expect_used, reason = "a test may stop here")]

#[expect(dead_code, reason = "others start servers")]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop here, and says why it was skipped"
)]
mod processes;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

/// Runs it on a store in this folder; the status, and both outputs.
fn run(verb: &str, folder: &Path, place: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let output = assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(folder)
        .args(["store", verb, "--store", place])
        .args(more)
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn store(verb: &str, folder: &Path, more: &[&str]) -> (Option<i32>, String) {
    let (status, said, _) = run(verb, folder, "s.sqlite", more);
    (status, said)
}

#[test]
fn why_a_store_does_not_open_is_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("folder")).expect("a folder");
    std::fs::write(folder.path().join("notes"), "these are the notes of a meeting".repeat(8))
        .expect("a file");
    for (verb, place, why) in [
        (
            "migrate",
            "nowhere/s.sqlite",
            "unable to open database file: No such file or directory (os error 2)",
        ),
        ("migrate", "folder", "unable to open database file: Is a directory (os error 21)"),
        ("migrate", "notes", "file is not a database"),
        ("status", "notes", "file is not a database"),
    ] {
        let (status, _, said) = run(verb, folder.path(), place, &[]);
        assert_eq!(status, Some(4), "{said}");
        assert_eq!(said, format!("wireproof: the store {place} cannot be opened: {why}\n"));
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_that_is_away_against_a_listener_that_is_no_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = format!("clickhouses://writer@{}/audit", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (status, _, said) = run("status", folder.path(), &place, &[]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("does not answer: ") && said.contains("InvalidContentType"), "{said}");
}

#[test]
fn a_place_that_cannot_be_a_store_is_an_error_of_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    for (place, more) in [
        ("clickhouse://writer:secret@127.0.0.1:8123/audit", &[][..]),
        ("s.sqlite", &["--cluster", "prod"][..]),
        // What was kept there would be gone with the program.
        ("", &[][..]),
        (":memory:", &[][..]),
        ("file::memory:", &[][..]),
    ] {
        let (status, _, said) = run("migrate", folder.path(), place, more);
        assert_eq!(status, Some(2), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
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

#[test]
fn a_file_that_may_only_be_read_is_named_at_the_start() {
    if !processes::is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let place = folder.join("s.sqlite").display().to_string();
    assert_eq!(store("migrate", folder, &[]).0, Some(0));
    let said = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-ec"])
        .arg(r#"mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; exec "$2" store migrate --store "$3""#)
        .arg("sh")
        .arg(folder)
        .arg(processes::program("wireproof"))
        .arg(&place)
        .output()
        .expect("util-linux is there");
    let error = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(4), "{error}");
    assert!(error.contains(&format!("{place} cannot be opened: the file may only be read")), "{error}");
}
