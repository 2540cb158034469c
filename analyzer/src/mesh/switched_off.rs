//! What istiod does not read of the Gateway API: its version, and two switches in its environment, decide.

use crate::mesh::control_plane::ControlPlane;
use crate::mesh::destination_rule::DestinationRule;
use crate::mesh::gateway::Gateway;
use crate::mesh::gateway_api;
use crate::mesh::manifest::Resources;
use crate::mesh::meta::Meta;
use crate::mesh::service::Protocol;

const OFF: &str = "istiod has PILOT_ENABLE_GATEWAY_API switched off";

const ALPHA: &str = "istiod of this version reads it with PILOT_ENABLE_ALPHA_GATEWAY_API alone";

impl Resources {
    /// Leaves out what istiod does not read of the Gateway API. Without istiod in the input everything counts, and so it does where
    /// several of them may differ.
    ///
    /// Rule `control-plane.gateway-api`. Istio: `pilot/pkg/config/kube/gateway`, `listenerProtocolToIstio`; upgrade notes of 1.28,
    /// release notes of 1.30.
    pub(super) fn leave_out_switched_off(&mut self) {
        let Some(istiod) = self.control_plane.clone().filter(|_| self.revisions.istiods.len() < 2) else {
            return;
        };
        let mut left_out: Vec<(Meta, Option<u32>, String)> = Vec::new();
        let mut unread = |meta: &Meta, why: &str| {
            left_out.push((meta.clone(), None, format!("{} has no effect: {why}", meta.id())))
        };
        if istiod.without_gateway_api {
            self.gateways
                .extract_if(.., |gateway| is_of_the_api(gateway))
                .for_each(|gateway| unread(&gateway.meta, OFF));
            self.listener_sets.drain(..).for_each(|(meta, _)| unread(&meta, OFF));
            self.backend_tls.drain(..).for_each(|(meta, _)| unread(&meta, OFF));
            self.destination_rules
                .extract_if(.., |rule| rule.is_backend_policy())
                .for_each(|rule| unread(&rule.meta, OFF));
        } else if !istiod.alpha_gateway_api {
            if !istiod.version.reads_backend_policies() {
                self.backend_tls.drain(..).for_each(|(meta, _)| unread(&meta, ALPHA));
            }
            if !istiod.version.opens_tls_listeners() {
                self.listener_sets.drain(..).for_each(|(meta, _)| unread(&meta, ALPHA));
            }
            for gateway in self.gateways.iter_mut().filter(|gateway| is_of_the_api(gateway)) {
                let meta = gateway.meta.clone();
                let closed = gateway.servers.extract_if(.., |server| !opens(&istiod, server.protocol));
                left_out.extend(closed.map(|server| {
                    let protocol = server.protocol_text;
                    (
                        meta.clone(),
                        Some(server.line),
                        format!("a listener of protocol {protocol} is left out: {ALPHA}"),
                    )
                }));
            }
        }
        for (meta, line, why) in left_out {
            self.notes.add(&meta.file, Some(line.unwrap_or(meta.line)), false, why);
        }
    }

    /// Leaves out what istiod's version does not know yet of the Gateway API.
    ///
    /// Rule `control-plane.gateway-api`. Istio: release notes of 1.28 and 1.32.
    pub(super) fn leave_out_too_new(&mut self) {
        let Some(version) = self.control_plane.as_ref().map(|istiod| istiod.version) else { return };
        let mut unknown: Vec<(Meta, &str)> = Vec::new();
        for gateway in self.gateways.iter_mut().filter(|gateway| is_of_the_api(gateway)) {
            let name = (gateway.meta.namespace.to_string(), gateway.meta.name.to_string());
            let declared = self.parents.get(&name).filter(|_| !version.reads_frontend_validation());
            if let Some(bare) = declared.and_then(|(_, node)| gateway_api::without_frontend(node)) {
                gateway.servers = gateway_api::gateway(gateway.meta.clone(), &bare).servers;
                unknown.push((gateway.meta.clone(), "spec.tls.frontend"));
            }
        }
        let too_new = |rule: &mut DestinationRule| rule.is_backend_policy() && !version.reads_backends();
        unknown.extend(self.destination_rules.extract_if(.., too_new).map(|rule| (rule.meta, "spec.tls")));
        for (meta, field) in unknown {
            let why =
                format!("{field} of {} has no effect: istiod of this version does not read it", meta.id());
            self.notes.add(&meta.file, Some(meta.line), false, why);
        }
    }
}

fn is_of_the_api(gateway: &Gateway) -> bool {
    gateway.meta.version.starts_with("gateway.")
}

/// Tells whether a listener of a protocol is opened without what is experimental.
fn opens(istiod: &ControlPlane, protocol: Protocol) -> bool {
    protocol != Protocol::Tcp && (protocol != Protocol::Tls || istiod.version.opens_tls_listeners())
}
