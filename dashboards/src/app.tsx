// The page: asks for everything the first view needs at once, then shows exactly one of four states: loading, error, nothing
// captured, or the audit. The address after `#` holds the filters and the open drawer.

import { useCallback, useEffect, useState } from "preact/hooks";

import * as api from "./api.ts";
import { Drawer } from "./drawer.tsx";
import { useFindings } from "./findings.ts";
import { Header, Totals } from "./header.tsx";
import { Matrix } from "./matrix.tsx";
import { Readiness } from "./readiness.tsx";
import { parse, type Route, write } from "./route.ts";
import { Failed, Loading, NothingCaptured } from "./states.tsx";
import { Connections } from "./connections.tsx";
import { Timeline } from "./timeline.tsx";
import { Violations } from "./violations.tsx";

interface Audit {
  overview: api.Overview;
  worst: api.Findings;
  cells: api.MatrixCell[];
  buckets: api.Bucket[];
}

type State = { name: "loading" } | { name: "failed"; problem: api.Problem } | { name: "ready"; audit: Audit };

export function App() {
  const [state, setState] = useState<State>({ name: "loading" });
  const [route, go] = useRoute();

  const [busy, setBusy] = useState(false);
  const load = useCallback(async () => {
    setBusy(true);
    try {
      const [overview, worst, cells, buckets] = await Promise.all([api.overview(), api.findings({ severity: null, from: null, to: null }), api.matrix(), api.timeline()]);
      setState({ name: "ready", audit: { overview, worst, cells, buckets } });
    } catch (problem) {
      setState({ name: "failed", problem: api.asProblem(problem) });
    }
    setBusy(false);
  }, []);
  useEffect(() => void load(), [load]);

  switch (state.name) {
    case "loading":
      return <Shell><Loading /></Shell>;
    case "failed":
      return <Shell><Failed problem={state.problem} retry={() => { setState({ name: "loading" }); void load(); }} /></Shell>;
    case "ready": {
      const { overview } = state.audit;
      if (Object.keys(overview.flows).length === 0) {
        return <Shell overview={overview} retry={load} busy={busy}><NothingCaptured coverage={overview.coverage} mesh={overview.mesh} /></Shell>;
      }
      return <Shell overview={overview} retry={load} busy={busy}><Sections audit={state.audit} route={route} go={go} /></Shell>;
    }
  }
}

function Sections({ audit, route, go }: { audit: Audit; route: Route; go: Go }) {
  const { overview, worst, cells, buckets } = audit;
  const held = useFindings(worst, route);
  return (
    <>
      <Totals overview={overview} route={route} go={go} />
      <Timeline buckets={buckets} />
      <Violations held={held} all={worst} overview={overview} cells={cells} route={route} go={go} />
      <Readiness audit={audit} namespaces={cells.flatMap(({ to }) => (to === null ? [] : [to]))} route={route} go={go} />
      <Matrix cells={cells} route={route} go={go} />
      <Connections audit={audit} route={route} go={go} />
      {held.open !== null && <Drawer finding={held.open} findings={held.rows} go={go} />}
    </>
  );
}

function Shell({ overview, retry, busy = false, children }: { overview?: api.Overview; retry?: () => void; busy?: boolean; children: preact.ComponentChildren }) {
  return (
    <>
      <Header overview={overview ?? null} reload={retry ?? null} busy={busy} />
      <main>{children}</main>
      <footer class="quiet">Observes only: decrypts nothing, keeps no payload. <a class="quiet" href="assets/licenses.txt">Licences</a></footer>
    </>
  );
}

/** Changes parts of the route; the rest stays. */
export type Go = (change: Partial<Route>) => void;

function useRoute(): [Route, Go] {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    const follow = (): void => setRoute(parse(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const go = useCallback<Go>((change) => {
    const next = write({ ...parse(location.hash), ...change });
    // Typing in the filter box would otherwise leave one history entry a letter.
    if (Object.keys(change).join() === "text") history.replaceState(null, "", next);
    else history.pushState(null, "", next);
    setRoute(parse(next));
  }, []);
  useEffect(() => {
    const follow = (): void => setRoute(parse(location.hash));
    addEventListener("popstate", follow);
    return () => removeEventListener("popstate", follow);
  }, []);
  return [route, go];
}
