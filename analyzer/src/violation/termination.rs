//! Who terminates a connection's TLS by declaration, and within which bounds: what the rules on versions, suites and
//! identities ask.

use flow::TlsVersion;

use crate::expectation::Expectation;
use crate::mesh::gateway::{Gateway, Server, ServerTlsMode};
use crate::policy::inbound::InboundKind;
use crate::policy::{Trace, gateway};
use crate::report::{Citation, ClientTls, ServerMode};
use crate::violation::Case;
use crate::violation::restart::{self, Restart};

/// The bounds that one side declares for the versions and suites of a connection.
pub(super) struct Bounds {
    /// The lowest version.
    pub(super) minimum: TlsVersion,
    /// What says so.
    pub(super) minimum_from: String,
    /// The suites, by OpenSSL name; empty where nothing lists any.
    pub(super) suites: Vec<String>,
    /// What lists them.
    pub(super) suites_from: String,
    /// The resource that declares them; absent for what is built in.
    pub(super) cause: Option<String>,
    /// What is cited for them.
    pub(super) because: Vec<Citation>,
}

/// Istio's lowest version where nothing is declared.
const DEFAULT: TlsVersion = TlsVersion::Tls12;

/// Returns the bounds of both sides. A handshake that failed negotiated nothing.
///
/// Rule `mesh-config.tls-bounds`. Istio: MeshConfig, `meshMTLS`, `tlsDefaults`; Gateway, `ServerTLSSettings`.
pub(super) fn bounds(case: &Case<'_>) -> Vec<Bounds> {
    if case.has_failed() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if ends_at_sidecar(case) {
        let config = &case.mesh.config;
        found.push(of_mesh(case, "meshMTLS", config.mesh_min_version.as_deref(), &config.mesh_cipher_suites));
    } else if let Some((gateway, server)) = terminating_server(case) {
        found.push(of_server(case, gateway, server));
    }
    let originated =
        matches!(case.expectation.expected.client_tls, Some(ClientTls::Simple | ClientTls::Mutual));
    if originated {
        let config = &case.mesh.config;
        found.push(of_mesh(
            case,
            "tlsDefaults",
            config.tls_min_version.as_deref(),
            &config.tls_cipher_suites,
        ));
    }
    found
}

/// Tells whether the server's sidecar or ztunnel ends the TLS by its mesh certificate: under STRICT always, under
/// PERMISSIVE by Istio's ALPN.
pub(super) fn ends_at_sidecar(case: &Case<'_>) -> bool {
    let Expectation { server, expected, .. } = case.expectation;
    if case.tls().is_none() {
        return false;
    }
    match server {
        InboundKind::Sidecar => match expected.server_mode {
            Some(ServerMode::Strict) => true,
            Some(ServerMode::Permissive) => case.tls().is_some_and(flow::TlsSession::offers_istio_alpn),
            Some(ServerMode::Disable) | None => false,
        },
        InboundKind::Ambient => expected.istio_mtls == crate::report::IstioMtls::Required,
        InboundKind::NotIntercepted(_)
        | InboundKind::NoProxy
        | InboundKind::Gateway
        | InboundKind::Outside => false,
    }
}

/// Restarts the one of the mesh's proxies that holds the bounds, and is to be begun anew where it does not: the one that ends the TLS,
/// else the one that originates it.
pub(super) fn restart(case: &Case<'_>) -> Restart {
    if ends_at_sidecar(case) || terminating_server(case).is_some() {
        restart::server_proxy(case)
    } else {
        restart::client_proxy(case)
    }
}

/// Returns the Gateway's server that ends the TLS; absent where it only passes it on.
pub(super) fn terminating_server<'a>(case: &Case<'a>) -> Option<(&'a Gateway, &'a Server)> {
    let described = case.expectation.expected.gateway_server.as_ref()?;
    let (pod, port) = case.server_pod()?;
    let (gateway, server) =
        gateway::servers_on(case.mesh, pod, port).into_iter().find(|(gateway, server)| {
            gateway.meta.id() == described.from && server.port_name == described.port_name
        })?;
    let ends = matches!(
        server.tls_in_force()?,
        ServerTlsMode::Simple
            | ServerTlsMode::Mutual
            | ServerTlsMode::OptionalMutual
            | ServerTlsMode::IstioMutual
    );
    ends.then_some((gateway, server))
}

fn of_mesh(case: &Case<'_>, field: &str, minimum: Option<&str>, suites: &[String]) -> Bounds {
    let meta = case.mesh.config.meta.as_ref();
    let (lowest, words) = lowest(minimum, &format!("MeshConfig {field}.minProtocolVersion"));
    let mut trace = Trace::default();
    let declared = minimum.is_some() || !suites.is_empty();
    match meta.filter(|_| declared) {
        Some(meta) => trace.cite_at(
            "mesh-config.tls-bounds",
            meta,
            format!("{}.{field}", case.mesh.config.path),
            meta.line,
            words.clone(),
        ),
        None => trace.built_in("mesh-config.tls-bounds", words.clone()),
    }
    Bounds {
        minimum: lowest,
        minimum_from: words,
        suites: suites.to_vec(),
        suites_from: format!("MeshConfig {field}.cipherSuites"),
        cause: meta.filter(|_| declared).map(crate::mesh::meta::Meta::id),
        because: trace.into_citations(),
    }
}

/// A server's own bounds come before the mesh's, which say nothing about mesh certificates.
fn of_server(case: &Case<'_>, gateway: &Gateway, server: &Server) -> Bounds {
    let own = server.tls.as_ref();
    let by_mesh = server.tls_in_force() != Some(ServerTlsMode::IstioMutual);
    let config = &case.mesh.config;
    let defaults = |declared: bool| declared && by_mesh;
    let (own_minimum, own_suites) = (
        own.and_then(|tls| tls.min_version.as_deref()),
        own.map_or(&[][..], |tls| tls.cipher_suites.as_slice()),
    );
    let minimum = own_minimum.or_else(|| config.tls_min_version.as_deref().filter(|_| defaults(true)));
    let suites = if own_suites.is_empty() && defaults(!config.tls_cipher_suites.is_empty()) {
        &config.tls_cipher_suites
    } else {
        own_suites
    };
    let id = gateway.meta.id();
    let name = |field: &str, own: bool| {
        if own { format!("{id} {field}") } else { format!("MeshConfig tlsDefaults.{field}") }
    };
    let (lowest, words) = lowest(minimum, &name("minProtocolVersion", own_minimum.is_some()));
    let mut trace = Trace::default();
    let line = own.map_or(server.line, |tls| tls.line);
    trace.cite("mesh-config.tls-bounds", &gateway.meta, Some("spec.servers.tls"), line, words.clone());
    Bounds {
        minimum: lowest,
        minimum_from: words,
        suites: suites.to_vec(),
        suites_from: name("cipherSuites", !own_suites.is_empty()),
        cause: Some(id),
        because: trace.into_citations(),
    }
}

fn lowest(declared: Option<&str>, field: &str) -> (TlsVersion, String) {
    let version = match declared {
        Some("TLSV1_0") => TlsVersion::Tls10,
        Some("TLSV1_1") => TlsVersion::Tls11,
        Some("TLSV1_2") => TlsVersion::Tls12,
        Some("TLSV1_3") => TlsVersion::Tls13,
        // TLS_AUTO, and what Istio does not know.
        Some(_) | None => return (DEFAULT, "Istio's default".to_owned()),
    };
    (version, format!("{field} {}", declared.unwrap_or_default()))
}

/// Orders the versions of TLS; absent for DTLS, which Istio does not carry.
pub(super) fn rank(version: TlsVersion) -> Option<u8> {
    match version {
        TlsVersion::Ssl2 => Some(0),
        TlsVersion::Ssl3 => Some(1),
        TlsVersion::Tls10 => Some(2),
        TlsVersion::Tls11 => Some(3),
        TlsVersion::Tls12 => Some(4),
        TlsVersion::Tls13 => Some(5),
        TlsVersion::Dtls10 | TlsVersion::Dtls12 | TlsVersion::Dtls13 => None,
    }
}
