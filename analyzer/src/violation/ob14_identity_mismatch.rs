//! OB14: a certificate that was visible names another identity than the one that belongs there.

use flow::{Certificate, Side};

use crate::mesh::gateway::ServerTlsMode;
use crate::policy::gateway;
use crate::report::{Party, PartyKind, Severity};
use crate::violation::termination::{ends_at_sidecar, terminating_server};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy, restart};

pub(crate) const RULE: Rule = Rule {
    id: "OB14",
    severity: Severity::High,
    title: "A certificate of another identity",
    source: "Istio: Security, identity (SPIFFE: spiffe://trust-domain/ns/namespace/sa/account); DestinationRule, \
             subjectAltNames",
    page: include_str!("../../../docs/findings/OB14.md"),
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

/// Certificates are visible in TLS 1.2 only. One that was refused broke nothing.
fn breach(case: &Case<'_>) -> Option<Breach> {
    let tls = case.tls()?;
    if case.has_failed() {
        return None;
    }
    let server = tls.server_certificate.as_deref().and_then(|certificate| of_server(case, certificate));
    server.or_else(|| tls.client_certificate.as_deref().and_then(|certificate| of_client(case, certificate)))
}

fn of_server(case: &Case<'_>, certificate: &Certificate) -> Option<Breach> {
    // The names that the client's rule asks for stand in for the service accounts behind the Service.
    if let Some((rule, block)) = case.client_block().filter(|(_, block)| !block.subject_alt_names.is_empty())
    {
        if certificate.sans.iter().any(|name| is_among(name, &block.subject_alt_names)) {
            return None;
        }
        let what = format!(
            "the server's certificate is for {}, none of which {} accepts",
            shown(certificate),
            rule.meta.id()
        );
        return Some(Breach::new(Some(rule.meta.id()), what));
    }
    let by_mesh_certificate = ends_at_sidecar(case)
        || terminating_server(case)
            .is_some_and(|(_, server)| server.tls_in_force() == Some(ServerTlsMode::IstioMutual));
    by_mesh_certificate.then(|| mismatch(case, Side::Server, case.server, certificate))?
}

fn of_client(case: &Case<'_>, certificate: &Certificate) -> Option<Breach> {
    let claims_identity = certificate.spiffe_id.is_some();
    let in_mesh = case.client_is_proxied() || case.client.kind == PartyKind::NoProxy;
    if passes_on(case) {
        // The certificate is that of a workload behind the gateway, which shows none of its own.
        return None;
    }
    if case.offers_istio() || (claims_identity && (in_mesh || ends_at_sidecar(case))) {
        return mismatch(case, Side::Client, case.client, certificate);
    }
    None
}

/// Tells whether the client is a gateway that passes sessions on.
fn passes_on(case: &Case<'_>) -> bool {
    case.client.kind == PartyKind::Gateway
        && case.mesh.client_at(case.flow.client.ip).is_none_or(|pod| {
            case.mesh.gateways.iter().filter(|one| gateway::configures(case.mesh, one, pod)).any(|one| {
                one.servers.iter().any(|server| {
                    matches!(
                        server.tls_in_force(),
                        Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
                    )
                })
            })
        })
}

/// Compares with the identity of a party's pod; where the party is no pod that is known, or several may stand behind its
/// address, only the trust domain is compared.
fn mismatch(case: &Case<'_>, side: Side, party: &Party, certificate: &Certificate) -> Option<Breach> {
    let Some(identity) = certificate.spiffe_id.as_deref() else {
        // Without a pod, nobody knows whether a mesh identity belongs there.
        party.service_account.as_ref()?;
        let what = format!("the {side}'s certificate is for {}, no identity of the mesh", shown(certificate));
        return Some(Breach::new(None, what));
    };
    let (domain, account) = parts(identity)?;
    let config = &case.mesh.config;
    let foreign = config.meta.is_some()
        && domain != config.trust_domain
        && !config.trust_domain_aliases.iter().chain(&config.ca_trust_domains).any(|one| one == domain);
    let own = party.namespace.as_deref().zip(party.service_account.as_deref());
    let other = own.is_some_and(|own| own != account);
    if !foreign && !other {
        return None;
    }
    let expected = match own {
        Some((namespace, name)) => {
            let domain = if config.meta.is_some() { &config.trust_domain } else { domain };
            format!("spiffe://{domain}/ns/{namespace}/sa/{name}")
        }
        None => format!("one of the trust domain {}", config.trust_domain),
    };
    Some(Breach::new(None, format!("the {side}'s certificate is for {identity}, expected is {expected}")))
}

/// Splits an identity into its trust domain, and its namespace and service account; absent for one of another form.
fn parts(identity: &str) -> Option<(&str, (&str, &str))> {
    let (domain, path) = identity.strip_prefix("spiffe://")?.split_once('/')?;
    let (namespace, account) = path.strip_prefix("ns/")?.split_once("/sa/")?;
    Some((domain, (namespace, account)))
}

/// Tells whether one of a certificate's names (`dns:...`, `uri:...`) is among those that are accepted. A wildcard in a
/// certificate stands for one label (RFC 6125 section 6.4.3).
fn is_among(name: &str, accepted: &[String]) -> bool {
    let (kind, name) = name.split_once(':').unwrap_or(("", name));
    accepted.iter().any(|one| {
        let wildcard = name.strip_prefix("*.").filter(|_| kind == "dns");
        one == name
            || (kind == "dns" && one.eq_ignore_ascii_case(name))
            || wildcard
                .zip(one.split_once('.'))
                .is_some_and(|(suffix, (_, rest))| rest.eq_ignore_ascii_case(suffix))
    })
}

fn shown(certificate: &Certificate) -> String {
    if certificate.sans.is_empty() { "no name".to_owned() } else { certificate.sans.join(", ") }
}

fn advice(case: &Case<'_>, breach: &Breach) -> Advice {
    if let Some(rule) = &breach.cause {
        return match own_identity(case) {
            Some(identity) => Advice::new(
                format!("It is the identity of {} itself: have {rule} accept it.", case.server.name()),
                remedy::accept_name(case, identity),
            ),
            None => Advice::new(
                "Find out who answered there. Only where that server is meant, add its name to subjectAltNames.",
                None,
            ),
        };
    }
    if let Some(domain) = foreign_domain(case) {
        return Advice::new(
            format!(
                "It is the right account in another trust domain: where {domain} is this mesh's former one, list it in \
                 trustDomainAliases; else find out who holds this certificate."
            ),
            remedy::accept_domain(case, domain),
        );
    }
    Advice::new(
        format!(
            "Find out who holds this certificate: a pod that took over the address, or a key that is used elsewhere. In \
             case its proxy holds a stale endpoint, {}.",
            restart::client(case).words
        ),
        None,
    )
}

/// The identity in the server's certificate, where it is the one that the server's pod has.
fn own_identity<'a>(case: &Case<'a>) -> Option<&'a str> {
    let identity = case.tls()?.server_certificate.as_ref()?.spiffe_id.as_deref()?;
    let (domain, account) = parts(identity)?;
    let own = case.server.namespace.as_deref().zip(case.server.service_account.as_deref())?;
    (account == own && domain == case.mesh.config.trust_domain).then_some(identity)
}

/// The trust domain of the one certificate of the two that differs in nothing else.
fn foreign_domain<'a>(case: &Case<'a>) -> Option<&'a str> {
    let tls = case.tls()?;
    let sides = [(&tls.server_certificate, case.server), (&tls.client_certificate, case.client)];
    let mut foreign = None;
    for (certificate, party) in sides {
        let Some((domain, account)) = certificate.as_deref().and_then(|one| parts(one.spiffe_id.as_deref()?))
        else {
            continue;
        };
        let own = party.namespace.as_deref().zip(party.service_account.as_deref())?;
        if account != own {
            return None;
        }
        if domain != case.mesh.config.trust_domain
            && !case.mesh.config.trust_domain_aliases.iter().any(|one| one == domain)
        {
            foreign = foreign.or(Some(domain));
        }
    }
    foreign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_has_three_parts() {
        for (identity, expected) in [
            ("spiffe://cluster.local/ns/pay/sa/ledger", Some(("cluster.local", ("pay", "ledger")))),
            ("spiffe://cluster.local/pay", None),
            ("https://cluster.local/ns/pay/sa/ledger", None),
        ] {
            assert_eq!(parts(identity), expected, "{identity}");
        }
    }

    #[test]
    fn a_certificate_s_wildcard_stands_for_one_label() {
        let accepted = ["api.example.com".to_owned(), "spiffe://a/ns/b/sa/c".to_owned()];
        for (name, expected) in [
            ("dns:api.example.com", true),
            ("dns:API.example.com", true),
            ("dns:*.example.com", true),
            ("dns:*.com", false),
            ("dns:example.com", false),
            ("uri:spiffe://a/ns/b/sa/c", true),
            ("uri:*.example.com", false),
        ] {
            assert_eq!(is_among(name, &accepted), expected, "{name}");
        }
    }
}
