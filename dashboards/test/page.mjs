// The page in a real browser. WIREPROOF_URL is the address of a running `wireproof serve` whose audit has violations;
// WIREPROOF_EXPECT lists finding ids that must be among them. Ends with status 0, or 1 and the step that failed.
//
// The audit itself is the server's; only the states that a real audit does not show on demand come from `fixture.mjs`.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

import { answer } from "./fixture.mjs";

const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

const url = process.env.WIREPROOF_URL;
if (!url) {
  console.error("page.mjs: WIREPROOF_URL is not set; give it the address of a running `wireproof serve`, or use test/run.sh");
  process.exit(2);
}
const origin = new URL(url).origin;
const expectedIds = (process.env.WIREPROOF_EXPECT ?? "").split(/\s+/).filter(Boolean);

const browser = await chromium.launch({ executablePath: BROWSER, args: FLAGS });
let failed = false;

/** Opens a fresh page, runs the steps, and then demands that nothing left the origin and nothing was complained about. */
async function check(name, steps, { state = null, faults = state === "error" || state === "locked", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const strayed = [];
  const complaints = [];
  page.on("request", (request) => { if (new URL(request.url()).origin !== origin) strayed.push(request.url()); });
  // An error answer is logged by the browser itself; the states that are about one expect it.
  page.on("console", (message) => { if (message.type() === "error" && !faults) complaints.push(message.text()); });
  page.on("pageerror", (error) => complaints.push(error.message));
  if (state !== null) {
    await page.route(/\/api\/v1\//, (route) => {
      const { pathname, searchParams } = new URL(route.request().url());
      const { status, body } = answer(state, pathname.replace(/^.*\/api\/v1\//, ""), route.request().headers().authorization, searchParams);
      return route.fulfill({ status, contentType: status === 200 ? "application/json" : "application/problem+json", body: JSON.stringify(body) });
    });
  }
  await page.addInitScript(() => {
    globalThis.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shifted += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  try {
    await page.goto(url);
    await page.locator("section.panel, section.notice").first().waitFor({ timeout: 15_000 });
    await steps(page);
    assert.deepEqual(strayed, [], "requests that left the origin");
    assert.deepEqual(complaints, [], "console errors");
    console.log(`ok   ${name}`);
  } catch (error) {
    failed = true;
    console.log(`FAIL ${name}\n${error.stack ?? error}`);
    if (process.env.WIREPROOF_SHOTS) await page.screenshot({ path: `${process.env.WIREPROOF_SHOTS}/failed.png`, fullPage: true });
  } finally {
    await context.close();
  }
}

async function allFindings() {
  const found = [];
  let cursor = null;
  do {
    const answer = await fetch(new URL(`api/v1/violations?limit=1000${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`, url));
    assert.equal(answer.status, 200);
    const page = await answer.json();
    found.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return found;
}

const findings = await allFindings();
const cause = (finding) => finding.cause ?? `${finding.id} ${finding.server.workload === null ? finding.server.address : `${finding.server.namespace === null ? "" : `${finding.server.namespace}/`}${finding.server.workload}`}:${finding.port}`;
const row = (page, finding) => page.locator("table.causes tbody tr").filter({ has: page.locator(`xpath=self::tr[@data-cause=${JSON.stringify(cause(finding))}]`) });
const mended = findings.find(({ remedy, because }) => remedy.yaml !== null && because.length > 0);

await check("the known violations are listed, one row a cause", async (page) => {
  assert.ok(findings.length > 0, "the server has no violation to show");
  const rows = page.locator("table.causes tbody tr");
  assert.equal(await rows.count(), new Set(findings.map(cause)).size);
  const shown = await page.locator("table.causes").innerText();
  for (const id of expectedIds) assert.ok(shown.includes(id), `${id} is not on the page`);
  for (const { id } of findings) assert.ok(shown.includes(id), `${id} is not on the page`);
});

await check("a violation opens by keyboard, tells why, and gives its remedy to copy", async (page) => {
  assert.ok(mended, "no violation has both a why-chain and YAML");
  const opener = row(page, mended).getByRole("button");
  await opener.focus();
  await page.keyboard.press("Enter");
  const drawer = page.getByRole("dialog");
  await drawer.waitFor();
  const opened = findings.find(({ key }) => page.url().includes(key));
  assert.ok(opened, "the address names no finding");
  // The row opens its worst finding; the one with YAML may be a later one of the same cause.
  while (!page.url().includes(mended.key)) await drawer.getByRole("button", { name: "Next" }).click();
  assert.equal(await drawer.getByRole("heading", { level: 2 }).innerText(), mended.message);

  const steps = drawer.locator("ol.why li");
  assert.equal(await steps.count(), mended.because.length);
  for (const [at, citation] of mended.because.entries()) {
    const told = await steps.nth(at).innerText();
    for (const part of [citation.rule, citation.resource, citation.effect, citation.field, citation.file]) {
      if (part !== null) assert.ok(told.includes(part), `step ${at + 1} does not show ${part}`);
    }
  }
  assert.equal((await drawer.locator(".yaml pre").textContent()).trim(), mended.remedy.yaml.trim());
  await drawer.locator(".example").first().waitFor();
  assert.equal(await drawer.locator(".example").count(), Math.min(mended.examples.length, 5));

  await drawer.getByRole("button", { name: "Copy" }).focus();
  await page.keyboard.press("Enter");
  await drawer.getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), mended.remedy.yaml);

  // The focus stays inside the drawer however often Tab is pressed (the browser's own bar shows as the body).
  for (let pressed = 0; pressed < 25; pressed += 1) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest("dialog") !== null), "the focus left the drawer");
  }
  await page.keyboard.press("Escape");
  await drawer.waitFor({ state: "detached" });
  assert.ok(await opener.evaluate((element) => element === document.activeElement), "the focus did not return to the row");
}, { permissions: ["clipboard-read", "clipboard-write"] });

await check("without the clipboard's permission the YAML is copied or left selected", async (page) => {
  await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await page.evaluate((key) => { location.hash = `open=${key}`; }, mended.key);
  const drawer = page.getByRole("dialog");
  await drawer.getByRole("button", { name: "Copy" }).click();
  await drawer.getByText(/Copied|Selected/).waitFor();
  assert.equal((await page.evaluate(() => getSelection().toString())).trim(), mended.remedy.yaml.trim());
});

await check("the text filter and the matrix narrow the page, and the address keeps it", async (page) => {
  await page.getByLabel("Filter violations").fill("no-such-workload");
  await page.getByText("No violation passes these filters.").waitFor();
  await page.reload();
  await page.getByText("No violation passes these filters.").waitFor();
  await page.getByRole("button", { name: "Clear filters" }).first().click();
  await page.locator("table.causes").waitFor();

  const [first] = findings;
  const label = (namespace) => namespace ?? "outside";
  const cell = page.getByRole("button", { name: `${label(first.client.namespace)} to ${label(first.server.namespace)}: ` });
  await cell.click();
  const within = findings.filter(({ client, server }) => client.namespace === first.client.namespace && server.namespace === first.server.namespace);
  assert.equal(await page.locator("table.causes tbody tr").count(), new Set(within.map(cause)).size);
  await cell.click();
  assert.equal(await page.locator("table.causes tbody tr").count(), new Set(findings.map(cause)).size);
});

await check("edges and flows are listed, and the counts are the server's", async (page) => {
  const connections = page.locator("section[aria-labelledby=connections]");
  await connections.locator("tbody tr").first().waitFor();
  await connections.getByRole("button", { name: "Flows", exact: true }).click();
  await connections.getByRole("columnheader", { name: "Judged" }).waitFor();
  assert.ok((await connections.locator("tbody tr").count()) > 0);
  await connections.getByLabel("Class").selectOption("plaintext");
  await page.waitForFunction(() => document.querySelector("section[aria-labelledby=connections] .scroll").getAttribute("aria-busy") === "false");
  const { data } = await (await fetch(new URL("api/v1/overview", url))).json();
  const plaintext = Object.values(data.flows.plaintext ?? {}).reduce((sum, flows) => sum + flows, 0);
  assert.equal(await page.locator(".total-plaintext strong").innerText(), plaintext.toLocaleString("en-US"));
});

await check("Reload asks for all that is shown", async (page) => {
  const connections = page.locator("section[aria-labelledby=connections]");
  await connections.locator("tbody tr").first().waitFor();
  await page.getByLabel("Namespace to become STRICT").selectOption("catalog");
  await page.getByText("NOT READY for STRICT:").waitFor();
  const asked = new Set();
  // It is seen to work while it does, and keeps the focus.
  let working = null;
  await page.route(/\/api\/v1\/matrix/, async (route) => {
    working = await page.getByRole("button", { name: "Reload" }).getAttribute("aria-busy");
    await route.continue();
  });
  page.on("response", (response) => asked.add(new URL(response.url()).pathname.replace(/^.*\/api\/v1\//, "")));
  await page.getByRole("button", { name: "Reload" }).click();
  const deadline = Date.now() + 10_000;
  const all = ["overview", "violations", "matrix", "timeline", "edges", "readiness"];
  while (!all.every((path) => asked.has(path)) && Date.now() < deadline) await page.waitForTimeout(50);
  assert.deepEqual(all.filter((path) => !asked.has(path)), []);
  assert.equal(working, "true");
  await page.locator("nav button[aria-busy=false]:focus").waitFor();
});

await check("classes keep their colours where the system chooses the others", async (page) => {
  const marks = await page.locator(".legend .key, .totals .class").evaluateAll((all) =>
    all.map((mark) => getComputedStyle(mark, "::before")).filter(({ display }) => display !== "none").map(({ backgroundColor, forcedColorAdjust }) => `${forcedColorAdjust} ${backgroundColor}`));
  assert.ok(marks.length > 5 && marks.every((mark) => mark.startsWith("none ")), marks.join());
}, { forcedColors: "active" });

await check("a Community ID leads to its flows, and the address keeps it", async (page) => {
  const connections = page.locator("section[aria-labelledby=connections]");
  await connections.getByRole("button", { name: "Flows", exact: true }).click();
  await connections.getByRole("columnheader", { name: "Judged" }).waitFor();
  const { data } = await (await fetch(new URL("api/v1/flows?limit=1000", url))).json();
  const name = data[0].flow.community_id;
  const alike = data.filter(({ flow }) => flow.community_id === name).length;
  assert.ok(alike < data.length);
  const search = connections.getByLabel("Community ID");
  await search.fill(name);
  await search.press("Enter");
  const rows = (count) => page.waitForFunction((count) => document.querySelectorAll("section[aria-labelledby=connections] tbody tr").length === count, count);
  await rows(alike);
  await page.reload();
  await rows(alike);
  await connections.getByRole("button", { name: "Clear filters" }).click();
  await rows(Math.min(50, data.length));
});

await check("who would break under STRICT is named, with what makes it STRICT", async (page) => {
  const readiness = page.locator("section[aria-labelledby=readiness]");
  await readiness.getByLabel("Namespace to become STRICT").selectOption("catalog");
  await readiness.getByText("NOT READY for STRICT:").waitFor();
  const { data } = await (await fetch(new URL("api/v1/readiness?namespace=catalog", url))).json();
  assert.ok(data.breaks.length > 0, "the case has nobody who would break");
  assert.equal(await readiness.locator("table.breaks tbody tr").count(), data.breaks.length);
  await readiness.getByText("What makes it STRICT").click();
  assert.match(await readiness.locator("pre").last().innerText(), /mode: STRICT/);
  assert.ok(page.url().includes("strict=catalog"), "the address keeps it");
  if (process.env.WIREPROOF_SHOTS) await readiness.screenshot({ path: `${process.env.WIREPROOF_SHOTS}/readiness.png` });
});

await check("what lies outside the mesh can be filtered too", async (page) => {
  const cell = page.getByRole("button", { name: /^outside to / }).first();
  assert.equal(await cell.count(), 1, "the case has no client outside the mesh");
  const connections = page.locator("section[aria-labelledby=connections]");
  await connections.locator("tbody tr").first().waitFor();
  await cell.click();
  await connections.getByText("from outside").waitFor();
  await page.waitForFunction(() => document.querySelector("section[aria-labelledby=connections] .scroll").getAttribute("aria-busy") === "false");
  assert.ok((await connections.locator("tbody tr").count()) > 0, "no connection from outside");
});

await check("nothing overflows at 800 pixels, light and dark", async (page) => {
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page scrolls sideways");
  await page.emulateMedia({ colorScheme: "dark" });
  const [ink, ground] = await page.evaluate(() => [getComputedStyle(document.documentElement).color, getComputedStyle(document.documentElement).backgroundColor]);
  assert.notEqual(ink, ground);
}, { viewport: { width: 800, height: 900 } });

await check("a telephone shows how each connection was seen, without pushing the page aside", async (page) => {
  await page.locator("table.edges tbody tr").first().waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  for (const cell of ["table.edges tbody tr:first-child td:nth-child(4)", "table.causes tbody tr:first-child td:nth-child(7)"]) {
    const box = await page.locator(cell).first().boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 360, `${cell} ends at ${box.x + box.width}`);
  }
}, { viewport: { width: 360, height: 800 } });

await check("nothing jumps while the page loads", async (page) => {
  await page.locator("section[aria-labelledby=connections] tbody tr").first().waitFor();
  const shifted = await page.evaluate(() => globalThis.shifted);
  assert.ok(shifted < 0.05, `the layout shifted by ${shifted}`);
});

await check("values of the chart are told from what is applied to the cluster", async (page) => {
  const drawer = page.getByRole("dialog");
  const opened = async (id) => {
    const { key, remedy } = answer("audit", "violations").body.data.find((finding) => finding.id === id && finding.remedy.yaml === null);
    await page.evaluate((key) => { location.hash = `open=${key}`; }, key);
    await drawer.getByText(remedy.summary).waitFor();
    return remedy;
  };
  const { values } = await opened("OB22");
  await drawer.getByText("Values of wireproof's Helm chart:").waitFor();
  assert.equal(await drawer.locator(".yaml pre").textContent(), values);
  await opened("OB05");
  await drawer.getByText("No YAML mends this.").waitFor();
  assert.equal(await drawer.locator(".yaml").count(), 0);
}, { state: "audit" });

await check("of more findings than are read, those that are chosen are asked of the server", async (page) => {
  const violations = page.locator("section[aria-labelledby=violations]");
  await violations.getByText("1 cause, 2,000 findings of 77,001").waitFor();
  await page.getByLabel("Filter violations").fill("prometheus");
  await violations.getByText("None of the 2,000 findings that were read passes these filters; there are more.").waitFor();
  // A medium one is not among the worst, and what another page holds is there by its namespace.
  await page.getByLabel("Severity").selectOption("medium");
  await violations.getByText("1 cause, 1 finding of 77,001").waitFor();
  assert.match(await violations.locator("table.causes").innerText(), /monitoring\/\s*prometheus/);
  await page.getByLabel("Severity").selectOption("*");
  await page.getByLabel("Filter violations").fill("");
  await page.getByLabel("To namespace").selectOption("=catalog");
  await violations.getByText("2 causes, 3 findings of 77,001").waitFor();
  await violations.getByRole("button").filter({ hasText: "search-lb" }).click();
  await page.getByRole("dialog").waitFor();
  // Such a link opens it elsewhere, too.
  await page.evaluate(() => { location.hash = "open=000000000000a005"; });
  await page.reload();
  await page.getByRole("dialog").getByText("monitoring/prometheus reaches catalog/search:9102").waitFor();
}, { state: "many" });

await check("a finding whose flows are gone says so", async (page) => {
  const drawer = page.getByRole("dialog");
  const { key, flows } = answer("audit", "violations").body.data.find((finding) => finding.examples.length === 0);
  await page.evaluate((key) => { location.hash = `open=${key}`; }, key);
  await drawer.getByText(`None of its ${flows} flows is kept any more`).waitFor();
  assert.equal(await drawer.getByRole("button", { name: /^Show all/ }).count(), 0);
}, { state: "audit" });

await check("nothing captured says so", async (page) => {
  await page.getByRole("heading", { name: "Nothing captured" }).waitFor();
}, { state: "empty" });

await check("nothing wrong says on what coverage", async (page) => {
  const said = await page.locator("section[aria-labelledby=violations]").innerText();
  assert.match(said, /Nothing wrong was seen/);
  assert.match(said, /4 could\s+not be judged/);
  assert.match(said, /96\.6%/);
}, { state: "conforms" });

await check("an error shows the server's words and can be tried again", async (page) => {
  await page.getByRole("alert").getByText("The store does not answer").waitFor();
  await page.getByText("7f3c01").waitFor();
  await page.unroute(/\/api\/v1\//);
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator("table.causes").waitFor();
}, { state: "error" });

await check("a server that wants a token gets it, and it stays out of the address", async (page) => {
  await page.getByLabel("Token").fill("invented");
  await page.keyboard.press("Enter");
  await page.locator("table.causes").waitFor();
  assert.ok(!page.url().includes("invented"));
  // So does the page about the API, which says what words a filter takes.
  const description = await (await fetch(new URL("api/v1/openapi.json", url))).json();
  await page.route(/openapi\.json$/, (route) => (route.request().headers().authorization === "Bearer invented" ? route.fulfill({ json: description }) : route.fulfill({ status: 401, json: {} })));
  await page.getByRole("link", { name: "API" }).click();
  await page.getByRole("heading", { name: "GET /api/v1/flows", exact: true }).waitFor();
  await page.getByText("plaintext, tls, mtls, opaque, unknown").first().waitFor();
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await page.getByText("this server wants its token").waitFor();
}, { state: "locked" });

await check("rows of other filters do not stay under an error", async (page) => {
  const connections = page.locator("section[aria-labelledby=connections]");
  await connections.locator("tbody tr").first().waitFor();
  await page.route(/\/api\/v1\/edges/, (route) => route.fulfill({ status: 503, contentType: "application/problem+json", json: { title: "Unavailable", detail: "the store does not answer", status: 503 } }));
  await connections.getByLabel("Class", { exact: true }).selectOption("tls");
  await connections.getByRole("alert").getByText("the store does not answer").waitFor();
  assert.equal(await connections.locator("tbody tr").count(), 0);
  await page.unroute(/\/api\/v1\/edges/);
  await connections.getByRole("button", { name: "Try again" }).click();
  await connections.locator("tbody tr").first().waitFor();
  assert.equal(await connections.getByRole("alert").count(), 0);
}, { faults: true });

await browser.close();
process.exit(failed ? 1 : 0);
