// The HTTP API -> typed answers. One function a question; nothing is kept but the token of a server that wants one. Addresses are relative, so that the page works below
// any path; a failure is always a `Problem`, whether the server answered with one (RFC 9457) or did not answer at all.

import type { Class, Counts, Coverage, Finding, Judged, Judgement, Proof, Remedy, Severity } from "./forms.ts";
import type { Route } from "./route.ts";

const BASE = "api/v1";

/** Rows asked for at once in the tables. */
export const PAGE = 50;

/** Findings read at most; the page says so when there are more. */
export const MOST_FINDINGS = 2000;

export interface Mesh {
  id: string;
  taken_at: string | null;
}

export interface Overview {
  flows: Counts;
  judgements: Partial<Record<Judgement, number>>;
  /** How many flows more are the other side of an address translation, and judged there. */
  translated: number;
  findings: Partial<Record<Severity, number>>;
  coverage: Coverage;
  mesh: Mesh | null;
  /** Start of the first flow and end of the last; `null` without flows. */
  from: string | null;
  to: string | null;
}

export interface MatrixCell {
  /** `null` outside the mesh. */
  from: string | null;
  to: string | null;
  flows: Counts;
}

/** One end of an edge, which may span pods. */
export interface EdgeEnd {
  /** `namespace/workload`, or the address. */
  name: string;
  kind: string;
}

export interface Edge {
  client: EdgeEnd;
  server: EdgeEnd;
  port: number;
  class: Class;
  proof: Proof;
  flows: number;
  first_seen: string;
  last_seen: string;
}

export interface Bucket {
  at: string;
  flows: Partial<Record<Class, number>>;
}

export interface Workload {
  name: string;
  /** The mode in force, and the one that would be; `null` where no proxy enforces one. */
  mode: string | null;
  proposed: string | null;
  proposed_from: string;
  flows: number;
  stays: number;
  /** Those of these that are so by inference only. */
  stays_likely: number;
  would_break: number;
  unclear: number;
  state: "breaks" | "unclear" | "ready" | "no-traffic" | "stays-open" | "not-enforced";
}

export interface Readiness {
  scope: string;
  /** What it comes to, in words. */
  verdict: string;
  workloads: Workload[];
  /** The findings that STRICT would make of what was let in. */
  breaks: Finding[];
  proposal: Remedy;
  looked_at: number;
  /** Whether those were all flows there are. */
  all: boolean;
}

export interface Page<Row> {
  data: Row[];
  next_cursor: string | null;
}

export interface TableQuery {
  from: string | null;
  to: string | null;
  class: Class | null;
  judgement: Judgement | null;
  workload: string | null;
  port: number | null;
  /** Community ID; whole, for the server compares it exactly. */
  community: string | null;
}

/** Why a question has no answer. */
export class Problem extends Error {
  constructor(
    readonly title: string,
    readonly detail: string,
    readonly status: number | null,
    readonly requestId: string | null,
  ) {
    super(`${title}: ${detail}`);
  }
}

/** Makes a problem of whatever was thrown. */
export const asProblem = (thrown: unknown): Problem => (thrown instanceof Problem ? thrown : new Problem("Fault of the page", String(thrown), null, null));

export const overview = async (): Promise<Overview> => (await get<{ data: Overview }>("overview")).data;

export const matrix = async (): Promise<MatrixCell[]> => (await get<{ data: MatrixCell[] }>("matrix")).data;

export const timeline = async (): Promise<Bucket[]> => (await get<{ data: Bucket[] }>("timeline")).data;

export const flow = async (id: string): Promise<Judged> => (await get<{ data: Judged }>(`flows/${encodeURIComponent(id)}`)).data;

/** Asks who would break if a namespace became STRICT. */
export const readiness = async (namespace: string): Promise<Readiness> => (await get<{ data: Readiness }>("readiness", { namespace })).data;

/** The worst findings, and whether there are more than these. */
export interface Findings {
  rows: Finding[];
  more: boolean;
}

/** Reads the findings that fit, worst first, page after page up to `MOST_FINDINGS`. */
export async function findings(query: Pick<Route, "severity" | "from" | "to">): Promise<Findings> {
  const rows: Finding[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Finding> = await get("violations", given({ limit: "1000", cursor, severity: query.severity, from_namespace: query.from, to_namespace: query.to }));
    rows.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor !== null && rows.length < MOST_FINDINGS);
  return { rows, more: cursor !== null };
}

export const finding = async (key: string): Promise<Finding> => (await get<{ data: Finding }>(`violations/${encodeURIComponent(key)}`)).data;

export const edges = (query: TableQuery, cursor: string | null): Promise<Page<Edge>> => get("edges", words(query, cursor));

export const flows = (query: TableQuery, cursor: string | null): Promise<Page<Judged>> => get("flows", words(query, cursor));

function words(query: TableQuery, cursor: string | null): Record<string, string> {
  return given({
    limit: String(PAGE),
    cursor,
    from_namespace: query.from,
    to_namespace: query.to,
    to_workload: query.workload,
    port: query.port === null ? null : String(query.port),
    class: query.class,
    judgement: query.judgement,
    community_id: query.community,
  });
}

function given(words: Record<string, string | null>): Record<string, string> {
  return Object.fromEntries(Object.entries(words).filter((pair): pair is [string, string] => pair[1] !== null));
}

/** Where the token lives: for this tab only, gone when it is closed, and never in an address. */
const TOKEN = "wireproof-token";

/** Keeps the bearer token that every later question carries. */
export function authorize(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

async function get<Answer>(path: string, query: Record<string, string> = {}): Promise<Answer> {
  const search = new URLSearchParams(query).toString();
  const token = sessionStorage.getItem(TOKEN);
  let response: Response;
  try {
    response = await fetch(`${BASE}/${path}${search === "" ? "" : `?${search}`}`, { headers: { accept: "application/json", ...(token === null ? {} : { authorization: `Bearer ${token}` }) } });
  } catch {
    throw new Problem("No answer", "The server could not be reached. Is `wireproof serve` still running?", null, null);
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok && body !== null) return body as Answer;
  const told = (body ?? {}) as { title?: string; detail?: string; request_id?: string };
  throw new Problem(
    told.title ?? "Unexpected answer",
    told.detail ?? `The server answered ${response.status} to ${path} without saying why.`,
    response.status,
    told.request_id ?? null,
  );
}
