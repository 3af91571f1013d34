/**
 * IPIP.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { Host } from "../lab/host.ts";
import { Lab, networkConfig } from "../lab/lab.ts";
import { until } from "../lab/process.ts";
import { DAEMON_ARGS, PATIENCE_MS, type Step } from "./step.ts";

const DEVICE = "flannel.ipip";

async function device(host: Host): Promise<string> {
  const { stdout } = await host.exec(["ip", "-d", "-o", "link", "show", DEVICE], { mayFail: true });
  return stdout;
}

/** Hosts 1 and 3 are on one wire, host 2 is behind a router. */
async function allOf(): Promise<void> {
  await using lab = await Lab.create({
    hosts: 3,
    segments: 2,
    store: "sqlite",
    config: networkConfig(["ipv4"], { Type: "ipip", DirectRouting: true }),
  });
  try {
    await carry(lab);
    await heal(lab.host(2));
    await lab.pingAll(PATIENCE_MS);
    await refuse(lab.host(3));
  } catch (error) {
    console.log(lab.logs());
    throw error;
  }
}

/** The first host has the device as the original leaves it, the second one with another local address. */
async function carry(lab: Lab): Promise<void> {
  const [one, two] = lab.hosts as [Host, Host, Host];
  await one.ip(`link add ${DEVICE} type ipip local 172.30.0.1`, `link set ${DEVICE} up`);
  await two.ip(`link add ${DEVICE} type ipip local 172.30.0.9 remote 172.30.0.8`);
  const indexOf = async () => (await one.ipJson("link", "show", DEVICE))[0]!["ifindex"];
  const index = await indexOf();
  for (const host of lab.hosts) host.start({ args: DAEMON_ARGS });
  await Promise.all(lab.hosts.map((host) => host.waitReady(PATIENCE_MS)));
  assert.equal(await indexOf(), index, "the original's device is taken over");
  assert.match(await device(two), /mtu 1480 .* ipip (?:any )?remote any local 172\.30\.1\.2 /);
  const routes = async (device: string) => (await one.routes("-4", device)).join("\n");
  await until(
    "both peers, one of them directly",
    async () =>
      /^10\.5\.\d+\.0\/24 via 172\.30\.0\.3 /m.test(await routes("eth0")) &&
      /^10\.5\.\d+\.0\/24 via 172\.30\.1\.2 .*onlink/m.test(await routes(DEVICE)),
    PATIENCE_MS,
  );
  await lab.connect();
  await lab.pingAll(PATIENCE_MS);
}

async function heal(host: Host): Promise<void> {
  const isRight = async () => /UP.* mtu 1480/.test(await device(host));
  await host.ip(`link set ${DEVICE} mtu 1400`, `link set ${DEVICE} down`);
  await until("MTU and state", isRight, PATIENCE_MS);
  await host.ip(`link delete ${DEVICE}`);
  await until("the device", isRight, PATIENCE_MS);
  const { stdout } = await host.exec(["ip", "-o", "link", "show", "tunl0"], { mayFail: true });
  assert.doesNotMatch(stdout, /UP|flanneld/, "tunl0 is left alone");
}

/** A device of another kind under our name is refused, and stays. */
async function refuse(host: Host): Promise<void> {
  await host.daemon.stop();
  await host.ip(`link delete ${DEVICE}`, `link add ${DEVICE} type bridge`);
  const { code } = await host.start({ args: DAEMON_ARGS }).ended();
  assert.equal(code, 1);
  assert.match(host.daemon.log, /Cannot use the device flannel\.ipip: there is one of kind bridge/);
  assert.match(await device(host), /bridge/);
}

/** See the module's text. */
export const ipipSteps: readonly Step[] = [
  { name: "ipip: three hosts, DirectRouting, takeover, healing, a foreign device", run: allOf },
];
