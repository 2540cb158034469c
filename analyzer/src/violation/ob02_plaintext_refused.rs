//! OB02: plaintext was attempted where STRICT is declared, and refused: this client breaks.

use crate::mesh::peer_authentication::PeerAuthentication;
use crate::policy::outbound::OutboundKind;
use crate::policy::{Trace, peer_authentication};
use crate::report::{ClientTls, PartyKind, ServerMode, Severity};
use crate::violation::{Advice, Breach, Case, RestsOn, Rule, remedy};

pub(crate) const RULE: Rule = Rule {
    id: "OB02",
    severity: Severity::High,
    title: "Plaintext refused by STRICT",
    source: "Istio: PeerAuthentication, mtls.mode STRICT: connections must be mTLS",
    page: include_str!("../../../docs/findings/OB02.md"),
    rests_on: RestsOn::Class,
    breach,
    advice,
};

fn breach(case: &Case<'_>) -> Option<Breach> {
    if !case.is_plaintext() || !case.is_strict() || !case.is_refused() || case.flow.answered() {
        return None;
    }
    let switched_off = namespace_disabled(case).map(|policy| policy.meta.id());
    let why = match (&case.expectation.client, &switched_off) {
        (OutboundKind::NoProxy | OutboundKind::AmbientPlain, _) => {
            "the client has no proxy that could encrypt".to_owned()
        }
        (OutboundKind::NotIntercepted(reason), _) => format!("the client's proxy is bypassed: {reason}"),
        (OutboundKind::Passthrough { why, .. }, _) => format!("the client's proxy passes it through: {why}"),
        (OutboundKind::Blocked { .. }, _) => "the client's proxy should have dropped it".to_owned(),
        (OutboundKind::Rule, _) => {
            format!("{} switches TLS off", case.expectation.expected.client_tls_from)
        }
        (_, Some(policy)) => format!("auto mTLS sends none, for {policy} is DISABLE for the whole namespace"),
        (OutboundKind::Auto | OutboundKind::Hbone, None) => "the client's proxy did not encrypt".to_owned(),
    };
    // Where none of the server's packets were captured, nobody saw whether it refused.
    let unseen = case.flow.packets.server == 0;
    let attempt = if unseen {
        "plaintext attempt where STRICT is declared, no answer was captured"
    } else {
        "plaintext attempt, refused by STRICT"
    };
    let cause = case.client_cause().or(switched_off).or_else(|| case.server_cause());
    Some(Breach::new(cause, format!("{attempt}; {why}")).doubtful(unseen))
}

/// The policy that is DISABLE for the server's whole namespace. Auto mTLS goes by it alone, although the workload is STRICT.
fn namespace_disabled<'a>(case: &Case<'a>) -> Option<&'a PeerAuthentication> {
    let expected = &case.expectation.expected;
    if case.expectation.client != OutboundKind::Auto || expected.client_tls != Some(ClientTls::Disable) {
        return None;
    }
    let namespace = case.server.namespace.as_deref()?;
    let above = peer_authentication::at_namespace(case.mesh, namespace, &mut Trace::unheard());
    case.mesh.peer_authentication(&above.from).filter(|_| above.value == ServerMode::Disable)
}

fn advice(case: &Case<'_>, _: &Breach) -> Advice {
    if let Some(policy) = namespace_disabled(case) {
        return Advice::new(
            format!("Let {} be PERMISSIVE: auto mTLS then encrypts what goes to STRICT.", policy.meta.id()),
            Some(remedy::mode_of(policy, ServerMode::Permissive)),
        );
    }
    if let Some((rule, _)) = case.client_block() {
        return Advice::new(
            format!("Let {} use the workload's mesh identity.", rule.meta.id()),
            remedy::client_mode(case, "ISTIO_MUTUAL"),
        );
    }
    if case.client.kind == PartyKind::Sidecar {
        return Advice::new(
            "Let the client's traffic pass its sidecar: call the Service rather than the pod's address, exclude nothing, \
             and restart a client whose proxy is stale.",
            remedy::intercept(case),
        );
    }
    let join = remedy::joining(case, case.client);
    if remedy::without_asked_proxy(case, case.client).is_some() {
        return Advice::new(format!("{join}."), remedy::inject(case, case.client));
    }
    match remedy::inject(case, case.client) {
        Some(change) => Advice::new(format!("{join}: label, then restart its pods."), Some(change)),
        None => Advice::new(
            format!("{join}. Where that cannot be, open this one port: it then accepts plaintext."),
            remedy::open_port(case),
        ),
    }
}
