//! GW16: Clients without a certificate get in.

#[cfg(test)]
use crate::lint::Broken;
use crate::lint::survey::Survey;
use crate::lint::survey::gateways::{at, each_tls, from_gateway_api, named};
use crate::lint::{Problem, Rule};
use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
use crate::patch::{Patch, part};
use crate::report::Severity;
use serde_json::Value;

pub(super) const RULE: Rule = Rule {
    id: "GW16",
    severity: Severity::Low,
    title: "Client certificates are optional",
    page: include_str!("../../../docs/findings/GW16.md"),
    check,
    #[cfg(test)]
    broken: Broken { replace: &[("mode: SIMPLE, ", "mode: OPTIONAL_MUTUAL, ")], add: "", also: &[] },
};

fn check(survey: &Survey<'_>) -> Vec<Problem> {
    each_tls(survey, |gateway, server, tls| {
        (tls.mode == ServerTlsMode::OptionalMutual).then(|| {
            let message = format!(
                "{} asks for client certificates but does not require them: clients without one get in",
                named(gateway, server)
            );
            let patch = if from_gateway_api(gateway) {
                required(gateway, server)
            } else {
                Patch::of(&gateway.meta).set(&at(server, "/tls/mode"), "MUTUAL")
            };
            Problem::at(&gateway.meta, tls.line, message, "Require certificates, if every client has one.")
                .yaml(patch.yaml())
        })
    })
}

/// Requires certificates of a listener: by the option that made them optional, else by the validation of its port.
fn required(gateway: &Gateway, server: &Server) -> Patch {
    let patch = Patch::of(&gateway.meta);
    let option = format!(
        "/spec/listeners/{}/tls/options/{}",
        server.place,
        part("gateway.istio.io/tls-terminate-mode")
    );
    if patch.get(&option).is_some() {
        return patch.set(&option, "MUTUAL");
    }
    let ports = patch.get("/spec/tls/frontend/perPort").and_then(Value::as_array);
    let own = ports.and_then(|ports| {
        ports.iter().position(|entry| entry.get("port").and_then(Value::as_u64) == Some(server.port.into()))
    });
    match own {
        Some(place) => patch.remove(&format!("/spec/tls/frontend/perPort/{place}/tls/validation/mode")),
        None => patch.remove("/spec/tls/frontend/default/validation/mode"),
    }
}
