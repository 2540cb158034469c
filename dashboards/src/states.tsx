// What the page shows when there is no audit to show: each says what is the case and what to do.

import { authorize, type Mesh, type Problem } from "./api.ts";
import type { Coverage } from "./forms.ts";
import { counted } from "./format.ts";

/** Holds the place of the audit, section by section, so that nothing jumps when it comes. */
export function Loading() {
  return (
    <div class="loading" role="status" aria-live="polite">
      <span class="visually-hidden">Loading the audit</span>
      <div class="totals" aria-hidden="true">{Array.from({ length: 6 }, (_, at) => <div key={at} class="total bone" />)}</div>
      <div class="panel bone" aria-hidden="true" />
      <div class="panel bone" aria-hidden="true" />
    </div>
  );
}

export function Failed({ problem, retry }: { problem: Problem; retry: () => void }) {
  return (
    <section class="notice" role="alert">
      <h2>{problem.title}</h2>
      <p>{problem.detail}</p>
      {(problem.status !== null || problem.requestId !== null) && (
        <p class="quiet">
          {problem.status !== null && <>Status {problem.status}</>}
          {problem.requestId !== null && <>, request <code>{problem.requestId}</code></>}
        </p>
      )}
      {problem.status === 401 ? <TokenForm retry={retry} /> : <button type="button" onClick={retry}>Try again</button>}
    </section>
  );
}

/** Asks for the token of a server that wants one; it is kept for this tab only. */
function TokenForm({ retry }: { retry: () => void }) {
  const enter = (event: SubmitEvent): void => {
    event.preventDefault();
    const token = new FormData(event.currentTarget as HTMLFormElement).get("token");
    if (typeof token === "string" && token.trim() !== "") authorize(token.trim());
    retry();
  };
  return (
    <form class="token" onSubmit={enter}>
      <label>Token <input name="token" type="password" autocomplete="off" autofocus /></label> <button type="submit">Sign in</button>
      <p class="quiet">The content of the file that the server was given. It is kept until this tab closes.</p>
    </form>
  );
}

export function NothingCaptured({ coverage, mesh }: { coverage: Coverage; mesh: Mesh | null }) {
  return (
    <section class="notice">
      <h2>Nothing captured</h2>
      <p>
        {coverage.packets === 0
          ? "No packet has been read yet, so nothing can be said about this mesh."
          : `${counted(coverage.packets, "packet")} read, but no connection with any payload among them, so nothing can be said about this mesh.`}
      </p>
      {coverage.damaged.map((text) => <p key={text} class="warn">{text}</p>)}
      <p>Have agents deliver: <code>wireproof-agent -i any --collector {location.origin}</code></p>
      <p>Or start it with what this machine sees, <code>wireproof serve --mesh mesh.yaml --capture any</code>, or with a capture, <code>--input capture.pcap</code></p>
      {mesh === null && <p class="quiet">No mesh is loaded either: without <code>--mesh</code> flows are classified, but not judged.</p>}
    </section>
  );
}
