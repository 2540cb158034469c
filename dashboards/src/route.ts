// The page's whole state <-> the address after `#`, so that a view can be linked, reloaded and stepped back from.

import { CLASSES, type Class, JUDGEMENTS, type Judgement, SEVERITIES, type Severity } from "./forms.ts";

export type Table = "edges" | "flows";

export interface Route {
  /** Free text over the violations. */
  text: string;
  severity: Severity | null;
  /** Namespace of the client; `null` is any, the empty string is outside the mesh. */
  from: string | null;
  to: string | null;
  class: Class | null;
  judgement: Judgement | null;
  /** `namespace/workload` of the server, where a link narrowed the tables to it. */
  workload: string | null;
  port: number | null;
  /** Community ID to which the tables are narrowed. */
  community: string | null;
  table: Table;
  /** Namespace of which is asked who would break if it became STRICT; `null` is none. */
  strict: string | null;
  /** Key of the finding whose drawer is open. */
  open: string | null;
}

export const START: Route = {
  text: "", severity: null, from: null, to: null, class: null, judgement: null, workload: null, port: null, community: null, table: "edges", strict: null, open: null,
};

/** Reads a route; a value that is not one of the known words counts as absent. */
export function parse(hash: string): Route {
  const given = new URLSearchParams(hash.replace(/^#\/?\??/, ""));
  const word = <T extends string>(name: string, known: readonly T[]): T | null => known.find((value) => value === given.get(name)) ?? null;
  const port = Number(given.get("port"));
  return {
    text: given.get("text") ?? "",
    severity: word("severity", SEVERITIES),
    from: given.get("from"),
    to: given.get("to"),
    class: word("class", CLASSES),
    judgement: word("judgement", JUDGEMENTS),
    workload: given.get("workload"),
    port: Number.isInteger(port) && port > 0 && port < 65536 ? port : null,
    community: given.get("community"),
    table: word("table", ["edges", "flows"] as const) ?? "edges",
    strict: given.get("strict"),
    open: given.get("open"),
  };
}

/** Writes a route; what is as at the start is left out. */
export function write(route: Route): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(route)) {
    if (value !== null && value !== START[name as keyof Route]) words.set(name, String(value));
  }
  const text = words.toString();
  return text === "" ? "#" : `#${text}`;
}
