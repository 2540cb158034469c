//! Declared ports of Services and ServiceEntries: what they say of their protocol, and what hints at it.

use crate::lint::survey::injection::of_kubernetes;
use crate::mesh::meta::Meta;
use crate::mesh::pod::Pod;
use crate::mesh::service::{Protocol, Service, ServicePort};
use crate::mesh::{HostService, Mesh, Owner};
use crate::patch::Patch;
use crate::policy::interception::NEVER_INTERCEPTED;
use std::collections::BTreeSet;

/// One port whose declaration selects no protocol.
pub(crate) struct Undeclared<'a> {
    pub(crate) meta: &'a Meta,
    /// The port that clients dial.
    pub(crate) number: u16,
    pub(crate) name: Option<&'a str>,
    pub(crate) line: u32,
    /// The ports on the wire.
    pub(crate) wire: BTreeSet<u16>,
    /// The pods behind it.
    pub(crate) pods: Vec<&'a Pod>,
    /// Where the protocol is declared.
    pointer: String,
}

/// Tells whether a Service is Istio's own: of its control plane, or made for a Gateway of the Gateway API.
///
/// Istio: `pkg/config/analysis/analyzers/util`, `IsIstioControlPlane`; `service/portname.go`.
fn of_istio(meta: &Meta) -> bool {
    let labels = &meta.labels;
    labels.contains_key("gateway.istio.io/managed")
        || labels.contains_key("istio")
        || labels.get("release").is_some_and(|release| release == "istio")
}

/// Every port without a declared protocol; those of the proxy itself, of Kubernetes' own namespaces and of Istio's own
/// Services are left alone.
pub(crate) fn undeclared(mesh: &Mesh) -> Vec<Undeclared<'_>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for host in mesh.hosts.iter().filter(|host| !of_kubernetes(&host.namespace)) {
        let (meta, is_entry) = match host.owner {
            Owner::Service(_) => (mesh.declaration(host), false),
            // One entry stands for all its hosts.
            Owner::Entry(index) => (mesh.declaration(host).filter(|_| seen.insert(index)), true),
        };
        let Some(meta) = meta.filter(|meta| !of_istio(meta)) else { continue };
        for (port, place) in host.ports.iter().zip(places(mesh, host)) {
            if port.protocol != Protocol::Unsupported {
                continue;
            }
            let behind = || {
                host.endpoints
                    .iter()
                    .filter_map(|endpoint| Some((endpoint, *endpoint.ports.get(&port.number)?)))
            };
            let mut wire: BTreeSet<u16> = behind().map(|(_, wire)| wire).collect();
            if wire.is_empty() {
                wire.insert(port.target);
            }
            if wire.iter().all(|wire| NEVER_INTERCEPTED.contains(wire)) {
                continue;
            }
            let field = if is_entry { "protocol" } else { "appProtocol" };
            found.push(Undeclared {
                meta,
                number: port.number,
                name: port.name.as_deref().filter(|name| !name.is_empty()),
                line: port.line,
                wire,
                pods: behind().filter_map(|(endpoint, _)| mesh.pod_of(endpoint)).collect(),
                pointer: format!("/spec/ports/{place}/{field}"),
            });
        }
    }
    found
}

/// The places of a host's ports in the list of its document.
fn places<'a>(mesh: &'a Mesh, host: &HostService) -> Box<dyn Iterator<Item = usize> + 'a> {
    match host.owner {
        Owner::Service(index) => Box::new(
            mesh.services.get(index).into_iter().flat_map(|service| &service.ports).map(|port| port.place),
        ),
        Owner::Entry(index) => Box::new(
            mesh.service_entries.get(index).into_iter().flat_map(|entry| &entry.ports).map(|port| port.place),
        ),
    }
}

impl Undeclared<'_> {
    /// Names the port as messages do.
    pub(crate) fn named(&self) -> String {
        match self.name {
            Some(name) => format!("port {} ({name}) of {}", self.number, self.meta.id()),
            None => format!("port {} of {}", self.number, self.meta.id()),
        }
    }

    /// Declares a protocol. `appProtocol` counts before the name, which others may refer to.
    pub(crate) fn declare(&self, protocol: Protocol) -> String {
        Patch::of(self.meta).set(&self.pointer, protocol.name().to_ascii_lowercase()).yaml()
    }
}

/// Returns a port of a Service by its number.
pub(crate) fn service_port<'a>(
    mesh: &'a Mesh,
    host: &HostService,
    number: u16,
) -> Option<(&'a Service, &'a ServicePort)> {
    let Owner::Service(index) = host.owner else { return None };
    let service = mesh.services.get(index)?;
    Some((service, service.port(number)?))
}

/// A protocol whose server speaks first: a proxy that waits for the client's first bytes to tell the protocol waits in vain.
pub(crate) struct ServerFirst {
    pub(crate) name: &'static str,
    ports: &'static [u16],
    /// First parts of port names.
    words: &'static [&'static str],
    /// Images, without registry and tag.
    images: &'static [&'static str],
}

const SERVER_FIRST: &[ServerFirst] = &[
    ServerFirst { name: "FTP", ports: &[21], words: &["ftp"], images: &["vsftpd", "proftpd", "pure-ftpd"] },
    ServerFirst { name: "SSH", ports: &[22], words: &["ssh", "sftp"], images: &["openssh-server", "sftp"] },
    ServerFirst { name: "Telnet", ports: &[23], words: &["telnet"], images: &[] },
    ServerFirst {
        name: "SMTP",
        ports: &[25, 587],
        words: &["smtp", "submission", "lmtp"],
        images: &["postfix", "exim", "exim4", "opensmtpd"],
    },
    ServerFirst { name: "POP3", ports: &[110], words: &["pop3"], images: &[] },
    ServerFirst { name: "NNTP", ports: &[119], words: &["nntp"], images: &[] },
    ServerFirst { name: "IMAP", ports: &[143], words: &["imap"], images: &["dovecot"] },
    ServerFirst { name: "rsync", ports: &[873], words: &["rsync"], images: &["rsync", "rsyncd"] },
    ServerFirst {
        name: "MySQL",
        ports: &[3306],
        words: &["mariadb"],
        images: &["mysql", "mysql-server", "mariadb", "percona", "percona-server"],
    },
    ServerFirst { name: "NATS", ports: &[4222], words: &["nats"], images: &["nats"] },
    ServerFirst { name: "VNC", ports: &[5900], words: &["vnc"], images: &[] },
];

/// Returns the protocol whose server is known to speak first at a port, and by what: its name, its number, or the image
/// of the container that listens.
pub(crate) fn server_first(port: &Undeclared<'_>) -> Option<(&'static ServerFirst, String)> {
    let first = |name: &str| name.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let by_name = port.name.and_then(|name| {
        let known = SERVER_FIRST.iter().find(|known| known.words.contains(&first(name).as_str()))?;
        Some((known, format!("its name is {name}")))
    });
    let numbers = || port.wire.iter().chain([&port.number]);
    let by_number = || {
        let known = SERVER_FIRST.iter().find(|known| numbers().any(|number| known.ports.contains(number)))?;
        let number = numbers().find(|number| known.ports.contains(number))?;
        Some((known, format!("port {number} is that by convention")))
    };
    let by_image = || {
        let listens = |ports: &[u16]| ports.iter().any(|own| port.wire.contains(own));
        let images = port.pods.iter().flat_map(|pod| &pod.images).filter(|(_, ports)| listens(ports));
        images
            .filter_map(|(image, _)| {
                let known = SERVER_FIRST.iter().find(|known| known.images.contains(&bare(image)))?;
                Some((known, format!("the container that listens is {image}")))
            })
            .next()
    };
    by_name.or_else(by_number).or_else(by_image)
}

/// An image without registry, tag and digest.
fn bare(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// Suggests the protocol to declare. What nothing hints at is TCP: that is right for every protocol, if less is seen of it.
pub(crate) fn suggested(mesh: &Mesh, port: &Undeclared<'_>) -> Protocol {
    if server_first(port).is_some() {
        return Protocol::Tcp;
    }
    let declared = |protocol: &Protocol| !matches!(protocol, Protocol::Unsupported | Protocol::Udp);
    let named = |(name, number): &(Option<String>, u16)| {
        port.wire.contains(number).then(|| Protocol::of_service_port(*number, "TCP", None, name.as_deref()))
    };
    let by_others = port.pods.iter().flat_map(|pod| {
        let services = port.wire.iter().flat_map(|wire| mesh.services_of(pod, *wire));
        services.map(|(_, other)| other.protocol)
    });
    let by_container = port.pods.iter().flat_map(|pod| &pod.ports).filter_map(named);
    by_others.chain(by_container).find(declared).unwrap_or_else(|| {
        let any = |known: &[u16]| port.wire.iter().chain([&port.number]).any(|number| known.contains(number));
        if any(&[443, 8443]) {
            Protocol::Https
        } else if any(&[80, 8080]) {
            Protocol::Http
        } else {
            Protocol::Tcp
        }
    })
}
