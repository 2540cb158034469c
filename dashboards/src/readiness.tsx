// Who would break if a namespace became STRICT: asked of the server when a namespace is chosen, for it costs more than a list.

import { useEffect, useState } from "preact/hooks";

import * as api from "./api.ts";
import type { Go } from "./app.tsx";
import { Yaml } from "./copy.tsx";
import type { Finding, Remedy } from "./forms.ts";
import { count, party, time } from "./format.ts";
import { Name, Seen } from "./marks.tsx";
import type { Route } from "./route.ts";

const STATE: Record<api.Workload["state"], { word: string; meaning: string }> = {
  breaks: { word: "✗ breaks", meaning: "Something that was let in would be refused." },
  unclear: { word: "? unclear", meaning: "Nothing seen would be refused, but of some flows the wire does not tell." },
  ready: { word: "✓ nothing seen breaks", meaning: "All that was seen would go on. What was not seen, nobody knows." },
  "no-traffic": { word: "– no traffic", meaning: "Nothing reached it: no evidence, which is not readiness." },
  "stays-open": { word: "– stays open", meaning: "A narrower policy keeps it from becoming STRICT." },
  "not-enforced": { word: "– not enforced", meaning: "It has no proxy that would enforce STRICT." },
};

export function Readiness({ audit, namespaces, route, go }: { audit: unknown; namespaces: string[]; route: Route; go: Go }) {
  const { answer, problem, busy } = useAnswer(route.strict, audit);
  return (
    <section class="panel" aria-labelledby="readiness">
      <div class="bar">
        <h2 id="readiness">Ready for STRICT?</h2>
        <form class="filters" onSubmit={(event) => event.preventDefault()}>
          <select aria-label="Namespace to become STRICT" value={route.strict ?? ""} onChange={(event) => go({ strict: event.currentTarget.value || null })}>
            <option value="">choose a namespace</option>
            {[...new Set([...namespaces, ...(route.strict === null ? [] : [route.strict])])].sort().map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </form>
      </div>
      {problem !== null && <p class="warn" role="alert">{problem.title}. {problem.detail}</p>}
      {route.strict === null && <p class="empty">Names the clients that would be refused if the namespace became STRICT, and what mends each first.</p>}
      <div class="answer" aria-busy={busy}>{answer !== null && route.strict !== null && <Answer answer={answer} />}</div>
    </section>
  );
}

function useAnswer(namespace: string | null, audit: unknown) {
  const [answer, setAnswer] = useState<api.Readiness | null>(null);
  const [problem, setProblem] = useState<api.Problem | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    let current = true;
    setAnswer(null);
    setProblem(null);
    if (namespace === null) return;
    setBusy(true);
    api.readiness(namespace)
      .then((told) => { if (current) setAnswer(told); })
      .catch((fault: unknown) => { if (current) setProblem(api.asProblem(fault)); })
      .finally(() => { if (current) setBusy(false); });
    return () => { current = false; };
  }, [namespace, audit]);
  return { answer, problem, busy };
}

function Answer({ answer }: { answer: api.Readiness }) {
  return (
    <>
      <p class="verdict">
        <strong>{answer.verdict.charAt(0).toUpperCase()}{answer.verdict.slice(1)}.</strong>
        {" "}<span class="quiet">From {answer.all ? "all" : "the newest"} {count(answer.looked_at)} flows to it{answer.all ? "" : "; there are more"}.</span>
      </p>
      <div class="scroll">
        <table>
          <thead><tr><th>Workload</th><th>Mode</th><th>Would be</th><th class="number">Flows</th><th class="number">Go on</th><th class="number">Break</th><th class="number">Unclear</th><th>State</th></tr></thead>
          <tbody>
            {answer.workloads.map((workload) => (
              <tr key={workload.name}>
                <td><Name text={workload.name} /></td><td>{workload.mode ?? "none"}</td><td title={workload.proposed_from}>{workload.proposed ?? "none"}</td>
                <td class="number">{count(workload.flows)}</td><td class="number">{count(workload.stays)}{workload.stays_likely > 0 && <span class="quiet"> ({count(workload.stays_likely)} likely)</span>}</td><td class="number">{count(workload.would_break)}</td><td class="number">{count(workload.unclear)}</td>
                <td title={STATE[workload.state].meaning}>{STATE[workload.state].word}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {answer.breaks.length > 0 && <Breaks breaks={answer.breaks} />}
      <details>
        <summary>What makes it STRICT</summary>
        <Mend remedy={answer.proposal} />
      </details>
    </>
  );
}

function Breaks({ breaks }: { breaks: Finding[] }) {
  // One change may mend several clients.
  const remedies = [...new Map(breaks.map(({ remedy }) => [`${remedy.summary}\n${remedy.yaml}`, remedy])).values()];
  return (
    <>
      <h3>Would break</h3>
      <div class="scroll">
        <table class="breaks">
          <thead><tr><th>Client</th><th>To</th><th class="number">Port</th><th>Seen</th><th class="number">Flows</th><th>Last seen (UTC)</th><th>First</th></tr></thead>
          <tbody>
            {breaks.map((finding) => (
              <tr key={finding.key}>
                <td title={finding.client.kind}><Name text={party(finding.client)} /></td><td><Name text={party(finding.server)} /></td><td class="number">{finding.port}</td>
                <td><Seen name={finding.class} proof={finding.proof} /></td><td class="number">{count(finding.flows)}</td><td class="time">{time(finding.last_seen)}</td><td>{finding.remedy.summary}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <details>
        <summary>YAML that mends {remedies.length === 1 ? "it" : "them"} first</summary>
        {remedies.map((remedy) => <Mend key={`${remedy.summary}${remedy.yaml}`} remedy={remedy} />)}
      </details>
    </>
  );
}

function Mend({ remedy }: { remedy: Remedy }) {
  const place = remedy.file === null ? null : `${remedy.file}${remedy.line === null ? "" : `:${remedy.line}`}`;
  return (
    <>
      <p>{remedy.summary}{place !== null && <> <span class="quiet">{place}</span></>}</p>
      {remedy.yaml !== null && <Yaml text={remedy.yaml} />}
    </>
  );
}
