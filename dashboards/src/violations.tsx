// The violations: one row a cause, worst first, with the filters over them. A row opens the drawer on its worst finding.

import type { Findings, MatrixCell, Overview } from "./api.ts";
import type { Go } from "./app.tsx";
import { byCause, type Cause, matches, weakestProof } from "./causes.ts";
import type { Held } from "./findings.ts";
import { type Finding, SEVERITIES, type Severity } from "./forms.ts";
import { count, counted, party, percent, time } from "./format.ts";
import { Name, Seen, SeverityMark } from "./marks.tsx";
import type { Route } from "./route.ts";

interface Props {
  held: Held;
  /** The worst ones, whatever is chosen. */
  all: Findings;
  overview: Overview;
  cells: MatrixCell[];
  route: Route;
  go: Go;
}

export function Violations({ held: { rows, more, busy, problem }, all, overview, cells, route, go }: Props) {
  const shown = rows.filter((finding) => matches(finding, route));
  const causes = byCause(shown);
  const total = all.more ? Object.values(overview.findings).reduce((sum, findings) => sum + findings, 0) : all.rows.length;
  return (
    <section class="panel" aria-labelledby="violations">
      <div class="bar">
        <h2 id="violations">Violations</h2>
        <span class="quiet" aria-live="polite">
          {busy ? "Loading" : total > 0 && `${counted(causes.length, "cause")}, ${counted(shown.length, "finding")}${shown.length < total ? ` of ${count(total)}` : ""}`}
          {!busy && more && ", the worst. Flows are of these. Choose a severity or a namespace for others."}
        </span>
        {total > 0 && <Filters findings={all.rows} overview={overview} cells={all.more ? cells : []} route={route} go={go} />}
      </div>
      {problem !== null && <p class="warn" role="alert">{problem.title}. {problem.detail}</p>}
      {total === 0 ? <NothingWrong overview={overview} /> : causes.length === 0 ? busy || problem !== null ? null : (
        <p class="empty">
          {more ? `None of the ${counted(rows.length, "finding")} that were read passes these filters; there are more.` : "No violation passes these filters."}
          {" "}<button type="button" onClick={() => go({ text: "", severity: null, from: null, to: null })}>Clear filters</button>
        </p>
      ) : (
        <div class="scroll">
          <table class="causes">
            <thead>
              <tr><th>Severity</th><th>Id</th><th>Cause</th><th>From</th><th>To</th><th class="number">Flows</th><th>Seen</th><th>Last seen (UTC)</th></tr>
            </thead>
            <tbody>{causes.map((cause) => <Row key={cause.key} cause={cause} go={go} />)}</tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Row({ cause, go }: { cause: Cause; go: Go }) {
  const [first] = cause.findings;
  const open = (): void => go({ open: first.key });
  const clients = [...new Set(cause.findings.map(({ client }) => party(client)))];
  const servers = [...new Set(cause.findings.map(({ server, port }) => `${party(server)}:${port}`))];
  return (
    <tr class="opens" onClick={open} data-cause={cause.key}>
      <td><SeverityMark severity={cause.severity} /></td>
      <td class="code">{cause.ids.join(" ")}</td>
      <td class="cause">
        <button type="button" class="plain" aria-haspopup="dialog" onClick={(event) => { event.stopPropagation(); open(); }}>
          <Name text={cause.resource ?? "no resource declares it"} />
        </button>
        <span class="line">{first.message}</span>
      </td>
      <td><Some names={clients} /></td>
      <td><Some names={servers} /></td>
      <td class="number">{count(cause.flows)}</td>
      <td><Seen name={first.class} proof={weakestProof(cause)} />{first.certainty === "likely" && <span class="likely" title="Rests on an inference"> likely</span>}</td>
      <td class="time">{time(cause.lastSeen)}</td>
    </tr>
  );
}

function Some({ names }: { names: string[] }) {
  const [first, ...others] = names;
  return <span title={names.join("\n")}>{first !== undefined && <Name text={first} />}{others.length > 0 && <span class="quiet"> +{others.length}</span>}</span>;
}

function Filters({ findings, overview, cells, route, go }: { findings: Finding[]; overview: Overview; cells: MatrixCell[]; route: Route; go: Go }) {
  const namespaces = (end: (finding: Finding) => string | null, side: (cell: MatrixCell) => string | null): string[] =>
    [...new Set([...findings.map(end), ...cells.map(side)].map((name) => name ?? ""))].sort();
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <input
        type="search" placeholder="Filter: workload, resource, id" aria-label="Filter violations" value={route.text}
        onInput={(event) => go({ text: event.currentTarget.value })}
      />
      <select aria-label="Severity" value={route.severity ?? "*"} onChange={(event) => go({ severity: SEVERITIES.find((name) => name === event.currentTarget.value) ?? null })}>
        <option value="*">any severity</option>
        {SEVERITIES.map((name: Severity) => <option key={name} value={name}>{name} ({count(overview.findings[name] ?? 0)})</option>)}
      </select>
      <NamespaceSelect label="From namespace" any="from anywhere" names={namespaces(({ client }) => client.namespace, ({ from }) => from)} value={route.from} choose={(from) => go({ from })} />
      <NamespaceSelect label="To namespace" any="to anywhere" names={namespaces(({ server }) => server.namespace, ({ to }) => to)} value={route.to} choose={(to) => go({ to })} />
    </form>
  );
}

function NamespaceSelect({ label, any, names, value, choose }: { label: string; any: string; names: string[]; value: string | null; choose: (name: string | null) => void }) {
  // A namespace from the matrix may have no violation; it is listed all the same, so that the control shows what is in force.
  const listed = value !== null && !names.includes(value) ? [...names, value] : names;
  return (
    <select aria-label={label} value={value === null ? "*" : `=${value}`} onChange={({ currentTarget }) => choose(currentTarget.value === "*" ? null : currentTarget.value.slice(1))}>
      <option value="*">{any}</option>
      {listed.map((name) => <option key={name} value={`=${name}`}>{name === "" ? "outside the mesh" : name}</option>)}
    </select>
  );
}

/** Says that nothing is wrong, and on what that rests: an audit that saw little has shown little. */
function NothingWrong({ overview }: { overview: Overview }) {
  const { conforms = 0, undecided = 0, exempt = 0, violates = 0 } = overview.judgements;
  const { coverage } = overview;
  const share = percent(coverage.from_start, coverage.from_start + coverage.mid_stream);
  return (
    <div class="empty">
      <p><strong>{undecided === 0 ? "Nothing wrong was seen." : "Nothing wrong was seen, but not everything could be judged."}</strong></p>
      <p>
        Of {counted(conforms + undecided + exempt + violates, "flow")}, {count(conforms)} conform to what the mesh declares, {count(undecided)} could
        not be judged and {count(exempt)} are exempt. {share === null ? "No TCP connection was seen." : `${share} of the TCP connections were seen from their start.`}
      </p>
      {overview.mesh === null && <p>No mesh is loaded, so nothing was judged.</p>}
    </div>
  );
}
