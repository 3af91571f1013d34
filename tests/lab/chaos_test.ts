import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { until } from "../../scripts/lab/process.ts";
import { IS_ROOT } from "./lab_test_case.ts";

const CHAOS = fileURLToPath(new URL("../../scripts/chaos.ts", import.meta.url));

/** A fault run as a process of its own, as a person starts it. */
function spawnChaos(...args: string[]): Deno.ChildProcess {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", CHAOS, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  return command.spawn();
}

/** Namespaces and folders of a lab that this process made. */
function ownedBy(pid: number): string[] {
  return ["/run/netns", Deno.env.get("TMPDIR") ?? "/tmp"].flatMap((folder) =>
    [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.startsWith(`flt-${pid}-`))
  );
}

Deno.test({
  name: "chaos: a round ends with a table and status 0, and leaves nothing (needs root)",
  ignore: !IS_ROOT,
  async fn() {
    const child = spawnChaos("1", "3", "vxlan");
    const { code, stdout, stderr } = await child.output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(code, 0, text);
    assert.match(text, /^chaos: 1 s, seed 3, vxlan$/m);
    assert.match(text, /^\| all rounds +\| +1 \|/m);
    assert.deepEqual(ownedBy(child.pid), []);
  },
});

Deno.test({
  name: "chaos: a run that is killed is taken away, too (needs root)",
  ignore: !IS_ROOT,
  async fn() {
    const child = spawnChaos("60", "3", "vxlan");
    try {
      // All hosts have their namespaces, and their daemons begin.
      await until("the run's hosts", () => ownedBy(child.pid).some((name) => name.endsWith("h4c1")), 30_000);
    } finally {
      child.kill("SIGKILL");
      await Promise.all([child.status, child.stdout.cancel(), child.stderr.cancel()]);
    }
    await until("the run's namespaces to go", () => ownedBy(child.pid).length === 0, 10_000);
  },
});
