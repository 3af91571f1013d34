/**
 * A host of a udp network without the rest of the daemon: the backend, its device and its route, with peers that
 * the test names. To be run inside the host's network namespace.
 *
 * Reads one JSON object a line from its standard input and answers each with one line: `{"peers": {…}}` sets the
 * peers, `{"status": true}` asks for the status. Ends when its input ends, and says how long that took.
 *
 * @module
 */
import { TextLineStream } from "../../scripts/text_lines.ts";
import { udp } from "../../backends/udp/backend.ts";
import type { BackendSession, Environment, PeerChanges, PeerView } from "../../lib/backend/types.ts";
import { UDP_PORT } from "../../backends/udp/control/daemon_options.ts";
import { DeclaredOptions } from "../../lib/options/spec.ts";
import { startBackend } from "../fakes/session.ts";
import type { JsonObject, NetworkConfig } from "../../lib/config/types.ts";
import { ensureLinks } from "../../lib/kernel/link_keeper.ts";
import type { Lease } from "../../lib/leases/types.ts";
import { listLinks } from "../../lib/netlink/link.ts";
import { NetlinkSocket } from "../../lib/netlink/socket.ts";
import { FAMILIES, familiesOf, type Family, type PerFamily, perFamily } from "../../lib/net/family.ts";
import { type Ip, parseIp } from "../../lib/net/ip.ts";
import { firstIp, parsePrefix, type Prefix } from "../../lib/net/prefix.ts";
import { type Log, noMetrics, noProblems } from "../../lib/observe/types.ts";

/** What the program gets on its command line, as JSON. */
export interface UdpHostSpec {
  /** The network, this host's subnet and its outer address, in each family in use. */
  readonly networks: readonly string[];
  readonly subnets: readonly string[];
  readonly addresses: readonly string[];
  readonly mtu: number;
  /** The Backend object's options. */
  readonly options: JsonObject;
  readonly port?: number;
  readonly peers: readonly UdpPeerSpec[];
}

/** A peer as the test names it: its subnets, the first one as its key, and its outer addresses. */
export interface UdpPeerSpec {
  readonly subnets: readonly string[];
  readonly addresses: readonly string[];
  readonly port?: number;
}

/** Prefixes by their families. */
function prefixes(texts: readonly string[]): PerFamily<Prefix> {
  return byFamily(texts.map(parsePrefix));
}

/** Addresses by their families. */
function ips(texts: readonly string[]): PerFamily<Ip> {
  return byFamily(texts.map(parseIp));
}

function byFamily<T extends { readonly family: Family }>(values: readonly T[]): PerFamily<T> {
  return perFamily(FAMILIES, (family) => values.find((value) => value.family === family));
}

function leaseOf({ subnets, addresses, port }: UdpPeerSpec): Lease {
  const publicIps = ips(addresses);
  const data = port === undefined ? {} : perFamily(familiesOf(publicIps), () => ({ Port: port }));
  return { subnets: prefixes(subnets), attributes: { publicIps, backendData: data } };
}

/** Peers that the test sets. */
class TestPeers implements PeerView {
  readonly peers = new Map<string, Lease>();
  #onChange: (changes: PeerChanges) => void = () => {};

  set(peers: readonly UdpPeerSpec[]): void {
    const before = [...this.peers.keys()];
    this.peers.clear();
    for (const peer of peers) this.peers.set(peer.subnets[0]!, leaseOf(peer));
    const keys = new Set([...before, ...this.peers.keys()]);
    this.#onChange(new Map(Array.from(keys, (key) => [key, this.peers.get(key)])));
  }

  subscribe(onChange: (changes: PeerChanges) => void): Disposable {
    this.#onChange = onChange;
    return { [Symbol.dispose]: () => this.#onChange = () => {} };
  }
}

const log: Log = {
  debug: (message) => console.error(`debug ${message}`),
  info: (message, fields) => console.error(`info ${message}`, JSON.stringify(fields ?? {})),
  warn: (message, fields) => console.error(`warn ${message}`, JSON.stringify(fields ?? {})),
  error: (message, fields) => console.error(`error ${message}`, JSON.stringify(fields ?? {})),
};

/** What the daemon would know of the host. */
function environmentOf(spec: UdpHostSpec): Environment {
  const addresses = ips(spec.addresses);
  return {
    external: { name: "eth0", index: 2, mtu: spec.mtu, addresses, publicIps: addresses },
    isOnLink: () => true,
  };
}

function configOf(spec: UdpHostSpec): NetworkConfig {
  const networks = prefixes(spec.networks), subnets = prefixes(spec.subnets);
  return {
    families: familiesOf(networks).map((family) => {
      const network = networks[family.name]!, subnetMin = firstIp(network);
      const subnetLength = subnets[family.name]!.length;
      return { family, network, subnetLength, subnetMin, subnetMax: subnetMin };
    }),
    enableNFTables: false,
    peerFilter: false,
    backend: { type: "udp", options: spec.options },
  };
}

async function main(spec: UdpHostSpec): Promise<void> {
  const config = configOf(spec);
  const { options, faults } = udp.parse(spec.options, config.families.map(({ family }) => family));
  if (faults.length > 0) throw new Error(faults[0]!.message);
  using socket = NetlinkSocket.open();
  const networkId = "/udp-lab";
  const environment = environmentOf(spec);
  const lease = { subnets: prefixes(spec.subnets) };
  const signal = new AbortController().signal;
  const common = { log, metrics: noMetrics, signal };
  const backend = await udp.open(options, {
    ...{ config, external: environment.external, networkId, links: listLinks(socket), machineId: "" },
    ...common,
    options: new DeclaredOptions(new Map([[UDP_PORT, spec.port ?? 0]])),
  });
  const plan = backend.plan(environment, lease);
  const keep = () => {
    ensureLinks(plan.links, {
      socket,
      networks: config.families.map(({ network }) => network),
      networkId,
      log,
      metrics: noMetrics,
      problems: noProblems,
    });
    for (const network of spec.networks) {
      new Deno.Command("ip", { args: ["route", "replace", network, "dev", plan.links[0]!.name] })
        .outputSync();
    }
  };
  keep();
  const peers = new TestPeers();
  peers.set(spec.peers);
  const session: BackendSession = {
    publish: () => {},
    ...{ lease, plan, external: environment.external, peers, ...common },
    problems: noProblems,
    fail: (error) => {
      console.error(`failed ${error.message}`);
      Deno.exit(1);
    },
    peersAreCurrent: () => true,
  };
  const running = await startBackend(backend, session);
  console.log(JSON.stringify({ ready: true, device: plan.links[0]!.name }));
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) {
    const order = JSON.parse(line) as { peers?: UdpPeerSpec[]; status?: boolean; keep?: boolean };
    if (order.peers) peers.set(order.peers);
    if (order.keep) keep();
    console.log(JSON.stringify(order.status ? running.status!() : {}));
  }
  const start = performance.now();
  await running[Symbol.asyncDispose]();
  console.log(JSON.stringify({ stopped: performance.now() - start }));
}

if (import.meta.main) await main(JSON.parse(Deno.args[0]!) as UdpHostSpec);
