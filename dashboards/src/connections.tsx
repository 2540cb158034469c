// Edges and flows as tables, filtered and paged by the server. The rows of the last answer stay while the next is awaited.

import { useEffect, useRef, useState } from "preact/hooks";

import * as api from "./api.ts";
import type { Go } from "./app.tsx";
import { CLASSES, type Judged, JUDGEMENTS } from "./forms.ts";
import { bytes, clock, count, endpoint, party, time } from "./format.ts";
import { Name, Seen } from "./marks.tsx";
import type { Route, Table } from "./route.ts";

type Rows = { table: "edges"; rows: api.Edge[] } | { table: "flows"; rows: Judged[] };

export function Connections({ audit, route, go }: { audit: unknown; route: Route; go: Go }) {
  const { rows, problem, busy, next, more, again } = useRows(route, audit);
  const narrowed = route.from !== null || route.to !== null || route.workload !== null || route.port !== null || route.class !== null || route.judgement !== null || route.community !== null;
  return (
    <section class="panel" aria-labelledby="connections">
      <div class="bar">
        <h2 id="connections">Connections</h2>
        <div class="tabs" role="group" aria-label="Table">
          <Tab table="edges" route={route} go={go}>Edges</Tab>
          <Tab table="flows" route={route} go={go}>Flows</Tab>
        </div>
        <form class="filters" onSubmit={(event) => event.preventDefault()}>
          <input
            type="search" class="community" placeholder="Community ID" aria-label="Community ID" title="As Zeek, Suricata and others write it: 1:..." value={route.community ?? ""}
            onChange={(event) => go({ community: event.currentTarget.value.trim() || null })}
          />
          <select aria-label="Class" value={route.class ?? "*"} onChange={(event) => go({ class: CLASSES.find((name) => name === event.currentTarget.value) ?? null })}>
            <option value="*">any class</option>
            {CLASSES.map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
          {route.table === "flows" && (
            <select aria-label="Judgement" value={route.judgement ?? "*"} onChange={(event) => go({ judgement: JUDGEMENTS.find((name) => name === event.currentTarget.value) ?? null })}>
              <option value="*">any judgement</option>
              {JUDGEMENTS.map((name) => <option key={name} value={name}>{name}</option>)}
            </select>
          )}
          {narrowed && <Narrowed route={route} go={go} />}
        </form>
      </div>
      {busy && rows === null && <p class="empty quiet">Loading</p>}
      {problem !== null && <p class="warn" role="alert">{problem.title}. {problem.detail} <button type="button" disabled={busy} onClick={again}>Try again</button></p>}
      <div class="scroll" aria-busy={busy}>
        {rows?.table === "edges" && <Edges rows={rows.rows} />}
        {rows?.table === "flows" && <Flows rows={rows.rows} />}
      </div>
      {rows !== null && rows.rows.length === 0 && problem === null && <p class="empty">{narrowed ? "No connection passes these filters." : "No connection."}</p>}
      {next && problem === null && <p class="more"><button type="button" disabled={busy} onClick={more}>Show {api.PAGE} more</button></p>}
    </section>
  );
}

/** Asks anew where another audit is shown, too: what stands above and these rows are of one time. */
function useRows(route: Route, audit: unknown) {
  const [rows, setRows] = useState<Rows | null>(null);
  const [cursor, setCursor] = useState<string | null>(null);
  const [problem, setProblem] = useState<api.Problem | null>(null);
  const [busy, setBusy] = useState(true);
  const { table, from, to, workload, port, community, class: name } = route;
  const judgement = table === "flows" ? route.judgement : null;
  const query: api.TableQuery = { from, to, workload, port, community, class: name, judgement };

  // Only the latest question counts, whatever comes back later.
  const latest = useRef(0);
  const ask = async (after: string | null, before: Rows | null): Promise<void> => {
    latest.current += 1;
    const mine = latest.current;
    const wanted = (): boolean => mine === latest.current;
    setBusy(true);
    try {
      const page = table === "edges" ? await api.edges(query, after) : await api.flows(query, after);
      if (!wanted()) return;
      const earlier = before?.table === table ? before.rows : [];
      setRows({ table, rows: [...earlier, ...page.data] } as Rows);
      setCursor(page.next_cursor);
      setProblem(null);
    } catch (fault) {
      if (!wanted()) return;
      // What other filters let through is no answer to these.
      setRows(before);
      setProblem(api.asProblem(fault));
    }
    if (wanted()) setBusy(false);
  };
  useEffect(() => {
    void ask(null, null);
  }, [table, from, to, workload, port, community, name, judgement, audit]);
  return { rows, problem, busy, next: cursor !== null, more: () => void ask(cursor, rows), again: () => void ask(rows === null ? null : cursor, rows) };
}

function Tab({ table, route, go, children }: { table: Table; route: Route; go: Go; children: string }) {
  return <button type="button" aria-pressed={route.table === table} onClick={() => go({ table })}>{children}</button>;
}

/** Shows the filters that have no control of their own here, and clears all. */
function Narrowed({ route, go }: { route: Route; go: Go }) {
  const told = [
    route.from !== null && `from ${route.from || "outside"}`,
    route.to !== null && `to ${route.to || "outside"}`,
    route.workload !== null && `to ${route.workload}`,
    route.port !== null && `port ${route.port}`,
  ].filter(Boolean);
  return (
    <>
      {told.length > 0 && <span class="quiet">{told.join(", ")}</span>}
      <button type="button" onClick={() => go({ from: null, to: null, workload: null, port: null, community: null, class: null, judgement: null })}>Clear filters</button>
    </>
  );
}

function Edges({ rows }: { rows: api.Edge[] }) {
  return (
    <table class="edges">
      <thead><tr><th>From</th><th>To</th><th class="number">Port</th><th>Seen</th><th class="number">Flows</th><th>First seen (UTC)</th><th>Last seen (UTC)</th></tr></thead>
      <tbody>
        {rows.map((edge, at) => (
          <tr key={at}>
            <td title={edge.client.kind}><Name text={edge.client.name} /></td><td title={edge.server.kind}><Name text={edge.server.name} /></td><td class="number">{edge.port}</td>
            <td><Seen name={edge.class} proof={edge.proof} /></td>
            <td class="number">{count(edge.flows)}</td><td class="time">{time(edge.first_seen)}</td><td class="time">{time(edge.last_seen)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Flows({ rows }: { rows: Judged[] }) {
  return (
    <table>
      <thead><tr><th>Start (UTC)</th><th>From</th><th>To</th><th>Seen</th><th>Protocol</th><th>TLS</th><th class="number">Bytes</th><th>Judged</th></tr></thead>
      <tbody>
        {rows.map(({ flow, client, server, judgement, basis, translated, violations }) => (
          <tr key={flow.id}>
            <td class="time" title={`${flow.start}\nCommunity ID ${flow.community_id}`}>{clock(flow.start)}</td>
            <td title={endpoint(flow.client)}><Name text={party(client)} /></td>
            <td title={endpoint(flow.server)}>
              <Name text={`${party(server)}:${flow.server.port}`} />
              {translated && <span class="quiet" title={`the other side of an address translation, from ${endpoint(translated.client)}`}> = {endpoint(translated.server)}</span>}
            </td>
            <td><Seen name={flow.class} proof={flow.proof} />{flow.reason !== null && <span class="quiet"> {flow.reason}</span>}</td>
            <td>{flow.protocol ?? ""}</td>
            <td>{flow.tls === null ? "" : [flow.tls.version, flow.tls.sni].filter(Boolean).join(" ")}</td>
            <td class="number" title={`client ${flow.bytes.client}, server ${flow.bytes.server}`}>{bytes(flow.bytes.client + flow.bytes.server)}</td>
            <td class={`judged judged-${judgement}`} title={basis}>{judgement}{violations.length > 0 && ` ${violations.map(({ id }) => id).join(" ")}`}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
