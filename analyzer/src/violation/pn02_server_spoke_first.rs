//! PN02 on the wire: a server spoke first at a port that declares no protocol.

use flow::{Protocol as Seen, Upgrade};

use crate::lint::pn02_server_speaks_first;
use crate::mesh::service::Protocol;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: pn02_server_speaks_first::RULE.id,
    severity: pn02_server_speaks_first::RULE.severity,
    title: pn02_server_speaks_first::RULE.title,
    source: "Istio: Protocol Selection: server-first protocols need an explicit protocol",
    page: pn02_server_speaks_first::RULE.page,
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    let undeclared = case.expectation.protocol == Some(Protocol::Unsupported);
    // Only proxies wait for the client's first bytes.
    let waits = case.client_is_proxied() || case.server_is_proxied();
    let seen = server_first(case)?;
    (undeclared && waits).then(|| {
        Breach::new(None, format!("the server spoke first ({seen}) at a port that declares no protocol"))
    })
}

/// Names the protocol, where it is one whose server greets the client.
fn server_first(case: &Case<'_>) -> Option<String> {
    let upgrade = match case.flow.upgrade {
        Some(one @ (Upgrade::Smtp | Upgrade::Imap | Upgrade::Pop3 | Upgrade::Ftp | Upgrade::Mysql)) => {
            Some(one)
        }
        Some(_) | None => None,
    };
    let protocol = match case.flow.protocol {
        Some(
            one @ (Seen::Smtp
            | Seen::Imap
            | Seen::Pop3
            | Seen::Ftp
            | Seen::Mysql
            | Seen::Nats
            | Seen::Nntp
            | Seen::Ssh),
        ) => Some(one),
        Some(_) | None => None,
    };
    protocol.map(|one| one.to_string()).or_else(|| upgrade.map(|one| one.to_string()))
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    Advice::new("Declare TCP, so that nothing waits.", remedy::port_protocol(case, "tcp"))
}
