//! OB18 and OB23: ways out of the mesh that lead around what is declared.

use analyzer::report::Certainty;
use flow::{Evidence, Flow, Reason, Security};

use super::{
    FRONT, PLAIN, SEARCH, TO_SEARCH, VAULT, clean, exactly, fine, flow, istio, mutual, one_way, session, with,
};

const API: &str = "203.0.113.10:443";

fn to_api(from: &str, to: &str) -> Flow {
    flow(from, to, one_way(session(&["h2"], Some("api.example.com"))))
}

/// The clean mesh, in which the clients of port 443 are sent through the egress gateway as well.
fn through_gateway() -> String {
    with(&clean(), "match: [{port: 8443, sniHosts", "match: [{port: 443, sniHosts")
}

#[test]
fn ob18_the_egress_gateway_is_bypassed() {
    fine(&clean(), &to_api(FRONT, API));
    let found = exactly("OB18", &through_gateway(), &to_api(FRONT, API));
    assert_eq!(found.cause.as_deref(), Some("VirtualService/web/api"));
    assert_eq!(found.certainty, Certainty::Certain);
    // The gateway itself goes straight.
    fine(&through_gateway(), &to_api("10.1.0.61", API));
    // An address that no declaration tells is the host's by its name alone.
    let resolved = with(&through_gateway(), "resolution: STATIC", "resolution: DNS");
    let resolved = with(&resolved, "endpoints: [{address: 203.0.113.10}]", "endpoints: []");
    assert_eq!(exactly("OB18", &resolved, &to_api(FRONT, API)).certainty, Certainty::Likely);
}

#[test]
fn ob23_registry_only_is_bypassed() {
    fine(&clean(), &flow(VAULT, SEARCH, mutual(istio(TO_SEARCH))));
    let unknown = "192.0.2.9:8443";
    exactly("OB23", &clean(), &flow(VAULT, unknown, PLAIN));
    exactly("OB23", &clean(), &flow(VAULT, unknown, one_way(session(&["h2"], Some("c2.example.org")))));
    exactly("OB23", &clean(), &flow(VAULT, unknown, Security::Opaque(Evidence::WIRE)));
    // ALLOW_ANY lets it out.
    fine(&clean(), &flow(FRONT, unknown, one_way(session(&["h2"], Some("c2.example.org")))));
}

#[test]
fn ob23_what_may_be_declared_is_no_unknown_destination() {
    // The name of a host that DNS resolves is nowhere with its addresses.
    let named = format!(
        "{}---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: dns, namespace: closed}}\nspec:\n  hosts: [dns.example.org]\n  resolution: DNS\n  ports: [{{number: 8443, name: https, protocol: TLS}}]\n",
        clean()
    );
    let unknown = "192.0.2.9:8443";
    fine(&named, &flow(VAULT, unknown, PLAIN));
    // Another name in the ClientHello excludes that.
    exactly("OB23", &named, &flow(VAULT, unknown, one_way(session(&["h2"], Some("c2.example.org")))));
    // Another port does, too.
    exactly("OB23", &named, &flow(VAULT, "192.0.2.9:9999", PLAIN));
}

#[test]
fn ob23_joined_in_the_middle_it_may_be_the_other_way_round() {
    let late = Flow { from_start: false, ..flow(VAULT, "192.0.2.9:8443", PLAIN) };
    fine(&clean(), &late);
    let judged = super::judge(&clean(), &flow(VAULT, "192.0.2.9:8443", Security::Unknown(Reason::MidStream)));
    assert_eq!(judged.violations.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["OB22"]);
}
