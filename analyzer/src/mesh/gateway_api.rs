//! Gateway API (gateway.networking.k8s.io): turned into the Istio resources that istiod makes of them.

use crate::mesh::destination_rule::{DestinationRule, PortPolicy, TlsSettings, TrafficPolicy};
use crate::mesh::gateway::{Gateway, Server, ServerTls, ServerTlsMode};
use crate::mesh::meta::{Labels, Meta, port};
use crate::mesh::network_policy::Selector;
use crate::mesh::networks::Passing;
use crate::mesh::node::{Node, Value};
use crate::mesh::service::Protocol;
use crate::report::ClientTls;

/// Turns a Gateway of the Gateway API into a Gateway whose selector is the label of the pods it manages.
///
/// Rule `gateway.gateway-api-listener`. Istio: `pilot/pkg/config/kube/gateway`, `buildTLS`, `listenerProtocolToIstio`.
pub(crate) fn gateway(meta: Meta, document: &Node) -> Gateway {
    of_pods(meta.clone(), document, &meta, document)
}

/// Lists the ports at which a Gateway passes on what is for its network: those of sidecars, and HBONE.
///
/// Istio: `pilot/pkg/serviceregistry/kube/controller/network.go`, `handleGatewayResource`.
pub(crate) fn passing_ports(meta: &Meta, document: &Node) -> Passing {
    let passes = |server: &Server| server.tls_in_force() == Some(ServerTlsMode::AutoPassthrough);
    let servers = gateway(meta.clone(), document).servers;
    let listeners = document.at(&["spec", "listeners"]).map(Node::items).unwrap_or_default();
    let hbone = |listener: &&Node| listener.get("protocol").and_then(Node::text) == Some("HBONE");
    Passing {
        mtls: servers.iter().filter(|server| passes(server)).map(|server| server.port).collect(),
        hbone: listeners.iter().filter(hbone).filter_map(listener_port).collect(),
    }
}

/// Turns a ListenerSet into a Gateway for the pods of its parent, a Gateway of the Gateway API. The error says why the parent
/// takes none of its listeners.
///
/// Rule `gateway.listener-set`. Istio: `pilot/pkg/config/kube/gateway`, `ListenerSetCollection`.
pub(crate) fn listener_set(
    meta: Meta,
    document: &Node,
    parent: Option<(&Meta, &Node)>,
    namespace: Option<&Labels>,
) -> Result<Gateway, &'static str> {
    let (of, declared) = parent.ok_or("its parent is no Gateway that is here")?;
    if is_waypoint(declared) {
        return Err("its parent is a waypoint, which takes no listeners");
    }
    let allowed = declared.at(&["spec", "allowedListeners", "namespaces"]);
    let takes = match allowed.and_then(|allowed| allowed.get("from")).and_then(Node::text) {
        Some("All") => true,
        Some("Same") => of.namespace == meta.namespace,
        Some("Selector") => {
            let selector = Selector::read(allowed.and_then(|allowed| allowed.get("selector")));
            namespace.is_some_and(|labels| selector.selects(labels))
        }
        // None is what no word means.
        Some(_) | None => false,
    };
    if !takes {
        return Err("spec.allowedListeners of its parent does not let its namespace in");
    }
    Ok(of_pods(meta, document, of, declared))
}

/// Names the Gateway that a ListenerSet is for: namespace and name.
pub(crate) fn parent_of(meta: &Meta, document: &Node) -> Option<(String, String)> {
    let parent = document.at(&["spec", "parentRef"])?;
    let text = |field: &str| parent.get(field).and_then(Node::scalar);
    (text("kind").is_none_or(|kind| kind == "Gateway"))
        .then(|| Some((text("namespace").unwrap_or_else(|| meta.namespace.to_string()), text("name")?)))?
}

/// Names the class of a Gateway of the Gateway API.
pub(crate) fn class(document: &Node) -> Option<&str> {
    document.at(&["spec", "gatewayClassName"]).and_then(Node::text)
}

/// Tells whether a Gateway of the Gateway API is a waypoint.
pub(crate) fn is_waypoint(document: &Node) -> bool {
    class(document).is_some_and(is_class_of_waypoints)
}

/// Tells whether what is of a class of istiod's own is a waypoint: that of Envoy, or since 1.31 that of agentgateway.
pub(crate) fn is_class_of_waypoints(class: &str) -> bool {
    matches!(class, "istio-waypoint" | "istio-agentgateway-waypoint")
}

/// Makes a Gateway of the listeners of a document, for the pods of `parent`: itself, unless it is a ListenerSet.
fn of_pods(meta: Meta, document: &Node, parent: &Meta, declared: &Node) -> Gateway {
    let spec = declared.get("spec");
    let listeners = document.at(&["spec", "listeners"]).map(Node::items).unwrap_or_default();
    let east_west = parent.labels.contains_key("topology.istio.io/network").then(|| {
        let label = parent.labels.get("networking.istio.io/gatewayPort");
        label.and_then(|port| port.parse().ok()).unwrap_or(15443)
    });
    let servers = listeners
        .iter()
        .enumerate()
        .filter_map(|(place, listener)| {
            let number = listener_port(listener)?;
            let protocol_text =
                listener.get("protocol").and_then(Node::scalar).unwrap_or_else(|| "HTTP".to_owned());
            // Another one is an error, in lower case as well, and the listener is left out.
            if !matches!(protocol_text.as_str(), "HTTP" | "HTTPS" | "TLS" | "TCP") {
                return None;
            }
            let protocol = Protocol::parse(&protocol_text);
            // Nothing listens for HTTPS or TLS that says nothing of TLS (istio/istio issue 60562).
            if protocol.is_tls() && listener.get("tls").is_none() {
                return None;
            }
            // A certificate or CA of a kind that Istio cannot read is an error, and so is more than one CA: the listener is left out.
            if protocol.is_tls() && (frontend(spec, number).is_some_and(refused) || no_secret(listener)) {
                return None;
            }
            let tls = protocol.is_tls().then(|| tls(listener, spec, number, protocol, east_west));
            Some(Server {
                port: number,
                port_name: listener.get("name").and_then(Node::scalar),
                protocol,
                protocol_text,
                hosts: vec![
                    listener.get("hostname").and_then(Node::scalar).unwrap_or_else(|| "*".to_owned()),
                ],
                host_namespaces: vec!["*".to_owned()],
                bind: None,
                tls,
                place,
                line: listener.line,
            })
        })
        .collect();
    let selector =
        Labels::from([("gateway.networking.k8s.io/gateway-name".to_owned(), parent.name.to_string())]);
    let addresses = spec.and_then(|spec| spec.get("addresses")).map(Node::items).unwrap_or_default();
    let services = addresses
        .iter()
        .filter(|address| address.get("type").and_then(Node::text) == Some("Hostname"))
        .filter_map(|address| address.get("value").and_then(Node::scalar))
        .collect();
    let namespace = parent.namespace.clone();
    Gateway { namespace, selector, selector_line: meta.line, services, servers, meta }
}

fn tls(
    listener: &Node,
    spec: Option<&Node>,
    number: u16,
    protocol: Protocol,
    east_west: Option<u16>,
) -> ServerTls {
    let block = listener.get("tls");
    let option = |name: &str| block.and_then(|block| block.at(&["options", name])).and_then(Node::scalar);
    let validation = frontend(spec, number);
    let has_ca = validation.is_some_and(|validation| !cas(validation).is_empty());
    let fallback = validation
        .and_then(|validation| validation.get("mode"))
        .and_then(Node::text)
        .is_some_and(|mode| mode == "AllowInsecureFallback");
    let passthrough = block.and_then(|block| block.get("mode")).and_then(Node::text) == Some("Passthrough");
    let declared = option("gateway.istio.io/tls-terminate-mode");
    let mode = if passthrough {
        let auto = (protocol == Protocol::Tls && east_west == Some(number))
            || option("gateway.istio.io/listener-protocol").as_deref() == Some("auto-passthrough");
        if auto { ServerTlsMode::AutoPassthrough } else { ServerTlsMode::Passthrough }
    } else {
        match declared.as_deref() {
            Some("MUTUAL") => ServerTlsMode::Mutual,
            Some("OPTIONAL_MUTUAL") => ServerTlsMode::OptionalMutual,
            Some("ISTIO_MUTUAL") => ServerTlsMode::IstioMutual,
            Some("ISTIO_SIMPLE") => ServerTlsMode::Simple,
            Some(_) | None => match (has_ca, fallback) {
                (true, true) => ServerTlsMode::OptionalMutual,
                (true, false) => ServerTlsMode::Mutual,
                (false, _) => ServerTlsMode::Simple,
            },
        }
    };
    ServerTls {
        mode,
        mode_written: true,
        line: block.map_or(listener.line, |block| block.line),
        https_redirect: false,
        only_redirect: false,
        credential_name: block
            .and_then(|block| block.get("certificateRefs"))
            .and_then(|refs| refs.items().first())
            .and_then(|first| first.get("name"))
            .and_then(Node::scalar),
        server_certificate: false,
        server_certificate_file: None,
        ca_certificates: has_ca || matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual),
        min_version: None,
        max_version: None,
        cipher_suites: Vec::new(),
    }
}

fn cas(validation: &Node) -> &[Node] {
    validation.get("caCertificateRefs").map(Node::items).unwrap_or_default()
}

fn refused(validation: &Node) -> bool {
    let unknown = |node: &Node| node.text().is_some_and(|kind| !matches!(kind, "ConfigMap" | "Secret"));
    cas(validation).len() > 1 || cas(validation).iter().filter_map(|ca| ca.get("kind")).any(unknown)
}

/// Tells whether a listener names a certificate that is no Secret.
fn no_secret(listener: &Node) -> bool {
    let certificates = listener.at(&["tls", "certificateRefs"]).map(Node::items).unwrap_or_default();
    certificates
        .iter()
        .filter_map(|one| one.get("kind"))
        .any(|kind| kind.text().is_some_and(|kind| kind != "Secret"))
}

/// Returns the port of a listener.
pub(super) fn listener_port(listener: &Node) -> Option<u16> {
    port(listener.get("port"))
}

/// Finds the client validation for a port: `spec.tls.frontend.perPort`, else `.default`.
pub(super) fn frontend(spec: Option<&Node>, number: u16) -> Option<&Node> {
    let frontend = spec?.at(&["tls", "frontend"])?;
    let own = frontend
        .get("perPort")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .find(|entry| port(entry.get("port")) == Some(number))
        .and_then(|entry| entry.get("tls"));
    own.or_else(|| frontend.get("default")).and_then(|tls| tls.get("validation"))
}

/// Returns a Gateway without what it says of the clients' certificates; absent where it says nothing of them.
pub(crate) fn without_frontend(document: &Node) -> Option<Node> {
    document.at(&["spec", "tls", "frontend"])?;
    let mut bare = document.clone();
    let spec = match &mut bare.value {
        Value::Map(entries) => entries.iter_mut().find(|(key, _)| key == "spec"),
        Value::List(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Float(_)
        | Value::Text(_) => None,
    };
    if let Some((_, Node { value: Value::Map(fields), .. })) = spec {
        fields.retain(|(key, _)| key != "tls");
    }
    Some(bare)
}

/// What a BackendTLSPolicy is for: in its own namespace, a whole Service or ServiceEntry, or the port of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A Service.
    Service { name: String, section: Option<String> },
    /// A ServiceEntry, with all its hosts.
    ServiceEntry { name: String, section: Option<String> },
    /// A host, as Istio's own kind `Hostname` names it.
    Host(String),
}

/// Turns a BackendTLSPolicy into a rule for each of its targets, with their hosts and port numbers still open: SIMPLE,
/// exported to all. The certificate that a Gateway has for its backends (`tls.backend.clientCertificateRef`) istiod only reports on
/// (`testdata/backend-tls-client-cert.yaml`).
///
/// Rule `destination-rule.backend-tls-policy`. Istio: `pilot/pkg/config/kube/gateway`, `backend_policies`.
pub(crate) fn backend_tls_policy(meta: &Meta, document: &Node) -> Vec<(Target, DestinationRule)> {
    let Some(spec) = document.get("spec") else { return Vec::new() };
    // Left to another controller of the same API.
    if meta.annotations.get("istio.io/ignore-policy-attachment").is_some_and(|value| value == "true") {
        return Vec::new();
    }
    let validation = spec.get("validation");
    let hostname = validation.and_then(|validation| validation.get("hostname")).and_then(Node::scalar);
    let tls = simple(validation.map_or(spec.line, |validation| validation.line), hostname);
    spec.get("targetRefs")
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|reference| {
            let name = reference.get("name").and_then(Node::scalar)?;
            let section = reference.get("sectionName").and_then(Node::scalar).filter(|name| !name.is_empty());
            let entry =
                PortPolicy { port: None, tls: Some(tls.clone()), passthrough: false, line: spec.line };
            let policy = if section.is_some() {
                TrafficPolicy { ports: vec![entry], ..TrafficPolicy::default() }
            } else {
                TrafficPolicy { tls: Some(tls.clone()), line: spec.line, ..TrafficPolicy::default() }
            };
            let target = match reference.get("kind").and_then(Node::text) {
                Some("Service") => Target::Service { name, section },
                Some("ServiceEntry") => Target::ServiceEntry { name, section },
                Some("Hostname") => Target::Host(name),
                Some(_) | None => return None,
            };
            let rule = DestinationRule {
                meta: meta.clone(),
                host: String::new(),
                host_line: reference.line,
                export_to: Vec::new(),
                workload_selector: None,
                policy: Some(policy),
                subsets: Vec::new(),
            };
            Some((target, rule))
        })
        .collect()
}

/// Turns an XBackend into the rule that it comes to: SIMPLE for the port of its host. None without tls, nor with a client
/// certificate, which Istio refuses there.
///
/// Rule `destination-rule.backend-tls-policy`. Istio: `pilot/pkg/config/kube/gateway/testdata/xbackend.yaml`.
pub(crate) fn backend(meta: Meta, document: &Node) -> Option<DestinationRule> {
    let spec = document.get("spec")?;
    let block = spec.get("tls")?;
    if block.get("mode").and_then(Node::text).is_some_and(|mode| mode != "ServerOnly") {
        return None;
    }
    let hostname = spec.at(&["externalHostname", "hostname"])?;
    let host = hostname.scalar()?;
    let validated = block.at(&["validation", "hostname"]).and_then(Node::scalar);
    let tls = simple(block.line, validated.unwrap_or_else(|| host.clone()));
    let entry = PortPolicy {
        // Another draft of the kind calls it by the other name.
        port: port(spec.at(&["port", "number"])).or_else(|| port(spec.at(&["port", "port"]))),
        tls: Some(tls),
        passthrough: false,
        line: block.line,
    };
    Some(DestinationRule {
        host,
        host_line: hostname.line,
        export_to: Vec::new(),
        workload_selector: None,
        policy: Some(TrafficPolicy { ports: vec![entry], ..TrafficPolicy::default() }),
        subsets: Vec::new(),
        meta,
    })
}

/// SIMPLE as the Gateway API declares it, always with a CA.
fn simple(line: u32, sni: impl Into<Option<String>>) -> TlsSettings {
    TlsSettings {
        mode: ClientTls::Simple,
        mode_written: true,
        line,
        sni: sni.into(),
        credential_name: None,
        client_certificate: false,
        ca_certificates: true,
        insecure_skip_verify: false,
        subject_alt_names: Vec::new(),
    }
}
