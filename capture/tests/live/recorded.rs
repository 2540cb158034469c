//! What `--write` leaves behind.

use std::os::unix::fs::PermissionsExt as _;

use flow::Close;

use crate::lab::{AGENT, Lab, at_their_end, read};

#[test]
fn what_is_written_says_the_same_as_what_was_seen() {
    let Some(lab) = Lab::make() else { return };
    let mut agent = lab.agent(&["-i", "eth0", "--write", "trace.pcapng", "--duration", "60s"]);
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
    agent.until_flow("a whole flow", |flow| flow.close != Close::Open && flow.from_start && flow.answered());
    agent.signal("INT");
    let (status, seen, said) = agent.ended();
    drop(parts);
    assert_eq!(status.code(), Some(0), "{said}");

    let file = lab.folder.join("trace.pcapng");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The agent reads it as it reads an interface, names and all.
    let output = std::process::Command::new(AGENT).arg("-r").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let again: Vec<flow::Flow> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let ids = |flows: &[flow::Flow]| {
        let mut ids: Vec<_> = at_their_end(flows).iter().map(|flow| flow.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&again), ids(&seen));
    assert_eq!(at_their_end(&again)[0].seen_at, ["eth0"]);

    // It may be evidence: another run does not write over it.
    let output =
        lab.inside(&lab.server, AGENT).args(["-i", "eth0", "--write", "trace.pcapng"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is there already"));
}

#[test]
fn rotation_keeps_as_many_files_as_asked_and_each_is_whole() {
    let Some(lab) = Lab::make() else { return };
    // The second run goes on where the first one ended.
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let agent = lab.agent(&[
            "-i",
            "eth0",
            "--write",
            "trace.pcapng",
            "--rotate",
            "1M",
            "--keep",
            "3",
            "--duration",
            "60s",
        ]);
        assert!(lab.run_part(&lab.client, "flood").0.wait().unwrap().success());
        agent.signal("INT");
        let (status, _, said) = agent.ended();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(!said.contains("no longer written"), "{said}");

        let mut names: Vec<_> = std::fs::read_dir(&lab.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".pcapng"))
            .collect();
        names.sort_unstable();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names.contains(&"trace.pcapng".to_owned()), "{names:?}");
        for name in &names {
            let file = lab.folder.join(name);
            assert!(std::fs::metadata(&file).unwrap().len() <= 1 << 20, "{name}");
            let (flows, frames) = read(&file);
            assert!(frames > 0 && !flows.is_empty(), "{name}");
        }
        numbers.push(names[1].clone());
    }
    assert!(numbers[0] < numbers[1], "{numbers:?}");
}
