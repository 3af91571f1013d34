/**
 * IPIP.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Host } from "../lab/host.ts";
import { Lab, networkConfig } from "../lab/lab.ts";
import { until } from "../lab/process.ts";
import { PATIENCE_MS, type Step } from "./step.ts";

const DEVICE = "flannel.ipip";

async function device(host: Host): Promise<string> {
  const { stdout } = await host.exec(["ip", "-d", "-o", "link", "show", DEVICE], { mayFail: true });
  return stdout;
}

async function withLab(more: Record<string, boolean>, segments: 1 | 2, body: (lab: Lab) => Promise<void>) {
  await using lab = await Lab.create({
    hosts: segments === 2 ? 3 : 2,
    segments,
    store: "sqlite",
    config: networkConfig(["ipv4"], { Type: "ipip", ...more }),
  });
  try {
    await body(lab);
  } catch (error) {
    console.log(lab.logs());
    throw error;
  }
}

/** The first host has the device as the original leaves it, the second one with another local address. */
async function endToEnd(): Promise<void> {
  await withLab({}, 1, async (lab) => {
    const [one, two] = lab.hosts as [Host, Host];
    await one.ip(`link add ${DEVICE} type ipip local 172.30.0.1`, `link set ${DEVICE} up`);
    await two.ip(`link add ${DEVICE} type ipip local 172.30.0.9 remote 172.30.0.8`);
    const index = (await one.ipJson("link", "show", DEVICE))[0]!["ifindex"];
    for (const host of lab.hosts) host.start();
    await Promise.all(lab.hosts.map((host) => host.waitReady(PATIENCE_MS)));
    assert.equal(
      (await one.ipJson("link", "show", DEVICE))[0]!["ifindex"],
      index,
      "the original's device is taken over",
    );
    assert.match(await device(two), /mtu 1480 .* ipip (?:any )?remote any local 172\.30\.0\.2 /);
    assert.match(
      (await one.routes("-4", DEVICE)).join("\n"),
      /^10\.5\.\d+\.0\/24 via 172\.30\.0\.2 .*onlink/m,
    );
    await lab.connect();
    await lab.pingAll(PATIENCE_MS);
    await two.ip(`link set ${DEVICE} mtu 1400`, `link set ${DEVICE} down`);
    await until("MTU and state", async () => /UP.* mtu 1480/.test(await device(two)), PATIENCE_MS);
    await two.ip(`link delete ${DEVICE}`);
    await until("the device", async () => /UP.* mtu 1480/.test(await device(two)), PATIENCE_MS);
    await lab.pingAll(PATIENCE_MS);
    const { stdout } = await two.exec(["ip", "-o", "link", "show", "tunl0"], { mayFail: true });
    assert.doesNotMatch(stdout, /UP|flanneld/, "tunl0 is left alone");
  });
}

/** Hosts 1 and 3 are on one wire, host 2 is behind a router. */
async function direct(): Promise<void> {
  await withLab({ DirectRouting: true }, 2, async (lab) => {
    for (const host of lab.hosts) host.start();
    await Promise.all(lab.hosts.map((host) => host.waitReady(PATIENCE_MS)));
    const host = lab.host(1);
    const routes = async (device: string) => (await host.routes("-4", device)).join("\n");
    await until(
      "both peers",
      async () =>
        /^10\.5\.\d+\.0\/24 via 172\.30\.0\.3 /m.test(await routes("eth0")) &&
        /^10\.5\.\d+\.0\/24 via 172\.30\.1\.2 .*onlink/m.test(await routes(DEVICE)),
      PATIENCE_MS,
    );
    await lab.connect();
    await lab.pingAll(PATIENCE_MS);
  });
}

/** A device of another kind under our name is refused, and stays. */
async function foreign(): Promise<void> {
  await withLab({}, 1, async (lab) => {
    const host = lab.host(1);
    await host.ip(`link add ${DEVICE} type bridge`);
    const { code } = await host.start().ended();
    assert.equal(code, 1);
    assert.match(host.daemon.log, /Cannot use the device flannel\.ipip: there is one of kind bridge/);
    assert.match(await device(host), /bridge/);
  });
}

/** See the module's text. */
export const ipipSteps: readonly Step[] = [
  { name: "ipip: two hosts, takeover, healing", run: endToEnd },
  { name: "ipip: DirectRouting", run: direct },
  { name: "ipip: a foreign device is refused", run: foreign },
];
