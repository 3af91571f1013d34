/**
 * The kernel's devices against devices that are made by hand: attribute by attribute, and by what they carry.
 *
 * How much a device carries in an emulated machine varies by more than the few percent in question; two devices with
 * the same attributes are the same to the kernel.
 *
 * @module
 */
import assert from "node:assert/strict";
import { connectTunnelsByHand, handDevice } from "../../tests/bench/hand_tunnels.ts";
import { compare } from "../../tests/bench/tunnels.ts";
import { attributeDifference, deviceAttributes } from "../lab/device_attributes.ts";
import type { Host, StartOptions } from "../lab/host.ts";
import { Lab, networkConfig } from "../lab/lab.ts";
import { until } from "../lab/process.ts";
import { DAEMON_ARGS, PATIENCE_MS, type Step } from "./step.ts";

type Tunnel = "wireguard" | "ipip";

const DEVICES: Readonly<Record<Tunnel, string>> = { wireguard: "flannel-wg", ipip: "flannel.ipip" };

/**
 * What flanneld means to have otherwise: no link-local address, which would announce the host to everybody in the
 * tunnel (IFLA_INET6_ADDR_GEN_MODE; addr_gen_mode is the same as a setting), and no router advertisements taken; ipip
 * carries IPv4 alone, where ip(8) makes a device that takes MPLS, too (IFLA_IPTUN_PROTO).
 */
const MEANT =
  /^[-+] (link\.inet6_addr_gen_mode |ipv6 (addr_gen_mode|accept_ra):|link\.linkinfo\.info_data\.proto )/;

function startOptions(host: Host): StartOptions {
  return { args: DAEMON_ARGS, env: { WIREGUARD_KEY_FILE: `${host.folder}/wgkey` } };
}

/** The attributes, and for WireGuard what of its peers isn't a key, an address or a counter. */
async function attributesOf(host: Host, device: string, type: Tunnel): Promise<string[]> {
  const attributes = await deviceAttributes(host, device);
  if (type === "ipip") return attributes;
  const { stdout } = await host.exec(["wg", "show", device, "dump"]);
  const [own, ...peers] = stdout.trim().split("\n").map((line) => line.split("\t"));
  const [, , port, mark] = own!;
  const shown = peers.map(([, psk, endpoint, allowed, , , , keepalive]) =>
    `peer psk=${psk} endpoint=${endpoint} subnets=${allowed!.split(",").length} keepalive=${keepalive}`
  );
  return [...attributes, `port ${port}`, `fwmark ${mark}`, ...shown];
}

async function equals(type: Tunnel): Promise<string> {
  const config = networkConfig(["ipv4"], { Type: type });
  await using ours = await Lab.create({ hosts: 2, store: "sqlite", config });
  await using byHand = await Lab.create({ hosts: 2, store: "sqlite", config: null });
  for (const host of ours.hosts) host.start(startOptions(host));
  await Promise.all(ours.hosts.map((host) => host.waitReady(PATIENCE_MS)));
  await connectTunnelsByHand(byHand, type);
  const [own, hand] = [ours.host(1), byHand.host(1)];
  const read = () => attributesOf(own, DEVICES[type], type);
  if (type === "wireguard") {
    await until("the peer", async () => (await read()).some((line) => line.startsWith("peer ")), PATIENCE_MS);
  }
  const made = await attributesOf(hand, handDevice(byHand, hand), type);
  assert.ok(made.length > 100, `only ${made.length} attributes`);
  const differences = attributeDifference(made, await read());
  assert.deepEqual(differences.filter((line) => !MEANT.test(line)), []);
  return `${made.length} attributes are the same but for ${differences.length / 2}: ${
    differences.join("; ")
  }`;
}

const ROUNDS = 10;

async function carries(type: Tunnel): Promise<string> {
  const [, own, hand, ratio] = await compare(type, ROUNDS, 1);
  return `${own} Mbit/s, by hand ${hand}, ratio ${ratio} (median of ${ROUNDS} alternating rounds of 1 s)`;
}

/** See the module's text. */
export const equalSteps: readonly Step[] = (["wireguard", "ipip"] as const).flatMap((type) => [
  { name: `${type}: the device is what one made by hand is`, run: () => equals(type) },
  { name: `${type}: speed beside a device made by hand`, run: () => carries(type), isAskedFor: true },
]);
