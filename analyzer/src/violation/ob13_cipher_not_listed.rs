//! OB13: a cipher suite was negotiated that the declared list does not hold.

use flow::TlsVersion;

use crate::report::Severity;
use crate::violation::termination::{self, rank};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule};

pub(crate) const RULE: Rule = Rule {
    id: "OB13",
    severity: Severity::Medium,
    title: "A cipher suite outside the declared list",
    source: "Istio: MeshConfig, meshMTLS and tlsDefaults, cipherSuites; Gateway, ServerTLSSettings.cipherSuites",
    page: include_str!("../../../docs/findings/OB13.md"),
    rests_on: RestsOn::Reading,
    breach,
    advice,
};

/// The lists bind TLS 1.2 and below: the suites of TLS 1.3 are not configurable.
fn breach(case: &Case<'_>) -> Option<Breach> {
    let tls = case.tls()?;
    let (seen, cipher) = (tls.version?, tls.cipher.as_deref()?);
    if rank(seen)? >= rank(TlsVersion::Tls13)? {
        return None;
    }
    let outside = termination::bounds(case).into_iter().find(|bounds| {
        listed(&bounds.suites).is_some_and(|listed| !listed.is_empty() && !listed.contains(&cipher))
    })?;
    let what = format!("{cipher} was negotiated, which {} does not list", outside.suites_from);
    Some(Breach::new(outside.cause, what).citing(outside.because))
}

/// Reads a list; absent where a name is not known here: an expression, or a suite of another version, could hold any.
/// Istio takes suites by their OpenSSL names and leaves IANA names out.
fn listed(suites: &[String]) -> Option<Vec<&'static str>> {
    suites.iter().filter(|name| !name.starts_with("TLS_")).map(|name| iana(name)).collect()
}

/// Returns the IANA name of a suite that Istio takes by its OpenSSL name; absent for any other.
///
/// Istio: `pkg/config/security`, the valid cipher suites.
fn iana(name: &str) -> Option<&'static str> {
    Some(match name {
        "ECDHE-ECDSA-AES128-GCM-SHA256" => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256" => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384" => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384" => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305" => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305" => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES128-SHA" => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "ECDHE-RSA-AES128-SHA" => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "ECDHE-ECDSA-AES256-SHA" => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "ECDHE-RSA-AES256-SHA" => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "AES128-GCM-SHA256" => "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "AES256-GCM-SHA384" => "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "AES128-SHA" => "TLS_RSA_WITH_AES_128_CBC_SHA",
        "AES256-SHA" => "TLS_RSA_WITH_AES_256_CBC_SHA",
        "DES-CBC3-SHA" => "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        _ => return None,
    })
}

fn advice(case: &Case<'_>, breach: &Breach) -> Advice {
    let declared = breach.cause.as_deref().unwrap_or("the declared list");
    let restart = termination::restart(case);
    Advice::new(
        format!(
            "One end does not apply {declared}: {}, and check that nothing else answers there. If the suite is meant, add it to the list.",
            restart.words
        ),
        restart.change,
    )
}
