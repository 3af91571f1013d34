/** The page of a real daemon in a lab. */
import assert from "node:assert/strict";
import { Browser } from "../../scripts/lab/browser.ts";
import { HEALTH_PORT } from "../../scripts/lab/host.ts";
import { Relay } from "../../scripts/lab/relay.ts";
import { labTest } from "../lab/lab_test_case.ts";

labTest(
  "the page of a daemon: a peer that joins within 2 s, a cut stream, a restart",
  { hosts: 3 },
  async (lab) => {
    const [host, second, third] = [lab.host(1), lab.host(2), lab.host(3)];
    await Promise.all([host.startReady(), second.startReady()]);
    await using relay = await Relay.open(host, lab.folder, HEALTH_PORT);
    await using browser = await Browser.launch();
    await using page = await browser.page({ width: 1280, height: 900 });
    await page.open(`http://127.0.0.1:${relay.port}/`);
    const rows = (count: number) =>
      `document.querySelectorAll("#rows button").length === ${count} && document.querySelector("#link").dataset.state === "live"`;
    await page.until(rows(1));
    const summary = `document.querySelector("#summary").textContent`;
    assert.match(
      await page.evaluate(summary),
      /^Containers here have addresses of 10\.5\.\d+\.0\/24\. The path to its only peer is set up\./,
    );
    await third.startReady();
    // It was in the store before it was ready.
    await page.until(rows(2), 2_000);
    assert.deepEqual(page.faults, []);
    relay.cut();
    await page.until(`document.querySelector("#link").dataset.state === "lost"`);
    await page.until(rows(2));
    assert.equal((await host.daemon.stop()).code, 0);
    await page.until(`document.querySelector("#link").dataset.state === "lost"`);
    await host.startReady();
    await page.until(rows(2));
    await page.until(`document.querySelector("#log").textContent.includes("In the network")`);
    const lines = await page.evaluate<string>(`document.querySelector("#pool figcaption").textContent`);
    assert.match(lines, /10\.5\.0\.0\/16 · 255 subnets of \/24, 3 taken, 252 free/);
  },
);
