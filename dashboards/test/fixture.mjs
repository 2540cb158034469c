// Answers of an invented mesh, for the states that a real audit does not show on demand: nothing captured, nothing wrong,
// an error, a very mixed matrix. Names and figures are made up; the forms are the API's.

const T0 = Date.parse("2026-09-14T09:00:00Z");
const at = (seconds) => new Date(T0 + seconds * 1000).toISOString().replace("Z", "000000Z");
const hex = (number, digits) => number.toString(16).padStart(digits, "0");

const party = (name, kind, address, port) => {
  const [namespace, workload] = name === null ? [null, null] : name.split("/");
  return {
    address, kind, namespace, workload,
    pod: workload === null ? null : `${workload}-5f6d8-x2lqp`,
    service: port === undefined || workload === null ? null : `${namespace}/${workload}`,
    service_account: workload,
  };
};

const coverage = (change) => ({
  packets: 8412, bytes: 2_114_000, flows: 331, from_start: 320, mid_stream: 11, empty: 4, skipped: { "not-ip": 12 },
  kernel_dropped: null, damaged: [], ...change,
});

const expected = (change) => ({
  server_mode: "STRICT", server_mode_from: "PeerAuthentication/payments/default", client_tls: "ISTIO_MUTUAL", client_tls_from: "auto-mtls",
  allowed: ["mtls"], istio_mtls: "required", client_wire: ["mtls"], conflict: false, sni: "outbound_.8080_._.ledger.payments.svc.cluster.local",
  protocol: "HTTP", gateway_server: null, ...change,
});

const DISABLE_YAML = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: search-lb
  namespace: web
spec:
  host: search.catalog.svc.cluster.local
  trafficPolicy:
    tls:
      mode: ISTIO_MUTUAL # was DISABLE
    loadBalancer:
      simple: LEAST_REQUEST
`;

const STRICT_YAML = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: ledger
  namespace: payments
spec:
  template:
    metadata:
      annotations:
        traffic.sidecar.istio.io/excludeInboundPorts: "" # was "8080"
`;

const strictWhy = [
  { rule: "peer-authentication.mesh-wide", resource: "PeerAuthentication/istio-system/default", field: "spec.mtls.mode", effect: "PERMISSIVE, overridden", file: "mesh/00-mesh.yaml", line: 12 },
  { rule: "peer-authentication.narrowest-wins", resource: "PeerAuthentication/payments/default", field: "spec.mtls.mode", effect: "STRICT, decides", file: "mesh/10-payments.yaml", line: 8 },
  { rule: "proxy.excluded-port", resource: "Pod/payments/ledger-5f6d8-x2lqp", field: "metadata.annotations", effect: "port 8080 bypasses the sidecar", file: "mesh/20-pods.yaml", line: 118 },
];
const disableWhy = [
  { rule: "destination-rule.host-match", resource: "DestinationRule/istio-system/default", field: "spec.trafficPolicy.tls.mode", effect: "ISTIO_MUTUAL, overridden", file: "mesh/00-mesh.yaml", line: 31 },
  { rule: "destination-rule.client-namespace-first", resource: "DestinationRule/web/search-lb", field: "spec.trafficPolicy.tls.mode", effect: "DISABLE, decides", file: "mesh/30-web.yaml", line: 44 },
  { rule: "peer-authentication.narrowest-wins", resource: "default", field: null, effect: "PERMISSIVE, accepts plaintext", file: null, line: null },
];

const finding = (number, change) => ({
  key: hex(0xa000 + number, 16), id: "OB01", severity: "critical", certainty: "certain", message: "", client: null, server: null, port: 8080,
  class: "plaintext", proof: "wire", expected: expected({}), cause: null, because: strictWhy,
  remedy: { summary: "", resource: null, file: null, line: null, yaml: null, values: null },
  flows: 1, first_seen: at(11), last_seen: at(3400), examples: [hex(number * 7 + 1, 32), hex(number * 7 + 2, 32)], ...change,
});

const search = party("catalog/search", "sidecar", "10.1.2.7", 9090);
const ledger = party("payments/ledger", "sidecar", "10.1.4.9", 8080);
const disable = {
  id: "OB03", severity: "high", server: search, port: 9090, cause: "DestinationRule/web/search-lb", because: disableWhy,
  expected: expected({ server_mode: "PERMISSIVE", server_mode_from: "default", client_tls: "DISABLE", client_tls_from: "DestinationRule/web/search-lb", allowed: ["mtls", "tls", "plaintext"], istio_mtls: "accepted", client_wire: ["plaintext"], sni: null }),
  remedy: { summary: "Set the mode to ISTIO_MUTUAL, or leave tls out so that auto mTLS decides.", resource: "DestinationRule/web/search-lb", file: "mesh/30-web.yaml", line: 44, yaml: DISABLE_YAML, values: null },
};

const FINDINGS = [
  finding(1, {
    message: "batch/cron-pay reaches payments/ledger:8080 in plaintext although STRICT is declared", client: party("batch/cron-pay", "no-proxy", "10.1.9.3"), server: ledger,
    cause: "PeerAuthentication/payments/default", flows: 12,
    remedy: { summary: "Take port 8080 out of excludeInboundPorts, so that the sidecar enforces STRICT on it.", resource: "Deployment/payments/ledger", file: "mesh/20-pods.yaml", line: 118, yaml: STRICT_YAML, values: null },
  }),
  finding(2, { ...disable, message: "web/frontend sends plaintext to catalog/search:9090 because DestinationRule web/search-lb disables TLS", client: party("web/frontend", "sidecar", "10.1.1.4"), flows: 731 }),
  finding(3, { ...disable, message: "web/cart sends plaintext to catalog/search:9090 because DestinationRule web/search-lb disables TLS", client: party("web/cart", "sidecar", "10.1.1.5"), flows: 40 }),
  finding(4, {
    id: "OB05", severity: "high", class: "tls", proof: "inferred", certainty: "likely",
    message: "outside client reaches istio-system/istio-ingressgateway:443 without a client certificate although Gateway web/public wants MUTUAL",
    client: party(null, "unknown", "198.51.100.7"), server: party("istio-system/istio-ingressgateway", "gateway", "10.1.0.2", 443), port: 443, cause: "Gateway/web/public",
    because: [{ rule: "gateway.server-by-sni", resource: "Gateway/web/public", field: "spec.servers[0].tls.mode", effect: "MUTUAL, decides", file: "mesh/40-gateway.yaml", line: 21 }],
    expected: expected({ server_mode: null, server_mode_from: "default", client_tls: null, client_tls_from: "default", istio_mtls: "none", conflict: null, sni: null, protocol: "HTTPS",
      gateway_server: { from: "Gateway/web/public", port_name: "https", protocol: "HTTPS", tls_mode: "MUTUAL", client_cert: "required", min_version: "1.2", https_redirect: false } }),
    remedy: { summary: "The gateway's listener does not enforce what is declared: check that its secret holds a ca.crt.", resource: "Gateway/web/public", file: "mesh/40-gateway.yaml", line: 21, yaml: null, values: null }, flows: 6, examples: [],
  }),
  finding(5, {
    id: "OB02", severity: "medium", message: "monitoring/prometheus reaches catalog/search:9102 in plaintext, which STRICT would refuse", client: party("monitoring/prometheus", "no-proxy", "10.1.7.1"),
    server: search, port: 9102, because: disableWhy.slice(2), flows: 218,
    remedy: { summary: "Give the scraper a sidecar, or declare this port as plaintext on purpose.", resource: "PeerAuthentication/catalog/search-metrics", file: null, line: null, yaml: "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: search-metrics\n  namespace: catalog\nspec:\n  selector:\n    matchLabels:\n      app: search\n  portLevelMtls:\n    9102:\n      mode: DISABLE\n", values: null },
  }),
  finding(6, {
    id: "OB22", severity: "info", class: "unknown", proof: "none", message: "web/cart to payments/ledger port 8080: the wire does not tell the class: gap",
    client: party("web/cart", "sidecar", "10.1.1.5"), server: ledger, flows: 3,
    remedy: { summary: "Packets are missing: give the agent a larger buffer (--buffer-size), or fewer interfaces.", resource: null, file: null, line: null, yaml: null, values: "agent:\n  bufferSize: 256\n" },
  }),
];

const OVERVIEW = {
  flows: { mtls: { exact: 214, linked: 31, strong: 9, inferred: 22 }, tls: { exact: 14, none: 3 }, plaintext: { wire: 41 }, opaque: { wire: 2 }, unknown: { none: 6 } },
  judgements: { conforms: 288, violates: 37, undecided: 9, exempt: 8 }, translated: 5,
  findings: { critical: 1, high: 3, medium: 1 },
  coverage: coverage({}), mesh: { id: "9b2f66c1d0e4a7755a01", taken_at: at(-5) }, from: at(0), to: at(3600),
};

const cell = (from, to, flows) => ({ from, to, flows });
const MATRIX = [
  cell("web", "catalog", { plaintext: { wire: 12 }, mtls: { exact: 388 } }), cell("web", "payments", { mtls: { exact: 90, wire: 2 } }),
  cell("batch", "payments", { plaintext: { wire: 12 } }), cell("monitoring", "catalog", { plaintext: { wire: 218 } }),
  cell("catalog", "payments", { mtls: { exact: 2, inferred: 9 } }), cell("istio-system", "web", { mtls: { linked: 31, exact: 4 } }),
  cell(null, "istio-system", { tls: { exact: 14 } }), cell("web", null, { tls: { none: 3 } }), cell("batch", null, { opaque: { wire: 2 } }), cell("monitoring", "web", { unknown: { none: 6 } }),
];

const TIMELINE = Array.from({ length: 60 }, (_, minute) => ({
  at: at(minute * 60),
  flows: { mtls: 3 + ((minute * 7) % 5), ...(minute % 4 === 0 && { tls: 1 }), ...(minute > 20 && minute % 3 === 0 && { plaintext: 2 }), ...(minute === 31 && { unknown: 3 }) },
}));

const judged = (number) => {
  const found = FINDINGS[Math.floor(number / 7) % FINDINGS.length] ?? FINDINGS[0];
  const tls = found.class !== "tls" ? null : {
    version: "1.3", quic: null, sni: "shop.example", alpn_offered: ["h2", "http/1.1"], alpn: null, cipher: "TLS_AES_256_GCM_SHA384", group: "X25519MLKEM768", resumed: false,
    outcome: "established", client_auth: "absent", ja4: null, ech: false, early_data: false, hello_retry: false, client_certificate: null, server_certificate: null,
  };
  return {
    flow: {
      id: hex(number, 32), start: at(number), end: at(number + 1), transport: "tcp", client: { ip: found.client.address, port: 40000 + number }, server: { ip: found.server.address, port: found.port },
      tunnel: [], seen_at: ["eth0"], class: found.class, proof: found.proof, reason: found.proof === "inferred" ? "flight-size" : null, protocol: tls === null ? "http/1.1" : null, upgrade: null, tls,
      from_start: true, close: "fin", packets: { client: 6, server: 5 }, bytes: { client: 214, server: 1448 },
    },
    client: found.client, server: found.server, expected: found.expected, judgement: "violates", basis: "plaintext read on the wire, answered by the server",
    violations: [{ id: found.id, severity: found.severity, certainty: found.certainty, message: found.message, cause: found.cause, because: found.because, remedy: found.remedy }],
  };
};

const META = { from: at(0), to: at(3600), flows_from: null, coverage: 0.966, mesh: OVERVIEW.mesh.id, partial: false };

const end = ({ namespace, workload, address, kind }) => ({ name: workload === null ? address : `${namespace}/${workload}`, kind, namespace, workload, address: workload === null ? address : null });

const EDGES = FINDINGS.map((found) => ({
  client: end(found.client), server: end(found.server), port: found.port, class: found.class, proof: found.proof, flows: found.flows, first_seen: found.first_seen, last_seen: found.last_seen,
}));

const AUDIT = { overview: OVERVIEW, violations: FINDINGS, matrix: MATRIX, timeline: TIMELINE, edges: EDGES, flows: Array.from({ length: 28 }, (_, at) => judged(at + 7)) };
const EMPTY = {
  overview: { flows: {}, judgements: {}, translated: 0, findings: {}, coverage: coverage({ packets: 0, bytes: 0, flows: 0, from_start: 0, mid_stream: 0, empty: 0, skipped: {} }), mesh: null, from: null, to: null },
  violations: [], matrix: [], timeline: [], edges: [], flows: [],
};
const CONFORMS = {
  ...AUDIT, violations: [], overview: { ...OVERVIEW, flows: { mtls: { exact: 214, linked: 31 } }, judgements: { conforms: 241, undecided: 4 }, findings: {} },
  matrix: [cell("web", "payments", { mtls: { exact: 214, linked: 31 } })], edges: [], flows: [],
};
/** More findings than the page reads: the worst are of one cause, and without end; those of the audit are found by what they are asked by. */
const MANY = { ...AUDIT, overview: { ...OVERVIEW, findings: { critical: 77_000, medium: 1 } } };
const violations = (query) => {
  const asked = [["severity", ({ severity }) => severity], ["from_namespace", ({ client }) => client.namespace ?? ""], ["to_namespace", ({ server }) => server.namespace ?? ""]]
    .filter(([name]) => query.has(name));
  if (asked.length > 0) return { data: FINDINGS.filter((found) => asked.every(([name, of]) => of(found) === query.get(name))), meta: META, next_cursor: null };
  const first = query.has("cursor") ? 1000 : 0;
  return { data: Array.from({ length: 1000 }, (_, at) => ({ ...FINDINGS[0], key: hex(0xb0000 + first + at, 16), flows: 1 })), meta: META, next_cursor: "on" };
};
const STATES = { audit: AUDIT, empty: EMPTY, conforms: CONFORMS, many: MANY };

/** Answers one API path (below `api/v1/`) in a state: `audit`, `many`, `empty`, `conforms`, `error` or `locked`. */
export function answer(state, path, authorization, query = new URLSearchParams()) {
  if (state === "locked") {
    if (authorization === "Bearer invented") return answer("audit", path);
    return { status: 401, body: { type: "/problems/unauthorized", title: "A token is needed", status: 401, detail: "Send the bearer token that this server was started with.", request_id: "7f3c02" } };
  }
  if (state === "error") {
    return { status: 503, body: { type: "/problems/store-unavailable", title: "The store does not answer", status: 503, detail: "The database is locked by another process; stop it or give another --store.", request_id: "7f3c01" } };
  }
  const example = /^flows\/([0-9a-f]{32})$/.exec(path);
  if (example !== null) return { status: 200, body: { data: judged(parseInt(example[1], 16)), meta: META } };
  if (state === "many" && path === "violations") return { status: 200, body: violations(query) };
  const one = /^violations\/([0-9a-f]{16})$/.exec(path);
  const data = one === null ? STATES[state][path] : FINDINGS.find(({ key }) => key === one[1]);
  return data === undefined ? { status: 404, body: { title: "Not found", status: 404, detail: path } } : { status: 200, body: { data, meta: META, next_cursor: null } };
}
