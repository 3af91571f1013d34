/** The page as a file, and what its streams send. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { LogTail } from "../../lib/observe/log_tail.ts";
import { contentSecurityPolicy } from "../../lib/web/answers.ts";
import { History } from "../../lib/web/history.ts";
import { PageHub, type PageSource } from "../../lib/web/hub.ts";
import type { PeerStatus, StatusDocument } from "../../lib/status/document.ts";
import { makePage, PAGE_FILE } from "../../scripts/page.ts";

Deno.test("page: lib/web/page.html is current (deno task page makes it)", async () => {
  assert.ok(await makePage() === await Deno.readTextFile(PAGE_FILE), "run: deno task page");
});

Deno.test("page: one file that names nothing outside of itself", async () => {
  const page = await Deno.readTextFile(PAGE_FILE);
  assert.ok(page.length < 250_000);
  assert.deepEqual([...page.matchAll(/<(?:script|link|img)[^>]*(?:src|href)="(?!data:)[^"]*"/g)], []);
  assert.equal(page.match(/<script/g)?.length, 1);
  assert.doesNotMatch(page, /\son\w+="|style="|@import|url\((?!data:)/);
});

Deno.test("page: its policy allows its own script and style by hash, and requests to where it comes from", () => {
  const policy = contentSecurityPolicy("<style>a</style><script type=module>b</script>");
  const hash = (text: string) => createHash("sha256").update(text).digest("base64");
  assert.match(policy, /^default-src 'none'; /);
  assert.ok(policy.includes(`script-src 'sha256-${hash("b")}';`));
  assert.ok(policy.includes(`style-src 'sha256-${hash("a")}';`));
  assert.match(policy, /connect-src 'self';/);
  assert.doesNotMatch(policy, /unsafe/);
});

/** WCAG 2.2: relative luminance of `#rrggbb`. */
function luminance(colour: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4) as [
      number,
      number,
      number,
    ];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// Free subnets were all but invisible in the dark.
Deno.test("page: the edge of a free subnet's square stands out from the card, light and dark (WCAG 1.4.11)", async () => {
  const style = await Deno.readTextFile(new URL("../../lib/web/page/style.css", import.meta.url));
  const values = (name: string) =>
    [...style.matchAll(new RegExp(`--${name}: (#[0-9a-f]{6});`, "g"))].map(([, hex]) => hex!);
  const cards = values("card"), edges = values("free-edge");
  assert.equal(cards.length, 2);
  cards.forEach((card, at) => {
    const [low, high] = [card, edges[at]!].map(luminance).sort((a, b) => a - b) as [number, number];
    const contrast = (high + 0.05) / (low + 0.05);
    assert.ok(contrast >= 3, `${edges[at]} on ${card}: ${contrast.toFixed(2)}`);
  });
});

Deno.test("log tail: the last 200 lines, long ones cut", () => {
  const tail = new LogTail();
  let heard = 0;
  using _ = tail.subscribe(() => heard++);
  for (let number = 0; number < 250; number++) tail.add(`line ${number}\n`);
  tail.add("x".repeat(5000));
  assert.equal(tail.next, 251);
  const lines = tail.since(0);
  assert.deepEqual([lines.length, lines[0], lines.at(-1)?.length], [200, "line 51", 1002]);
  assert.deepEqual(tail.since(250).length, 1);
  assert.deepEqual(tail.since(251), []);
  assert.equal(heard, 251);
});

Deno.test("history: 15 minutes of samples", () => {
  const history = new History();
  const sample = {
    ...{ at: 0, receivedBytes: 1, sentBytes: 2, operations: 3, leaseEvents: 4, peers: 5, problems: 6 },
    ...{ cpuSeconds: 0.5, residentBytes: 7 },
  };
  for (let at = 0; at < 200; at++) history.add({ ...sample, at });
  assert.deepEqual(history.since(0).length, 180);
  assert.deepEqual(history.since(199), [{ ...sample, at: 199 }]);
});

/** A hub over peers that the test changes, and what one of its streams sent. */
function hubOf(peers: Map<string, PeerStatus>) {
  let notify = () => {};
  let made = 0;
  const source: PageSource = {
    document: () => {
      made++;
      const rows = [...peers.values()];
      return Promise.resolve(
        { ready: true, peers: { count: rows.length, table: { rows } } } as unknown as StatusDocument,
      );
    },
    isReserved: (key) => key === "b",
    renewMargin: 60,
    others: () => [{ key: "c", subnets: ["10.5.9.0/24"], reserved: true }],
    devices: () => [],
    subscribe: (onChange) => {
      notify = onChange;
      return { [Symbol.dispose]() {} };
    },
    history: new History(),
    log: new LogTail(),
  };
  return { hub: new PageHub(source), log: source.log, notify: () => notify(), made: () => made };
}

const peer = (key: string, problem: string | null = null) => ({ key, problem }) as PeerStatus;

/** Collects a stream's events. */
function collect(hub: PageHub) {
  const stop = new AbortController();
  const events: { name: string; data: Record<string, unknown> }[] = [];
  let wake = () => {};
  const done = hub.stream((text) => {
    const [, name, data] = /^event: (\w+)\ndata: (.*)\n\n$/.exec(text)!;
    events.push({ name: name!, data: JSON.parse(data!) });
    wake();
    return Promise.resolve();
  }, stop.signal);
  const next = async (name: string) => {
    for (;;) {
      const index = events.findIndex((event) => event.name === name);
      if (index >= 0) return events.splice(index, 1)[0]!.data;
      await new Promise<void>((resolve) => wake = resolve);
    }
  };
  return { next, events, [Symbol.asyncDispose]: () => (stop.abort(), done) };
}

Deno.test("page events: everything first, then only what changed", async () => {
  const peers = new Map([["a", peer("a")], ["b", peer("b")]]);
  const { hub, notify, log } = hubOf(peers);
  await using page = collect(hub);
  const state = await page.next("state");
  assert.equal(state["renewMargin"], 60);
  // It was missing: the map of the page showed less than `flanneld leases map`.
  assert.deepEqual(state["others"], [{ key: "c", subnets: ["10.5.9.0/24"], reserved: true }]);
  assert.deepEqual(await page.next("peers"), {
    put: [peer("a"), { ...peer("b"), reserved: true }],
    gone: [],
  });
  await page.next("complete");
  peers.set("c", peer("c")).set("a", peer("a", "gone astray"));
  peers.delete("b");
  notify();
  assert.deepEqual(await page.next("peers"), { put: [peer("a", "gone astray"), peer("c")], gone: ["b"] });
  log.add("line");
  assert.deepEqual(await page.next("log"), { lines: ["line"] });
  assert.deepEqual(page.events.map(({ name }) => name), []);
});

Deno.test("page events: 2,000 peers come in pieces, and one status serves all streams", async () => {
  const peers = new Map(Array.from({ length: 2000 }, (_, index) => [`k${index}`, peer(`k${index}`)]));
  const { hub, made } = hubOf(peers);
  await using one = collect(hub);
  await using two = collect(hub);
  await Promise.all([one.next("complete"), two.next("complete")]);
  for (const page of [one, two]) {
    const pieces = page.events.filter(({ name }) => name === "peers").map(({ data }) =>
      (data["put"] as unknown[]).length
    );
    assert.deepEqual(pieces, new Array(8).fill(250));
  }
  assert.equal(made(), 1);
});
