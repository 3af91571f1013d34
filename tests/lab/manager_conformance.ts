/**
 * What every subnet manager must do, wherever its leases stand, as tests that each kind runs against the real thing.
 *
 * @module
 */
import assert from "node:assert/strict";
import type { FamilyConfig } from "../../lib/config/types.ts";
import { fits } from "../../lib/leases/allocator.ts";
import type { Joined, JoinRequest, LeavingHost, SubnetManager } from "../../lib/leases/contract.ts";
import { LeaseLostError } from "../../lib/leases/keeper_types.ts";
import { PeerSet } from "../../lib/leases/peer_set.ts";
import type { LeaseAttributes } from "../../lib/leases/types.ts";
import { IPV4 } from "../../lib/net/family.ts";
import { ipOf, parseIp } from "../../lib/net/ip.ts";
import { formatPrefix, parsePrefix } from "../../lib/net/prefix.ts";

/** A store under test. */
export interface ManagerFixture extends AsyncDisposable {
  /** What a process on the host with this number opens. The fixture disposes it. */
  open(host: number): Promise<SubnetManager>;
  /** Writes the network config's text. */
  writeConfig(text: string): Promise<void>;
}

/** What kind of store it is. */
export interface ManagerKind {
  readonly name: string;
  /** Whether somebody else assigns the subnets: then nothing is renewed, released or lost. */
  readonly assigns: boolean;
  readonly ignore?: boolean;
}

const CONFIG: FamilyConfig = {
  family: IPV4,
  network: parsePrefix("10.5.0.0/16"),
  subnetLength: 24,
  subnetMin: parseIp("10.5.1.0"),
  subnetMax: parseIp("10.5.255.0"),
};
const PATIENCE_MS = 10_000;

/** Registers the whole suite for one kind of store. */
export function testManager(kind: ManagerKind, make: () => Promise<ManagerFixture>): void {
  const test = (title: string, run: (fixture: ManagerFixture) => Promise<void>) =>
    Deno.test({
      name: `${kind.name}: ${title}`,
      ignore: kind.ignore ?? false,
      // Connections and their timers end a moment after they are closed.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        await using fixture = await make();
        await run(fixture);
      },
    });
  joinTests(test);
  followTests(test);
  leaveTests(test, kind);
}

type Test = (title: string, run: (fixture: ManagerFixture) => Promise<void>) => void;

function joinTests(test: Test): void {
  test("the network config is absent, then as it was written", async (fixture) => {
    const manager = await fixture.open(1);
    assert.equal(await manager.readConfig(), undefined);
    await fixture.writeConfig('{"Network":"10.5.0.0/16"}');
    assert.equal((await manager.readConfig())?.text, '{"Network":"10.5.0.0/16"}');
  });

  test("a host that joins has a subnet of the network, and comes back to it", async (fixture) => {
    await using first = await join(fixture, 1);
    const { own, remaining } = first.membership;
    assert.ok(fits([CONFIG], own.subnets));
    assert.ok(remaining > 0);
    assert.deepEqual(first.membership.trouble(), {});
    await first.leave();
    await using again = await join(fixture, 1, { previous: own.subnets });
    assert.deepEqual(again.membership.own.subnets, own.subnets);
  });

  test("the first list has the others, and not the own lease as a peer", async (fixture) => {
    await using first = await join(fixture, 1);
    assert.equal(first.peers.peers.size, 0);
    await using second = await join(fixture, 2);
    assert.deepEqual(namesOf(second.peers), [nameOf(first)]);
    assert.deepEqual([...second.peers.peers.values()][0]?.attributes, attributes(1));
  });

  test("20 hosts at once get 20 subnets, and all see all", async (fixture) => {
    const hosts = await Promise.all(Array.from({ length: 20 }, (_, i) => join(fixture, i + 1)));
    try {
      assert.equal(new Set(hosts.map(nameOf)).size, 20);
      await until("all see all", () => hosts.every(({ peers }) => peers.peers.size === 19));
    } finally {
      for (const host of hosts) await host.leave();
    }
  });
}

function followTests(test: Test): void {
  test("a host that joins and one that publishes another address are followed", async (fixture) => {
    await using first = await join(fixture, 1);
    await until("it follows", () => first.membership.health().connected);
    assert.notEqual(first.membership.health().version, "");
    await using second = await join(fixture, 2);
    await until("the second host", () => namesOf(first.peers).includes(nameOf(second)));
    second.membership.publish(attributes(77));
    const published = () => [...first.peers.peers.values()][0]?.attributes.publicIps.ipv4?.value;
    await until("its new address", () => published() === attributes(77).publicIps.ipv4!.value);
    await until("what the second host knows of itself", () => second.published.length > 0);
    assert.equal(second.membership.own.value, second.published.at(-1));
  });

  test("a network config that is written again is reported", async (fixture) => {
    await fixture.writeConfig('{"Network":"10.5.0.0/16"}');
    await using host = await join(fixture, 1);
    await until("it follows", () => host.membership.health().connected);
    await fixture.writeConfig('{"Network":"10.6.0.0/16"}');
    await until("the change", () => host.configs.at(-1) === '{"Network":"10.6.0.0/16"}');
  });

  test("the signal ends keeping and following, without an error", async (fixture) => {
    const host = await join(fixture, 1);
    await until("it follows", () => host.membership.health().connected);
    const began = performance.now();
    await host.leave();
    assert.ok(performance.now() - began < 5000);
    assert.equal(host.error, undefined);
  });
}

function leaveTests(test: Test, { assigns }: ManagerKind): void {
  test("a host that leaves finds its own lease, and no other host's", async (fixture) => {
    await using first = await join(fixture, 1);
    await using second = await join(fixture, 2);
    const manager = await fixture.open(2);
    const doubtful: string[] = [];
    const found = await manager.leasesOf(leaving(2), ({ key }) => doubtful.push(key));
    assert.deepEqual(found.map(({ subnets }) => formatPrefix(subnets.ipv4!)), [nameOf(second)]);
    assert.deepEqual(doubtful, []);
    assert.notEqual(nameOf(first), nameOf(second));
  });

  test(
    assigns ? "an assigned subnet can't be given back" : "a lease that is given back is gone",
    async (fixture) => {
      await using first = await join(fixture, 1);
      await using second = await join(fixture, 2);
      await until("the first host sees the second", () => first.peers.peers.size === 1);
      const [lease] = await (await fixture.open(2)).leasesOf(leaving(2), () => {});
      assert.equal(await lease!.release(), !assigns);
      if (assigns) return;
      await until("the first host sees it go", () => first.peers.peers.size === 0);
      await until("the second host to notice", () => second.error !== undefined);
      assert.ok(second.error instanceof LeaseLostError);
      assert.equal(await lease!.release(), false);
    },
  );
}

/** A host that is in the network, with everything that a daemon does there. */
interface RunningHost extends AsyncDisposable, Pick<Joined, "membership"> {
  readonly peers: PeerSet;
  /** The config's texts in the order in which they came. */
  readonly configs: (string | undefined)[];
  /** What it has published since it joined. */
  readonly published: string[];
  /** What keeping or following ended with. */
  readonly error: unknown;
  leave(): Promise<void>;
}

async function join(
  fixture: ManagerFixture,
  number: number,
  change: Partial<JoinRequest> = {},
): Promise<RunningHost> {
  const manager = await fixture.open(number);
  const stop = new AbortController();
  const { membership, first } = await manager.join({
    ...{ config: [CONFIG], attributes: attributes(number), previous: {}, evidence: {}, signal: stop.signal },
    ...change,
  });
  const peers = new PeerSet({ networks: [CONFIG.network], own: membership.own });
  first(peers);
  const configs: (string | undefined)[] = [];
  const published: string[] = [];
  let error: unknown;
  const tasks = [
    membership.keep(stop.signal, (own) => void published.push(own.value)),
    membership.follow(peers, (config) => void configs.push(config?.text), stop.signal),
  ].map((task) => task.catch((reason) => void (error = reason)));
  const leave = async () => {
    stop.abort();
    await Promise.all(tasks);
  };
  return {
    ...{ membership, peers, configs, published, leave },
    get error() {
      return error;
    },
    [Symbol.asyncDispose]: leave,
  };
}

function attributes(host: number): LeaseAttributes {
  const publicIps = { ipv4: ipOf(IPV4, 0xac1e0000n + BigInt(host)) };
  return { publicIps, backendType: "host-gw", backendData: {} };
}

function leaving(host: number): LeavingHost {
  const { publicIps } = attributes(host);
  return {
    attributes: attributes(host),
    evidence: {},
    addresses: publicIps,
    allAddresses: [publicIps.ipv4!],
  };
}

function nameOf({ membership }: Pick<Joined, "membership">): string {
  return formatPrefix(membership.own.subnets.ipv4!);
}

function namesOf({ peers }: PeerSet): string[] {
  return [...peers.values()].map(({ subnets }) => formatPrefix(subnets.ipv4!)).sort();
}

async function until(what: string, done: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!done()) {
    assert.ok(performance.now() < end, `${what}: not within ${PATIENCE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
