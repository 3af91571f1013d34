/** The ipip backend's plan. */
import assert from "node:assert/strict";
import { ipip } from "../../backends/ipip.ts";
import type { JsonObject } from "../../lib/config/types.ts";
import { describeEntry } from "../../lib/kernel/entries.ts";
import { encodeLeaseValue } from "../../lib/leases/codec.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { context, environment, external, peer } from "./backend_fixtures.ts";

const OWN = { subnets: { ipv4: parsePrefix("10.5.72.0/24") } };
const value = (more: JsonObject = {}) => ({ PublicIP: "172.30.0.3", BackendType: "ipip", ...more });
const PEER = peer("10.5.88.0-24", value());

async function open(options: JsonObject = {}) {
  const read = ipip.parse(options, [IPV4]);
  assert.deepEqual(read.faults, []);
  const backend = await ipip.open(read.options, context());
  assert.ok(backend.carrier === "kernel");
  return backend;
}

Deno.test("ipip: one device from the interface's address, and a route a peer through it", async () => {
  const plan = (await open()).plan(environment(), OWN);
  assert.deepEqual(plan.links, [{
    ...{ kind: "ipip", name: "flannel.ipip", mtu: 1480, local: parseIp("172.30.0.2") },
    addresses: [{ ip: parseIp("10.5.72.0"), prefixLength: 32 }],
  }]);
  assert.deepEqual(plan.forPeer(PEER).entries.map(describeEntry), [
    "route 10.5.88.0/24 via 172.30.0.3 dev flannel.ipip onlink",
  ]);
});

Deno.test("ipip: DirectRouting takes the plain route only to peers on the same wire", async () => {
  const backend = await open({ DirectRouting: true });
  const entries = (onLink: string[]) =>
    backend.plan(environment(onLink), OWN).forPeer(PEER).entries.map(describeEntry);
  assert.deepEqual(entries(["172.30.0.3"]), ["route 10.5.88.0/24 via 172.30.0.3 dev eth0"]);
  assert.deepEqual(entries([]), ["route 10.5.88.0/24 via 172.30.0.3 dev flannel.ipip onlink"]);
});

Deno.test("ipip: the MTU is the interface's less 20, or a smaller one that is asked for", async () => {
  const mtu = async (options: JsonObject, of: number) => {
    const plan = (await open(options)).plan(environment([], { mtu: of }), OWN);
    return { mtu: plan.mtu, device: plan.links[0]!.mtu, problem: plan.problem };
  };
  assert.deepEqual(await mtu({}, 9000), { mtu: 8980, device: 8980, problem: undefined });
  assert.deepEqual(await mtu({ MTU: 1400 }, 1500), { mtu: 1400, device: 1400, problem: undefined });
  const large = await mtu({ MTU: 1500 }, 1500);
  assert.equal(large.mtu, 1480);
  assert.match(large.problem ?? "", /Backend\.MTU 1500 is more than eth0 with its MTU 1500 can carry/);
});

Deno.test("ipip: peers that can't be reached are said to be, and IPv6 is refused", async () => {
  const plan = (await open()).plan(environment(), OWN);
  const problem = (changes: JsonObject) => plan.forPeer(peer("10.5.88.0-24", value(changes))).problem;
  assert.match(problem({ BackendType: "vxlan" }) ?? "", /"vxlan", not ipip/);
  assert.match(problem({ PublicIP: "172.30.0.2" }) ?? "", /own address/);
  assert.match(problem({ PublicIP: "0.0.0.0", PublicIPv6: "fd00::3" }) ?? "", /no public IPv4 address/);
  assert.match(ipip.parse({}, [IPV4, IPV6]).faults.map(({ message }) => message).join(), /carries IPv4 only/);
});

Deno.test("ipip: a lease is the original's, byte for byte", async () => {
  const { attributes } = await open();
  const text = encodeLeaseValue({ ...attributes, publicIps: { ipv4: external().publicIps.ipv4! } });
  assert.equal(text, '{"PublicIP":"172.30.0.2","PublicIPv6":null,"BackendType":"ipip"}');
});
