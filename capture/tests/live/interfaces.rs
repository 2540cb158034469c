//! Interfaces that come and go, several of them, and those of other namespaces.

use flow::{Close, Flow};

use crate::lab::{AGENT, Agent, Lab, ip};

fn from_its_start(flow: &Flow) -> bool {
    flow.from_start
}

#[test]
fn an_interface_that_goes_and_comes_again_is_followed() {
    for arguments in [["-i", "eth*"].as_slice(), &["-i", "eth0", "--follow"]] {
        let Some(lab) = Lab::make() else { return };
        let mut agent = lab.agent(arguments);
        let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
        assert_eq!(agent.until_flow("a flow", from_its_start).seen_at, ["eth0"]);
        drop(parts);

        lab.part("eth0");
        agent.until_said("eth0 went away; it is waited for");
        lab.join("eth0");
        agent.until_said("eth0 is there and watched");
        let parts =
            (lab.run_part(&lab.server, "serve elsewhere"), lab.run_part(&lab.client, "ask elsewhere"));
        let again = |flow: &Flow| from_its_start(flow) && flow.server.port == 8081;
        assert_eq!(agent.until_flow("a flow after it came again", again).seen_at, ["eth0"]);
        drop(parts);
        agent.signal("TERM");
        let (status, _, said) = agent.ended();
        assert_eq!(status.code(), Some(0), "{said}");
    }
}

#[test]
fn an_interface_that_is_not_followed_ends_the_agent_with_its_flows() {
    let Some(lab) = Lab::make() else { return };
    let mut agent = lab.agent(&["-i", "eth0"]);
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "hold"));
    agent.until_flow("a settled flow", |flow| flow.close == Close::Open);
    lab.part("eth0");
    let (status, flows, said) = agent.ended();
    drop(parts);
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("eth0 went away") && said.contains("--follow"), "{said}");
    assert_eq!(flows.last().unwrap().close, Close::CaptureEnd);
}

#[test]
fn an_interface_that_is_down_for_a_while_is_still_watched() {
    let Some(lab) = Lab::make() else { return };
    let mut agent = lab.agent(&["-i", "eth0"]);
    ip(&["-n", &lab.server, "link", "set", "eth0", "down"]);
    ip(&["-n", &lab.server, "link", "set", "eth0", "up"]);
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
    agent.until_flow("a flow", from_its_start);
    drop(parts);
}

#[test]
fn what_was_not_asked_for_is_left_aside() {
    let Some(lab) = Lab::make() else { return };
    ip(&["-n", &lab.server, "link", "add", "cali1", "type", "veth", "peer", "name", "cali2"]);
    for name in ["cali1", "cali2"] {
        ip(&["-n", &lab.server, "link", "set", name, "up"]);
    }
    let by_pattern = lab.agent(&["-i", "cali*"]);
    let mut by_name = lab.agent(&["-i", "eth0", "-i", "cali1"]);
    let mut all = lab.agent(&["-i", "any"]);
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
    for agent in [&mut by_name, &mut all] {
        assert_eq!(agent.until_flow("a flow", from_its_start).seen_at, ["eth0"]);
        agent.signal("INT");
    }
    by_pattern.signal("INT");
    drop(parts);
    let (status, flows, said) = by_pattern.ended();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(flows.iter().all(|flow| !flow.seen_at.contains(&"eth0".to_owned())), "{flows:?}");
    let (_, _, said) = by_name.ended();
    assert!(said.contains("eth0: ") && said.contains("cali1: "), "{said}");
    let (_, _, said) = all.ended();
    assert!(said.contains("any: ") && said.contains("on eth0: "), "{said}");
}

#[test]
fn the_inside_of_another_namespace_is_watched() {
    let Some(lab) = Lab::make() else { return };
    let parts = (lab.run_part(&lab.server, "serve"), lab.run_part(&lab.client, "ask"));
    let path = format!("/run/netns/{}", lab.server);
    let process = parts.0.0.id().to_string();
    for namespace in [&lab.server, &path, &process] {
        let mut command = std::process::Command::new(AGENT);
        command.args(["-i", "eth0", "--netns", namespace]);
        let mut agent = Agent::start(command);
        let flow = agent.until_flow("a flow", from_its_start);
        assert_eq!(flow.server.to_string(), crate::lab::SERVER);
        let own = |id: u32| std::fs::read_link(format!("/proc/{id}/ns/net")).unwrap();
        assert_eq!(own(agent.id()), own(std::process::id()), "it came back from there");
    }
    drop(parts);

    let output =
        std::process::Command::new(AGENT).args(["-i", "eth0", "--netns", "no-such"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("network namespace no-such"), "{said}");
}

#[test]
fn names_that_are_not_there_are_said() {
    let Some(lab) = Lab::make() else { return };
    let output = lab.inside(&lab.server, AGENT).args(["-i", "eth7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no interface eth7") && said.contains("eth0"), "{said}");

    let agent = lab.agent(&["-i", "veth*"]);
    assert!(
        agent.said.iter().any(|line| line.contains("no interface is called veth* yet")),
        "{:?}",
        agent.said
    );
}
