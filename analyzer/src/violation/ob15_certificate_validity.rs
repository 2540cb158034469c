//! OB15: a certificate that was visible had expired, was not valid yet, or is valid for unusually long.

use flow::{Certificate, Side, Timestamp};

use crate::report::Severity;
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, restart, termination};

pub(crate) const RULE: Rule = Rule {
    id: "OB15",
    severity: Severity::Medium,
    title: "A certificate outside its time, or valid for too long",
    source: "RFC 5280 section 4.1.2.5; istiod, MAX_WORKLOAD_CERT_TTL (90 days)",
    page: include_str!("../../../docs/findings/OB15.md"),
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

const DAY: i64 = 86_400 * 1_000_000_000;

/// The longest that istiod lets a workload's certificate live unless it is told otherwise; the usual is a day.
const LONGEST_WORKLOAD: i64 = 90 * DAY;

const NOT_YET: &str = "was not valid yet";

fn breach(case: &Case<'_>) -> Option<Breach> {
    let tls = case.tls()?;
    // What has no end in the mesh is nobody's to mend.
    if !case.client_is_proxied() && !case.expectation.known_destination {
        return None;
    }
    [(Side::Server, &tls.server_certificate), (Side::Client, &tls.client_certificate)].into_iter().find_map(
        |(side, certificate)| {
            let what = wrong(certificate.as_deref()?, case.flow.start)?;
            Some(Breach::new(None, format!("the {side}'s certificate {what}")))
        },
    )
}

fn wrong(certificate: &Certificate, at: Timestamp) -> Option<String> {
    if let Some(end) = certificate.not_after.filter(|end| *end < at) {
        return Some(format!("had expired: it was valid until {end}"));
    }
    if let Some(start) = certificate.not_before.filter(|start| *start > at) {
        return Some(format!("{NOT_YET}: it is from {start}"));
    }
    let (start, end) = certificate.not_before.zip(certificate.not_after)?;
    let long = certificate.spiffe_id.is_some() && end.since(start) > LONGEST_WORKLOAD;
    long.then(|| {
        format!(
            "is a workload's and valid for {} days; istiod gives 1, and 90 at most",
            end.since(start) / DAY
        )
    })
}

fn advice(case: &Case<'_>, breach: &Breach) -> Advice {
    // The same clock would issue the next one.
    if breach.what.contains(NOT_YET) {
        return Advice::new("A clock is wrong: that of whoever issued it, or that of the capture.", None);
    }
    let of_client = breach.what.starts_with("the client");
    let certificate = case.tls().and_then(|tls| {
        if of_client { tls.client_certificate.as_deref() } else { tls.server_certificate.as_deref() }
    });
    let party = if of_client { case.client } else { case.server };
    // Whatever the mesh issued, istiod issues anew.
    if certificate.is_some_and(|certificate| certificate.spiffe_id.is_some()) {
        let restart = if of_client { restart::client_proxy(case) } else { restart::server_proxy(case) };
        let renew = format!("To renew this identity of the mesh, {}. Check its clock, too.", restart.words);
        return Advice::new(renew, restart.change);
    }
    let held = match secret(case).filter(|_| !of_client) {
        Some(secret) => format!("the Secret {secret}"),
        None => "its Secret or file".to_owned(),
    };
    Advice::new(format!("Renew the certificate of {} in {held}. Check its clock, too.", party.name()), None)
}

/// Names the Secret that holds the certificate of the gateway's server: it is in the namespace of the gateway's pod. A listener of
/// the Gateway API may name one elsewhere.
fn secret(case: &Case<'_>) -> Option<String> {
    let (gateway, server) = termination::terminating_server(case)?;
    let name = server.tls.as_ref()?.credential_name.as_deref()?;
    let own = gateway.meta.version.contains("istio.io/") && !name.contains('/');
    own.then(|| Some(format!("{}/{name}", case.server.namespace.as_deref()?)))?
}
