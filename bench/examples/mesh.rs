//! Reads, lints and judges by a large mesh, and says how much time on a processor each took:
//! `cargo run --release -p bench --example mesh -- [PODS SERVICES POLICIES]`.
//!
//! The mesh is generated: every namespace has the same shape, with Services of several pods, and policies of each kind
//! spread over the namespaces. Few of its declarations contradict each other, as in a mesh that works.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use analyzer::audit::{Auditor, EDGES};
use analyzer::lint::lint;
use analyzer::mesh::{Declared, FILE_DOCUMENTS, Manifest, Mesh};
use flow::{
    ClientAuth, Close, Endpoint, Evidence, Flow, FlowId, PerSide, Presented, Security, Timestamp, TlsSession,
    Transport,
};

/// Services of one namespace.
const SERVICES_EACH: u32 = 6;

fn main() {
    let sizes: Vec<u32> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [pods, services, policies] = sizes.as_slice().try_into().unwrap_or([20_000, 3_000, 2_000]);
    let files = declarations(pods, services, policies);
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    println!("{pods} pods, {services} Services, {policies} policies, {bytes} bytes");

    let start = spent();
    let (mesh, errors) = Mesh::load(files.clone());
    println!("read and indexed in {:?}, {} errors, {} MiB in use", since(start), errors.len(), resident());
    if let Some(error) = errors.iter().find(|error| error.fatal) {
        eprintln!("the figures are of a part of it: {}", error.message);
        std::process::exit(1);
    }

    again(&files);

    let start = spent();
    let findings = lint(&mesh);
    let mut ids: Vec<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    ids.dedup();
    println!("linted in {:?}, {} findings: {}", since(start), findings.len(), ids.join(" "));

    let auditor = Auditor::new(Arc::new(mesh));
    let none = auditor.clone().keeping(0);
    let edge = |number: u32| (number.wrapping_mul(7919) % pods, number.wrapping_mul(104_729) % pods);
    let session = Security::Tls(
        Arc::new(TlsSession {
            alpn_offered: vec!["istio".to_owned()],
            ja4: Some("t13i130600_f57a46bbacb6_e7c285222651".to_owned()),
            ..TlsSession::default()
        }),
        ClientAuth::Proved(Presented::Sent, Evidence::WIRE),
    );
    for (what, security, flows) in
        [("that conform", session, 500_000), ("that violate", Security::Plaintext(Evidence::WIRE), 50_000)]
    {
        let flow = |(from, to): (u32, u32)| flow(from, to, security.clone());
        let again = rate(&auditor, flows, |number| flow(edge(number % 1000)));
        println!("judged {again:.0} flows a second {what}, along 1000 edges");
        let new = rate(&none, flows / 5, |number| flow(edge(number)));
        println!("judged {new:.0} flows a second {what}, each along a new edge");
    }
    let before = resident();
    // Fills what is kept to its bound.
    let bound = u32::try_from(EDGES).unwrap_or(u32::MAX);
    rate(&auditor, bound, |number| {
        flow(number % pods, number.wrapping_mul(104_729) % pods, Security::Plaintext(Evidence::WIRE))
    });
    println!("{} MiB in use, {before} before the edges that are kept were all there", resident());
}

/// Makes the mesh again of objects that were read before, as a watch does when one of them changes.
fn again(files: &[Manifest]) {
    let documents = files.iter().flat_map(|file| file.text.split("---\n"));
    let declared: Vec<Declared> = documents
        .zip(0..)
        .filter_map(|(text, number)| {
            let object: serde_json::Value = serde_saphyr::from_str(text).ok()?;
            Some(Declared::read(&format!("object-{number}"), &object))
        })
        .collect();
    let start = spent();
    let (mesh, _) = Mesh::of_declared(&declared);
    println!("made again in {:?} of {} objects, {} pods", since(start), declared.len(), mesh.pods.len());
}

/// Judges so many flows, and returns how many that is in a second.
fn rate(auditor: &Auditor, flows: u32, next: impl Fn(u32) -> Flow) -> f64 {
    let start = spent();
    for number in 0..flows {
        std::hint::black_box(auditor.judge(&next(number)));
    }
    f64::from(flows) / since(start).as_secs_f64()
}

/// The time that this thread was given on a processor, where the system tells: what else the machine does costs it none.
fn spent() -> Duration {
    let status = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = status.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn since(start: Duration) -> Duration {
    spent().saturating_sub(start)
}

fn flow(from: u32, to: u32, security: Security) -> Flow {
    Flow {
        id: FlowId(1),
        start: Timestamp::from_nanos(1),
        end: Timestamp::from_nanos(2),
        transport: Transport::Tcp,
        client: Endpoint { ip: address(from), port: 40_000 },
        server: Endpoint { ip: address(to), port: 8080 },
        tunnel: Vec::new(),
        seen_at: Vec::new(),
        security,
        protocol: None,
        upgrade: None,
        from_start: true,
        tcp_handshake: None,
        close: Close::Fin,
        packets: PerSide { client: 3, server: 3 },
        bytes: PerSide { client: 10, server: 10 },
    }
}

/// The address of a pod.
fn address(pod: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000_u32.wrapping_add(pod)).into()
}

/// MiB of memory in use, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// The policy of the whole mesh.
fn mesh_policy(mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default, namespace: istio-system}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
    )
}

/// Everything, in files of as many documents as one is read with.
fn declarations(pods: u32, services: u32, policies: u32) -> Vec<Manifest> {
    let namespaces = services.div_ceil(SERVICES_EACH).max(1);
    let mut documents = Vec::new();
    let mut add = |document: std::fmt::Arguments<'_>| documents.push(document.to_string());
    add(format_args!("{}", mesh_policy("STRICT")));
    for number in 0..namespaces {
        add(format_args!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: ns-{number}, labels: {{istio-injection: enabled}}}}\n"
        ));
    }
    for number in 0..services {
        let ip = Ipv4Addr::from(0xac10_0000_u32.wrapping_add(number));
        add(format_args!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: app-{number}, namespace: ns-{}}}\nspec: {{clusterIP: {ip}, selector: {{app: app-{number}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n",
            number % namespaces
        ));
    }
    for number in 0..pods {
        let service = number % services.max(1);
        add(format_args!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: app-{service}-{number}, namespace: ns-{}, labels: {{app: app-{service}, security.istio.io/tlsMode: istio}}}}\nspec: {{containers: [{{name: app, ports: [{{containerPort: 8080}}]}}, {{name: istio-proxy, args: [proxy, sidecar]}}]}}\nstatus: {{podIP: {}}}\n",
            service % namespaces,
            address(number)
        ));
    }
    for number in 0..policies {
        let service = number % services.max(1);
        let head = format!("metadata: {{name: policy-{number}, namespace: ns-{}}}", service % namespaces);
        match number % 4 {
            0 | 1 => add(format_args!(
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n{head}\nspec: {{host: app-{service}, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}}}\n"
            )),
            2 => add(format_args!(
                "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n{head}\nspec: {{selector: {{matchLabels: {{app: app-{service}}}}}, mtls: {{mode: STRICT}}}}\n"
            )),
            _ => add(format_args!(
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\n{head}\nspec: {{hosts: [app-{service}], http: [{{route: [{{destination: {{host: app-{service}}}}}]}}]}}\n"
            )),
        }
    }
    let files = documents.chunks(FILE_DOCUMENTS).zip(1..);
    files
        .map(|(part, number)| Manifest { file: format!("mesh-{number}.yaml"), text: part.join("---\n") })
        .collect()
}
