// Findings -> causes: one row for each resource that has to change, however many connections it breaks. Also what makes a
// citation a winner or a loser. Nothing is judged here: severity and order come from the findings.

import { type Citation, type Finding, PROOFS, SEVERITIES, type Severity } from "./forms.ts";
import { party } from "./format.ts";

export interface Cause {
  /** Names the group: the resource, or the finding's id and server where no resource causes it. */
  key: string;
  /** `Kind/namespace/name`; `null` where no resource causes it. */
  resource: string | null;
  /** The worst of its findings'. */
  severity: Severity;
  /** The findings' ids, each once, in order of first appearance. */
  ids: string[];
  /** Worst first, then as served. Never empty. */
  findings: [Finding, ...Finding[]];
  flows: number;
  lastSeen: string;
}

/** Groups findings by their cause, worst first, then by flows. */
export function byCause(findings: Finding[]): Cause[] {
  const groups = new Map<string, Cause>();
  const ordered = [...findings].sort((one, other) => rank(one.severity) - rank(other.severity));
  for (const finding of ordered) {
    const key = finding.cause ?? `${finding.id} ${party(finding.server)}:${finding.port}`;
    const group = groups.get(key);
    if (group === undefined) {
      groups.set(key, {
        key,
        resource: finding.cause,
        severity: finding.severity,
        ids: [finding.id],
        findings: [finding],
        flows: finding.flows,
        lastSeen: finding.last_seen,
      });
      continue;
    }
    group.findings.push(finding);
    group.flows += finding.flows;
    if (!group.ids.includes(finding.id)) group.ids.push(finding.id);
    if (finding.last_seen > group.lastSeen) group.lastSeen = finding.last_seen;
  }
  return [...groups.values()].sort(
    (one, other) => rank(one.severity) - rank(other.severity) || other.flows - one.flows || one.key.localeCompare(other.key),
  );
}

/** Returns the weakest proof among a group's findings: a group is only as sure as that. */
export function weakestProof(cause: Cause): Finding["proof"] {
  return cause.findings.reduce<Finding["proof"]>(
    (weakest, { proof }) => (PROOFS.indexOf(proof) > PROOFS.indexOf(weakest) ? proof : weakest),
    cause.findings[0].proof,
  );
}

export interface FindingFilter {
  /** Free text, matched against everything the row shows; empty matches all. */
  text: string;
  /** `null` matches all. */
  severity: Severity | null;
  /** Namespace of the client; `null` matches all, the empty string a client outside the mesh. */
  from: string | null;
  /** Namespace of the server, likewise. */
  to: string | null;
}

/** Tells whether a finding passes the filter; every word of the text has to occur. */
export function matches(finding: Finding, filter: FindingFilter): boolean {
  if (filter.severity !== null && finding.severity !== filter.severity) return false;
  if (filter.from !== null && (finding.client.namespace ?? "") !== filter.from) return false;
  if (filter.to !== null && (finding.server.namespace ?? "") !== filter.to) return false;
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = [
    finding.id, finding.severity, finding.message, finding.cause, party(finding.client),
    `${party(finding.server)}:${finding.port}`, finding.server.service, finding.class, finding.proof,
  ].join(" ").toLowerCase();
  return words.every((word) => shown.includes(word));
}

/** What a citation did to the outcome. */
export type Part = "decides" | "loses" | "adds";

/** Reads what each citation of a chain did: from its effect, and on the narrowest-wins ladder of PeerAuthentication from its
 * place, since there every step gives way to the next one that sets a mode. */
export function parts(because: Citation[]): Part[] {
  const onLadder = ({ rule, effect }: Citation): boolean => rule.startsWith("peer-authentication.") && !LOSES.test(effect);
  const last = because.findLastIndex((citation) => onLadder(citation) && !citation.effect.startsWith("UNSET"));
  return because.map((citation, at) => {
    if (LOSES.test(citation.effect)) return "loses";
    if (at === last || citation.effect.endsWith(", decides")) return "decides";
    return at < last && onLadder(citation) ? "loses" : "adds";
  });
}

/** How the effect of a resource that does not count begins or ends. */
const LOSES = /^(ignored|rejected|dropped|not exported)\b|\b(overridden|hides it|is skipped)\b/;

function rank(severity: Severity): number {
  return SEVERITIES.indexOf(severity);
}
