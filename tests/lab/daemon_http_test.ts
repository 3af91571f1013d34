/** The HTTP port under clients that take all they can get. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { HEALTH_PORT, type Host } from "../../scripts/lab/host.ts";
import { labTest } from "./lab_test_case.ts";
import { run, until } from "../../scripts/lab/process.ts";

const FLOOD = fileURLToPath(new URL("http_flood.ts", import.meta.url));
const CONNECTIONS = 5_000;

/** Holds connections to the host's health port, until it is disposed. */
async function flood(host: Host): Promise<AsyncDisposable> {
  const child = host.spawn([
    ...["prlimit", `--nofile=${CONNECTIONS + 200}`, Deno.execPath(), "run", "--no-check", "--quiet", "-A"],
    ...[FLOOD, "127.0.0.1", String(HEALTH_PORT), String(CONNECTIONS)],
  ]);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value } = await reader.read();
  assert.match(value ?? "it ended", /^flooded/);
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await Promise.all([reader.cancel(), child.stderr.cancel(), child.status]);
    },
  };
}

async function answers(host: Host): Promise<void> {
  await until("/healthz to answer", async () => await host.probe("/healthz") === 200, 10_000);
}

labTest("5,000 connections that send no request: probes are answered", { hosts: 1 }, async (lab) => {
  const host = lab.host(1);
  await host.startReady();
  await using _flood = await flood(host);
  for (let count = 0; count < 5; count++) await answers(host);
  assert.equal(host.daemon.count(/error|warning/), 0, host.daemon.log);
});

/**
 * How many file descriptors a process has once that no longer changes: what a daemon loads after its start needs some,
 * and a runtime that can't read a module's file then ends.
 */
async function descriptorsAtRest(pid: string): Promise<number> {
  let count = 0, since = performance.now();
  await until("the file descriptors to stay the same", () => {
    const now = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
    if (now !== count) [count, since] = [now, performance.now()];
    return Promise.resolve(performance.now() - since > 2_000);
  }, 20_000);
  return count;
}

// Deno.serve ended at the first accept without a free file descriptor, and nobody answered probes any more.
labTest("no file descriptors left: the daemon goes on, and answers again", { hosts: 2 }, async (lab) => {
  const host = lab.host(1);
  await lab.startAll();
  await lab.connect();
  const pid = String(host.daemon.pid);
  const used = await descriptorsAtRest(pid);
  await run(["prlimit", "--pid", pid, `--nofile=${used + 10}`]);
  {
    await using _flood = await flood(host);
    await until(
      "the lack of file descriptors to be reported",
      () => Promise.resolve(host.daemon.count(/health port: cannot accept connections/) > 0),
      10_000,
    );
    assert.ok(host.daemon.isRunning, host.daemon.log);
    await lab.pingAll();
  }
  await answers(host);
  await until("the end of it", async () => !/health port/.test(await host.fetchText("/status")), 10_000);
  assert.ok(host.daemon.count(/health port/) <= 8, host.daemon.log);
  assert.ok(host.daemon.isRunning, host.daemon.log);
  assert.equal((await host.daemon.stop()).code, 0);
});
