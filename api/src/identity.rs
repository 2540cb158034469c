//! Who a verified client certificate is for: the names under which its holder may deliver.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The names of a client certificate whose chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// DNS names; the common names where there is none.
    agents: Vec<String>,
    /// URI names, such as a SPIFFE id. They are logged, and name no agent.
    uris: Vec<String>,
}

impl Identity {
    /// Reads the names; absent when the certificate does not read.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let (mut agents, mut uris) = (Vec::new(), Vec::new());
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            for name in &names.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    agents.push((*name).to_owned());
                } else if let GeneralName::URI(uri) = name {
                    uris.push((*uri).to_owned());
                }
            }
        }
        if agents.is_empty() {
            let common = certificate.subject().iter_common_name();
            agents.extend(common.filter_map(|name| name.as_str().ok()).map(str::to_owned));
        }
        Some(Self { agents, uris })
    }

    /// Tells whether the certificate is the agent's: one of its names is the agent's, letter by letter, or is once `*`
    /// stands for the first label (RFC 9525, section 6.3).
    pub(crate) fn names(&self, agent: &str) -> bool {
        self.agents.iter().any(|name| match name.strip_prefix('*') {
            None => name == agent,
            Some(rest) => agent.strip_suffix(rest).is_some_and(|label| {
                !label.is_empty() && !label.contains('.') && (rest.is_empty() || rest.starts_with('.'))
            }),
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.agents.is_empty() && self.uris.is_empty() {
            return f.write_str("nobody");
        }
        for (place, name) in self.agents.iter().chain(&self.uris).enumerate() {
            let before = if place == 0 { "" } else { ", " };
            // What a certificate holds may be anything; a log line stays a line.
            write!(f, "{before}{}", name.escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_its_own_names_alone() {
        let check = |name: &str, agent: &str, expected: bool| {
            let identity =
                Identity { agents: vec![name.to_owned()], uris: vec!["spiffe://mesh/ns/a/sa/b".into()] };
            assert_eq!(identity.names(agent), expected, "{name} for {agent}");
        };
        for (name, agent) in [("node-a", "node-a"), ("*.nodes.example", "a.nodes.example"), ("*", "node-a")] {
            check(name, agent, true);
        }
        for (name, agent) in [
            ("node-a", "node-b"),
            ("node-a", "node-a.example"),
            ("node-a", "NODE-A"),
            ("*.nodes.example", "nodes.example"),
            ("*.nodes.example", ".nodes.example"),
            ("*.nodes.example", "b.a.nodes.example"),
            ("*.nodes.example", "other.example"),
            ("*", "a.example"),
            ("*a", "node-a"),
            ("", "node-a"),
            ("x", "spiffe://mesh/ns/a/sa/b"),
        ] {
            check(name, agent, false);
        }
        assert!(!Identity { agents: Vec::new(), uris: Vec::new() }.names("node-a"));
    }
}
