/**
 * The page behind the daemon's own HTTP server, with a network that the test makes up.
 *
 * @module
 */
import { refusalOf } from "../../lib/observe/access.ts";
import { serveHealth } from "../../lib/observe/http.ts";
import { LogTail } from "../../lib/observe/log_tail.ts";
import { MetricsRegistry } from "../../lib/observe/metrics.ts";
import { Problems } from "../../lib/observe/problems.ts";
import { parseIp } from "../../lib/net/ip.ts";
import type { PeerStatus, StatusDocument } from "../../lib/status/document.ts";
import { PageAnswers } from "../../lib/web/answers.ts";
import { History } from "../../lib/web/history.ts";

/** A served page. */
export class ServedPage implements AsyncDisposable {
  readonly log = new LogTail();
  readonly history = new History();
  /** What is there; change it, then call {@link notify}. */
  readonly peers = new Map<string, PeerStatus>();
  document: StatusDocument;
  readonly #listeners = new Set<() => void>();
  #server: ReturnType<typeof serveHealth>;

  constructor(peers: number, { probes = true } = {}) {
    this.document = documentOf();
    for (let number = 0; number < peers; number++) {
      const peer = peerOf(number, probes);
      this.peers.set(peer.key, peer);
    }
    for (let at = 0; at < 180; at++) this.history.add(sampleOf(at, peers));
    for (const line of LINES) this.log.add(line);
    this.#server = this.#serve(0);
  }

  #serve(port: number) {
    const answers = new PageAnswers({
      document: () =>
        Promise.resolve({
          ...this.document,
          peers: {
            ...{ count: this.peers.size, malformed: 0, refused: [], problems: [] },
            table: { paths: {}, withProblem: 0, probed: 0, rows: [...this.peers.values()], omitted: 0 },
          },
        }),
      isReserved: (key) => /^10\.5\.\d*7\.0/.test(key),
      renewMargin: 3600,
      others: () => [{ key: "10.5.250.0-24", subnets: ["10.5.250.0/24"], reserved: true }],
      devices: () => ["flannel.1"],
      subscribe: (onChange) => {
        this.#listeners.add(onChange);
        return { [Symbol.dispose]: () => void this.#listeners.delete(onChange) };
      },
      history: this.history,
      log: this.log,
    });
    const policy = { allowed: [], ownAddresses: () => ["127.0.0.1"], ownName: () => "node1" };
    return serveHealth({
      ...{ address: parseIp("127.0.0.1"), port, problems: new Problems(), metrics: new MetricsRegistry() },
      status: () => this.document,
      refusal: (request, client) => refusalOf(request, client, policy),
      page: (path) => answers.answer(path),
      onError: (error) => console.error(error),
      onAcceptError: () => {},
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/`;
  }

  /** The peers changed. */
  notify(): void {
    for (const listener of this.#listeners) listener();
  }

  /** As a daemon that is stopped and started. */
  async restart(whileAway: () => Promise<void>): Promise<void> {
    const { port } = this.#server;
    await this.#server[Symbol.asyncDispose]();
    await whileAway();
    this.#server = this.#serve(port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

/** Peer with a number: most are fine, some far, slow or silent. */
export function peerOf(number: number, probes: boolean): PeerStatus {
  // 255 subnets of /24 in a /16, more of them in a /8's.
  const subnet = number < 254 ? `10.5.${number + 2}.0` : `10.${6 + (number >> 8)}.${number & 255}.0`;
  const rack = Math.floor(number / 90), bad = number % 97 === 40;
  const rttMs = number % 31 === 5
    ? 85 + number % 7
    : number % 3 === 1
    ? 11.4 + (number % 9)
    : 0.31 + (number % 5) * 0.12;
  return {
    key: `${subnet}-24`,
    host: `node${number + 2}`,
    subnets: [`${subnet}/24`],
    publicIps: [`172.16.${rack}.${(number % 90) + 11}`],
    backendType: "vxlan",
    paths: bad ? [] : ["vxlan"],
    changedAt: number % 40 === 0 ? new Date(Date.now() - 600_000).toISOString() : null,
    problem: bad ? `vxlan: peer ${subnet}/24 skipped: its lease has backend type "host-gw"` : null,
    ...probes
      ? { probe: bad ? null : { at: new Date().toISOString(), rttMs, loss: number % 53 === 7 ? 0.02 : 0 } }
      : {},
  };
}

const LINES = [
  "2026-11-21T15:58:02.120Z info flanneld starts version=0.1.0",
  '2026-11-21T15:58:02.480Z info interface: eth0 is the interface to the other hosts reason="the default route\'s"',
  "2026-11-21T15:58:02.611Z info lease: 10.5.1.0-24 origin=new expires=true",
  "2026-11-21T15:58:02.840Z info In the network subnet=10.5.1.0-24 mtu=1450 peers=3",
  '2026-11-21T16:01:12.007Z warning vxlan: peer 10.5.42.0/24 skipped: its lease has backend type "host-gw"',
  "2026-11-21T16:03:40.391Z warning firewall: Another program changed firewall rules, which are restored: chain FLANNEL-FWD",
  "2026-11-21T16:04:05.918Z error <img src=x onerror=alert(1)> is text and nothing else",
];

function sampleOf(at: number, peers: number) {
  const wave = 1 + Math.sin(at / 14);
  return {
    at: Date.now() - (180 - at) * 5000,
    receivedBytes: at * 6e6 + wave * 4e7,
    sentBytes: at * 3e6 + Math.cos(at / 9) * 1.2e7 + 2e7,
    operations: Math.floor(at / 20) * 6,
    leaseEvents: Math.floor(at / 20) * 2,
    peers: at < 60 ? Math.max(0, peers - 1) : peers,
    problems: at > 100 && at < 130 ? 1 : 0,
    cpuSeconds: at * 0.03 + Math.floor(at / 20) * 0.2,
    residentBytes: 58e6 + wave * 1e6,
  };
}

function documentOf(): StatusDocument {
  return {
    schemaVersion: 1,
    version: "0.1.0+0123456789ab",
    time: new Date().toISOString(),
    startedAt: new Date(Date.now() - 3_600_000).toISOString(),
    host: { name: "node1" },
    ready: true,
    notReady: [],
    problems: [],
    config: {
      Network: "10.5.0.0/16",
      SubnetLen: 24,
      SubnetMin: "10.5.1.0",
      SubnetMax: "10.5.255.0",
      EnableIPv4: true,
      Backend: { Type: "vxlan", VNI: 1 },
    },
    configInUse: true,
    lease: {
      key: "10.5.1.0-24",
      subnets: ["10.5.1.0/24"],
      value: "{}",
      reservation: false,
      secondsLeft: 81_234,
      renewedAt: new Date().toISOString(),
    },
    subnetFile: "/run/flannel/subnet.env",
    mtu: 1450,
    interface: { name: "eth0", index: 2, mtu: 1500, addresses: ["172.16.0.10"], publicIps: ["172.16.0.10"] },
    store: {
      description: "etcd http://172.16.0.2:2379",
      connected: true,
      forSeconds: 3598,
      revision: "4711",
      resyncs: 0,
      lastError: null,
    },
    kernel: { links: ["flannel.1"], entries: 9, nexthops: 0, failures: [], problem: null },
    firewall: "nftables",
  } as unknown as StatusDocument;
}
