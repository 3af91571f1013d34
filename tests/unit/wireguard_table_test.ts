/** The peers of a device, against a device that is a value. */
import assert from "node:assert/strict";
import { PeerTable } from "../../backends/wireguard/peer_table.ts";
import { PeerWatch } from "../../backends/wireguard/peer_watch.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix, samePrefix } from "../../lib/net/prefix.ts";
import { generatePrivateKey, publicKeyOf } from "../../lib/wireguard/keys.ts";
import type {
  PeerChange,
  PeerFailure,
  WireguardControl,
  WireguardDevice,
  WireguardDeviceChange,
  WireguardPeer,
  WireguardPeerState,
} from "../../lib/wireguard/types.ts";

/** Does what a device does, as far as peers go. */
class FakeDevice implements WireguardControl {
  publicKey: string | undefined;
  listenPort = 0;
  peers = new Map<string, WireguardPeerState>();
  /** All that was asked for, in the order in which it was. */
  readonly changes: PeerChange[] = [];
  /** Keys that are refused. */
  readonly refused = new Set<string>();

  read(): Promise<WireguardDevice> {
    const { publicKey, listenPort, peers } = this;
    const device = { listenPort, peers: [...peers.values()] };
    return Promise.resolve(publicKey === undefined ? device : { ...device, publicKey });
  }

  configure(_device: string, { privateKey, listenPort }: WireguardDeviceChange): Promise<void> {
    if (privateKey !== undefined) this.publicKey = publicKeyOf(privateKey);
    if (listenPort !== undefined) this.listenPort = listenPort;
    return Promise.resolve();
  }

  apply(_device: string, changes: readonly PeerChange[]): Promise<PeerFailure[]> {
    const failures: PeerFailure[] = [];
    for (const change of changes) {
      this.changes.push(change);
      const key = change.verb === "set" ? change.peer.publicKey : change.publicKey;
      if (this.refused.has(key)) failures.push({ change, error: new Error("refused") });
      else if (change.verb === "remove") this.peers.delete(key);
      else this.#set(change.peer);
    }
    return Promise.resolve(failures);
  }

  #set(peer: WireguardPeer): void {
    for (const [key, other] of this.peers) {
      const allowedIps = other.allowedIps.filter((ip) => !peer.allowedIps.some((own) => samePrefix(own, ip)));
      this.peers.set(key, { ...other, allowedIps });
    }
    const before = this.peers.get(peer.publicKey);
    const counters = { lastHandshake: 0, receivedBytes: 0, sentBytes: 0 };
    this.peers.set(peer.publicKey, { ...counters, ...before, ...peer });
  }
}

const PRIVATE_KEY = generatePrivateKey();
const KEYS = [1, 2, 3].map(() => publicKeyOf(generatePrivateKey())) as [string, string, string];

function peer(publicKey: string, subnet: string, address = "192.0.2.1", port = 51820): WireguardPeer {
  return {
    publicKey,
    endpoint: { ip: parseIp(address), port },
    keepalive: 0,
    allowedIps: [parsePrefix(subnet)],
  };
}

function make(): { device: FakeDevice; table: PeerTable } {
  const device = new FakeDevice();
  return { device, table: new PeerTable("wg", device, { privateKey: PRIVATE_KEY, listenPort: 51820 }) };
}

/** Each peer of the device as a line. */
function state({ peers }: FakeDevice): string[] {
  return [...peers.values()].map(({ publicKey, allowedIps }) =>
    `${KEYS.indexOf(publicKey)} ${allowedIps.map(formatPrefix).join(",")}`
  ).sort();
}

Deno.test("wireguard peers: a new device gets key, port and peers, and a second pass writes nothing", async () => {
  const { device, table } = make();
  table.set("a", peer(KEYS[0], "10.5.1.0/24"));
  table.set("b", peer(KEYS[1], "10.5.2.0/24"));
  assert.equal((await table.pass()).configured, true);
  assert.deepEqual(state(device), ["0 10.5.1.0/24", "1 10.5.2.0/24"]);
  assert.deepEqual([device.publicKey, device.listenPort], [publicKeyOf(PRIVATE_KEY), 51820]);
  device.changes.length = 0;
  const { corrected, configured, foreign } = await table.pass();
  assert.deepEqual([corrected, configured, foreign, device.changes], [0, false, 0, []]);
});

Deno.test("wireguard peers: a lease with another key: the new peer takes the subnet before the old one goes", async () => {
  const { device, table } = make();
  table.set("a", peer(KEYS[0], "10.5.1.0/24"));
  await table.pass();
  device.changes.length = 0;
  table.set("a", peer(KEYS[1], "10.5.1.0/24"));
  assert.deepEqual(await table.flush(), []);
  assert.deepEqual(device.changes.map(({ verb }) => verb), ["set", "remove"]);
  const [set] = device.changes;
  assert.equal(set?.verb === "set" && set.greet, true, "the peer that is new to the device is greeted");
  assert.deepEqual(state(device), ["1 10.5.1.0/24"]);
});

Deno.test("wireguard peers: a key in two leases has both subnets, whichever of them goes first", async () => {
  for (const [gone, left] of [["a", "10.5.2.0/24"], ["b", "10.5.1.0/24"]]) {
    const { device, table } = make();
    table.set("a", peer(KEYS[0], "10.5.1.0/24"));
    table.set("b", peer(KEYS[0], "10.5.2.0/24"));
    await table.pass();
    assert.deepEqual(state(device), ["0 10.5.1.0/24,10.5.2.0/24"]);
    table.set(gone!, undefined);
    await table.flush();
    assert.deepEqual(state(device), [`0 ${left}`]);
  }
});

Deno.test("wireguard peers: an endpoint is written where the lease names another one, and never else", async () => {
  const { device, table } = make();
  table.set("a", peer(KEYS[0], "10.5.1.0/24"));
  await table.pass();
  const roamed = { ip: parseIp("203.0.113.9"), port: 4000 };
  device.peers.set(KEYS[0], { ...device.peers.get(KEYS[0])!, endpoint: roamed, allowedIps: [] });
  assert.equal((await table.pass()).corrected, 1, "somebody took its subnet");
  assert.deepEqual(device.peers.get(KEYS[0])!.endpoint, roamed);
  // A daemon that starts anew finds the peer where it has roamed to.
  const again = new PeerTable("wg", device, { privateKey: PRIVATE_KEY, listenPort: 51820 });
  again.set("a", peer(KEYS[0], "10.5.1.0/24"));
  device.changes.length = 0;
  await again.pass();
  assert.deepEqual(device.changes, []);
  again.set("a", peer(KEYS[0], "10.5.1.0/24", "192.0.2.2"));
  await again.flush();
  assert.deepEqual(device.peers.get(KEYS[0])!.endpoint, { ip: parseIp("192.0.2.2"), port: 51820 });
});

Deno.test("wireguard peers: one that is refused is tried again by each pass, and the others are written", async () => {
  const { device, table } = make();
  device.refused.add(KEYS[0]);
  table.set("a", peer(KEYS[0], "10.5.1.0/24"));
  table.set("b", peer(KEYS[1], "10.5.2.0/24"));
  assert.equal((await table.pass()).failures.length, 1);
  assert.deepEqual(state(device), ["1 10.5.2.0/24"]);
  device.refused.clear();
  assert.deepEqual((await table.pass()).failures, []);
  assert.deepEqual(state(device), ["0 10.5.1.0/24", "1 10.5.2.0/24"]);
});

Deno.test("wireguard peers: a pass removes strangers, and restores what was removed, changed or keyed anew", async () => {
  const { device, table } = make();
  table.set("a", peer(KEYS[0], "10.5.1.0/24"));
  await table.pass();
  device.peers.clear();
  await device.apply("wg", [{ verb: "set", peer: peer(KEYS[2], "0.0.0.0/0") }]);
  device.publicKey = KEYS[1];
  const { corrected, foreign, configured } = await table.pass();
  assert.deepEqual([corrected, foreign, configured], [2, 1, true]);
  assert.deepEqual(state(device), ["0 10.5.1.0/24"]);
  assert.equal(device.publicKey, publicKeyOf(PRIVATE_KEY));
});

/** A watch over one peer: what it says after each look at these counters, one look a second. */
function watch(looks: readonly Partial<WireguardPeerState>[], named = "192.0.2.1") {
  const watching = new PeerWatch();
  const endpoint = { ip: parseIp(named), port: 51820 };
  return looks.map((look, index) => {
    const state: WireguardPeerState = {
      ...peer(KEYS[0], "10.5.1.0/24"),
      ...{ lastHandshake: 1, receivedBytes: 0, sentBytes: 0 },
      ...look,
    };
    const { lost, silent } = watching.look([state], () => endpoint, index * 1000);
    return `${lost.length > 0 ? "lost " : ""}${silent.length > 0 ? "silent" : ""}`.trim();
  });
}

const seconds = (count: number) => Array.from({ length: count }, (_, index) => index);

// After another Mode two hosts were cut off for 15 s: their sessions were of devices that had the same key.
Deno.test("wireguard peers: a former run's peers with another port or other families are recreated", async () => {
  const wanted = peer(KEYS[0], "10.5.1.0/24");
  const start = async (listenPort: number, allowedIps: string[]) => {
    const { device, table } = make();
    device.publicKey = publicKeyOf(PRIVATE_KEY);
    device.listenPort = listenPort;
    const left = { ...wanted, endpoint: { ip: parseIp("2001:db8::1"), port: 51999 } };
    const counters = { lastHandshake: 1, receivedBytes: 9, sentBytes: 9 };
    device.peers.set(KEYS[0], { ...left, ...counters, allowedIps: allowedIps.map(parsePrefix) });
    table.set("a", wanted);
    await table.pass();
    return device.changes.map((change) => change.verb === "set" ? change.peer : change.verb);
  };
  assert.deepEqual(await start(51820, ["10.5.1.0/24"]), [], "the same config: it may have roamed");
  assert.deepEqual(await start(51999, ["10.5.1.0/24"]), ["remove", wanted]);
  assert.deepEqual(await start(51820, ["10.5.1.0/24", "fc00:0:0:1::/64"]), ["remove", wanted]);
  const { endpoint: _, ...rest } = wanted;
  assert.deepEqual(await start(51820, ["10.5.9.0/24"]), [rest], "another subnet: the session goes on");
});

// A first handshake that was lost, as while addresses change, was tried again after 5 s only.
Deno.test("wireguard peers: a handshake without an answer is begun anew each second, three times", async () => {
  const { device, table } = make();
  table.set("a", peer(KEYS[0], "10.5.1.0/24"));
  table.set("b", peer(KEYS[1], "10.5.2.0/24"));
  await table.pass(0);
  device.peers.set(KEYS[1], { ...device.peers.get(KEYS[1])!, receivedBytes: 92 });
  const begunAt = async (...times: number[]) => {
    const begun: number[] = [];
    for (const now of times) {
      device.changes.length = 0;
      const { corrected } = await table.pass(now);
      assert.equal(corrected, 0, "nobody changed anything");
      if (device.changes.length === 0) continue;
      begun.push(now);
      assert.deepEqual(device.changes, [
        { verb: "remove", publicKey: KEYS[0] },
        { verb: "set", peer: peer(KEYS[0], "10.5.1.0/24"), greet: true },
      ]);
    }
    return begun;
  };
  assert.deepEqual(await begunAt(500, 1000, 1500, 2000, 3000, 4000, 5000), [1000, 2000, 3000]);
  table.greetAgain();
  assert.deepEqual(await begunAt(6000), [6000], "this host has another address");
  device.peers.set(KEYS[0], { ...device.peers.get(KEYS[0])!, lastHandshake: 1 });
  assert.deepEqual(await begunAt(7000, 8000), []);
});

Deno.test("wireguard watch: a peer that takes 15 s of packets without an answer is silent", () => {
  const states = watch(seconds(18).map((second) => ({ sentBytes: second * 128 })));
  assert.deepEqual(states.map((text, second) => text === "silent" ? second : -1).filter((at) => at >= 0), [
    16,
    17,
  ]);
});

Deno.test("wireguard watch: handshakes that come in and never complete are no answer (another PSK there)", () => {
  const states = watch(
    seconds(18).map((second) => ({ sentBytes: second * 128, receivedBytes: Math.floor(second / 5) * 148 })),
  );
  assert.equal(states.at(-1), "silent");
});

Deno.test("wireguard watch: neither keepalives without an answer nor a completed handshake are silence", () => {
  assert.equal(watch(seconds(40).map((second) => ({ sentBytes: Math.floor(second / 10) * 32 }))).at(-1), "");
  const states = watch(
    seconds(40).map((second) => ({
      sentBytes: second === 0 ? 0 : 148 + 32,
      receivedBytes: second === 0 ? 0 : 92,
      lastHandshake: second === 0 ? 0 : 1_700_000_000,
    })),
  );
  assert.equal(states.at(-1), "");
});

Deno.test("wireguard watch: an endpoint that isn't the lease's is left after 3 s without any answer from it", () => {
  const states = watch(seconds(6).map((second) => ({ sentBytes: second * 128 })), "192.0.2.99");
  assert.deepEqual(states, ["", "", "", "", "lost", "lost"]);
  const answers = seconds(6).map((second) => ({ sentBytes: second * 128, receivedBytes: second * 128 }));
  assert.deepEqual(watch(answers, "192.0.2.99"), ["", "", "", "", "", ""]);
});

Deno.test("wireguard peers: a key at two addresses is named, one of a host that changes its subnet isn't", () => {
  const { table } = make();
  table.set("a", peer(KEYS[0], "10.5.1.0/24", "192.0.2.1"));
  table.set("b", peer(KEYS[0], "10.5.2.0/24", "192.0.2.1"));
  table.set("c", peer(KEYS[1], "10.5.3.0/24", "192.0.2.3"));
  assert.deepEqual(table.sharedKeys, []);
  table.set("d", peer(KEYS[1], "10.5.4.0/24", "192.0.2.4"));
  assert.deepEqual(table.sharedKeys, [["c", "d"]]);
  table.set("d", undefined);
  assert.deepEqual(table.sharedKeys, []);
});
