// The evidence behind a finding: its example flows with what their handshakes showed.

import { useEffect, useState } from "preact/hooks";

import * as api from "./api.ts";
import type { Go } from "./app.tsx";
import type { Finding, Judged } from "./forms.ts";
import { bytes, clock, count, counted, endpoint, party } from "./format.ts";
import { Seen } from "./marks.tsx";

/** Example flows fetched for one drawer; the finding itself names only the first few. */
const EXAMPLES = 5;

type State = { name: "loading" } | { name: "failed"; detail: string } | { name: "ready"; flows: Judged[] };

export function Evidence({ finding, go }: { finding: Finding; go: Go }) {
  const [state, setState] = useState<State>({ name: "loading" });
  useEffect(() => {
    let wanted = true;
    Promise.all(finding.examples.slice(0, EXAMPLES).map(api.flow)).then(
      (flows) => { if (wanted) setState({ name: "ready", flows }); },
      (problem: unknown) => { if (wanted) setState({ name: "failed", detail: problem instanceof Error ? problem.message : String(problem) }); },
    );
    return () => { wanted = false; };
  }, [finding.key]);

  const { namespace } = finding.server;
  const showAll = (): void =>
    go({ open: null, table: "flows", from: finding.client.namespace ?? "", to: namespace ?? "", workload: party(finding.server), port: finding.port, class: finding.class, judgement: "violates" });
  return (
    <section aria-labelledby="evidence">
      <h3 id="evidence">Evidence</h3>
      {state.name === "loading" && <p class="quiet" role="status">Loading {counted(Math.min(finding.examples.length, EXAMPLES), "example flow")}</p>}
      {state.name === "failed" && <p class="warn" role="alert">The example flows could not be read. {state.detail}</p>}
      {state.name === "ready" && state.flows.map((judged) => <Example key={judged.flow.id} judged={judged} />)}
      {finding.examples.length === 0
        ? <p class="quiet">None of its {counted(finding.flows, "flow")} is kept any more: only their number is.</p>
        : <p><button type="button" onClick={showAll}>Show all {counted(finding.flows, "flow")} to {party(finding.server)}:{finding.port}</button></p>}
    </section>
  );
}

function Example({ judged: { flow, basis, translated } }: { judged: Judged }) {
  const { tls } = flow;
  return (
    <div class="example">
      <p>
        <span class="time">{clock(flow.start)}</span> <code>{endpoint(flow.client)}</code> to <code>{endpoint(flow.server)}</code>
        {" "}<a class="quiet" href={`api/v1/flows/${flow.id}`} target="_blank" rel="noreferrer">{flow.id.slice(0, 8)} as JSON</a>
      </p>
      <dl class="facts tight">
        <dt>Seen</dt>
        <dd>
          <Seen name={flow.class} proof={flow.proof} />{flow.reason !== null && <span class="quiet"> {flow.reason}</span>}
          {flow.protocol !== null && <> {flow.protocol}</>}{flow.upgrade !== null && <> inside {flow.upgrade}</>}
        </dd>
        <dt>Judged</dt><dd>{basis}</dd>
        {translated && (
          <>
            <dt>Translated</dt>
            <dd>
              <code>{endpoint(translated.client)}</code> to <code>{endpoint(translated.server)}</code> on the other side,
              {" "}<a class="quiet" href={`api/v1/flows/${translated.id}`} target="_blank" rel="noreferrer">{translated.id.slice(0, 8)} as JSON</a>
            </dd>
          </>
        )}
        <dt>Traffic</dt>
        <dd>
          client {count(flow.packets.client)} packets {bytes(flow.bytes.client)}, server {count(flow.packets.server)} packets {bytes(flow.bytes.server)},
          {" "}{flow.from_start ? "seen from the start" : "joined mid-stream"}, closed: {flow.close}
        </dd>
        {tls !== null && (
          <>
            <dt>TLS</dt>
            <dd>
              {tls.version ?? "no version agreed"}{tls.cipher !== null && <> {tls.cipher}</>}{tls.group !== null && <> {tls.group}</>}, {tls.outcome}
              {tls.resumed !== null && (tls.resumed ? ", resumed" : ", full handshake")}, client certificate: {tls.client_auth}
            </dd>
            <dt>SNI</dt><dd>{tls.sni === null ? "none" : <code>{tls.sni}</code>}</dd>
            <dt>ALPN</dt><dd>{tls.alpn_offered.length === 0 ? "none offered" : `offered ${tls.alpn_offered.join(", ")}`}{tls.alpn !== null && `; chosen ${tls.alpn}`}</dd>
          </>
        )}
      </dl>
    </div>
  );
}
