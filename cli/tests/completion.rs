//! Completion as a shell asks for it: the program is called back with the words typed so far.

#![expect(clippy::expect_used, reason = "a test may stop here")]

use std::path::Path;

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let output = assert_cmd::Command::cargo_bin("wireproof")
        .expect("the program is built")
        .current_dir(root)
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What bash is offered for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let index = words.len().checked_sub(1).expect("a word").to_string();
    let variables = [("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", index.as_str()), ("_CLAP_IFS", "\n")];
    let arguments = [&["--"], words].concat();
    run(&arguments, &variables).lines().map(str::to_owned).collect()
}

const MESH: &str = "testdata/boutique/mesh.yaml";

#[test]
fn names_of_the_mesh_are_offered() {
    let from = offered(&["wireproof", "explain", "--mesh", MESH, "--from", "web/"]);
    assert_eq!(from, ["web/frontend"]);
    let to = offered(&["wireproof", "explain", &format!("--mesh={MESH}"), "--to", "pay"]);
    assert_eq!(to, ["payments/ledger"]);
    let workload = offered(&["wireproof", "describe", "--mesh", MESH, "workload", "or"]);
    assert_eq!(workload, ["orders/checkout"]);
    let namespace = offered(&["wireproof", "describe", "--mesh", MESH, "ns", "c"]);
    assert_eq!(namespace, ["catalog"]);
}

#[test]
fn without_a_mesh_no_name_is_offered() {
    for mesh in [&[][..], &["--mesh", "-"], &["--mesh", "/nowhere"]] {
        let words = [&["wireproof", "explain"], mesh, &["--from", "web/"]].concat();
        assert_eq!(offered(&words), [""; 0], "{words:?}");
    }
}

#[test]
fn ids_and_commands_are_offered() {
    assert_eq!(offered(&["wireproof", "lint", "--select", "AM"]), ["AM01", "AM02"]);
    assert_eq!(offered(&["wireproof", "lint", "--explain", "DR02"]), ["DR02"]);
    assert_eq!(offered(&["wireproof", "desc"]), ["describe"]);
}

#[test]
fn every_shell_gets_a_script_that_calls_back() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell], &[]);
        assert!(script.contains("COMPLETE") && script.contains("wireproof"), "{shell}: {script}");
    }
}
