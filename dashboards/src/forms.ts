// The JSON forms that the API serves, as this page reads them. They mirror `analyzer/src/report.rs`, `flow/src/wire_form.rs`
// and `docs/api.md`; a field that does not apply is `null`. Types only.

export const CLASSES = ["mtls", "tls", "plaintext", "opaque", "unknown"] as const;
export type Class = (typeof CLASSES)[number];

/** How a class is known, strongest first. */
export const PROOFS = ["wire", "exact", "strong", "linked", "inferred", "none"] as const;
export type Proof = (typeof PROOFS)[number];

/** How bad a finding is, worst first. */
export const SEVERITIES = ["critical", "high", "medium", "low", "info"] as const;
export type Severity = (typeof SEVERITIES)[number];

export const JUDGEMENTS = ["violates", "undecided", "conforms", "exempt"] as const;
export type Judgement = (typeof JUDGEMENTS)[number];

export interface Endpoint {
  ip: string;
  port: number;
}

export interface PerSide {
  client: number;
  server: number;
}

export interface Tls {
  version: string | null;
  sni: string | null;
  alpn_offered: string[];
  alpn: string | null;
  cipher: string | null;
  group: string | null;
  resumed: boolean | null;
  outcome: string;
  client_auth: string;
  ja4: string | null;
}

export interface Flow {
  id: string;
  start: string;
  end: string;
  transport: string;
  client: Endpoint;
  server: Endpoint;
  community_id: string;
  class: Class;
  proof: Proof;
  reason: string | null;
  protocol: string | null;
  upgrade: string | null;
  tls: Tls | null;
  from_start: boolean;
  close: string;
  packets: PerSide;
  bytes: PerSide;
}

export interface Party {
  address: string;
  kind: string;
  namespace: string | null;
  workload: string | null;
  pod: string | null;
  service: string | null;
  service_account: string | null;
}

export interface GatewayServer {
  from: string;
  port_name: string | null;
  protocol: string;
  tls_mode: string | null;
  client_cert: string;
  min_version: string | null;
  https_redirect: boolean | null;
}

export interface Expected {
  server_mode: string | null;
  server_mode_from: string;
  client_tls: string | null;
  client_tls_from: string;
  allowed: Class[];
  istio_mtls: string;
  client_wire: Class[];
  conflict: boolean | null;
  sni: string | null;
  protocol: string | null;
  gateway_server: GatewayServer | null;
}

export interface Citation {
  rule: string;
  resource: string;
  field: string | null;
  effect: string;
  file: string | null;
  line: number | null;
}

export interface Remedy {
  summary: string;
  resource: string | null;
  file: string | null;
  line: number | null;
  yaml: string | null;
  /** Values of wireproof's chart, which are no Kubernetes object. */
  values: string | null;
}

export interface Violation {
  id: string;
  severity: Severity;
  message: string;
}

/** The flow that a connection is on the other side of an address translation. */
export interface OtherSide {
  id: string;
  client: Endpoint;
  server: Endpoint;
}

export interface Judged {
  flow: Flow;
  client: Party;
  server: Party;
  expected: Expected | null;
  judgement: Judgement;
  basis: string;
  /** Why it was not judged; null where it was. */
  set_aside?: string | null;
  /** The same connection on the other side of an address translation; null where none was recognised. */
  translated?: OtherSide | null;
  violations: Violation[];
}

export interface Finding {
  key: string;
  id: string;
  severity: Severity;
  certainty: "likely" | "certain";
  message: string;
  client: Party;
  server: Party;
  port: number;
  class: Class;
  proof: Proof;
  expected: Expected | null;
  cause: string | null;
  because: Citation[];
  remedy: Remedy;
  flows: number;
  first_seen: string;
  last_seen: string;
  examples: string[];
}

export interface Coverage {
  packets: number;
  bytes: number;
  flows: number;
  from_start: number;
  mid_stream: number;
  empty: number;
  skipped: Record<string, number>;
  kernel_dropped: number | null;
  damaged: string[];
}

/** Flows by class, then by proof; a class or proof without flows is left out. */
export type Counts = Partial<Record<Class, Partial<Record<Proof, number>>>>;
