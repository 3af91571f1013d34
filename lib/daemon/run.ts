/**
 * The daemon: wires store, lease, backend, kernel and firewall. Nothing else starts or stops anything.
 *
 * The way to readiness: config, interface, backend, lease, devices, firewall rules, subnet file. Peers' entries
 * follow; from then on every part keeps its own piece right until the signal fires or the lease is lost.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import type { Options } from "../options/table.ts";
import { type ReadSubnetFile, readSubnetFile, SubnetFileError } from "../config/subnet_file.ts";
import { waitForNetwork } from "./config_feed.ts";
import { settleExternal } from "./external.ts";
import { attributesOf, evidenceOf, leaseFilePath, readLeaseFile } from "./lease_file.ts";
import { DaemonLock } from "./lock.ts";
import { claimNetwork } from "./network_claim.ts";
import { Member } from "./member.ts";
import { memberStatus } from "./status.ts";
import { reportProcess } from "./process_metrics.ts";
import { StatusServer } from "./status_server.ts";
import { openContext } from "./open_context.ts";
import { describeWrite, openSubnetManager } from "./store.ts";
import { TaskGroup } from "./task_group.ts";
import type { OwnLease, SubnetManager } from "../leases/contract.ts";
import { familiesOf, type PerFamily } from "../net/family.ts";
import type { Ip } from "../net/ip.ts";
import { formatPrefix } from "../net/prefix.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import { releaseHeap } from "../observe/heap.ts";
import type { PartLog } from "../observe/log.ts";
import type { LogTail } from "../observe/log_tail.ts";
import type { MetricsRegistry } from "../observe/metrics.ts";
import { Problems } from "../observe/problems.ts";
import { pause } from "../time/pause.ts";
import { notifySystemd } from "./systemd.ts";
import { WebSource } from "./web_source.ts";
import { VERSION_TEXT } from "../version.ts";

/** After this time in the network all parts have taken up their work, in milliseconds. */
const START_ENDS_MS = 500;

/** What the daemon is given. */
export interface DaemonServices {
  readonly backends: BackendRegistry;
  readonly log: PartLog;
  readonly metrics: MetricsRegistry;
  /** The last lines of the log. */
  readonly tail: LogTail;
  /** Ends the daemon; the data path stays. */
  readonly signal: AbortSignal;
}

/**
 * Joins the network and keeps this host in it until the signal fires.
 *
 * @throws {LeaseLostError} If the lease is lost. @throws What keeps the host from joining.
 */
export async function runDaemon(options: Options, services: DaemonServices): Promise<void> {
  const { log } = services;
  log.info("flanneld starts", { version: VERSION_TEXT });
  try {
    using _lock = await DaemonLock.take(options, "flanneld", services.signal);
    using _network = await claimNetwork(options, log, services.signal);
    await runGroup(options, services);
  } catch (error) {
    // An end that was asked for is no failure, wherever it interrupted us.
    if (!services.signal.aborted) throw error;
  }
  log.info("flanneld ends; the data path stays as it is");
}

async function runGroup(options: Options, services: DaemonServices): Promise<void> {
  const tasks = new TaskGroup(services.signal);
  const problems = new Problems(services);
  tasks.signal.addEventListener("abort", () => notifySystemd({ STOPPING: "1" }, problems), { once: true });
  try {
    await runTasks(options, { ...services, problems }, tasks);
  } catch (error) {
    tasks.fail(error);
    throw error;
  } finally {
    await tasks.settle();
  }
}

async function runTasks(
  options: Options,
  services: DaemonServices & { readonly problems: Problems },
  tasks: TaskGroup,
): Promise<void> {
  const { log, metrics, problems } = services;
  problems.wait("start", "not in the network yet");
  using _process = reportProcess(metrics);
  // The store first: what it is made of loads in the background.
  await using manager = await openSubnetManager(options, { log, metrics, problems });
  const web: WebSource = new WebSource({
    ...{ metrics, problems, log: services.tail, renewMargin: options.subnetLeaseRenewMargin * 60 },
    document: () => status.document("all"),
  });
  await using status: StatusServer = new StatusServer(options, {
    ...{ problems, metrics, log },
    page: (path) => web.answer(path),
  });
  tasks.start((signal) => status.serveLocally(signal));
  if (options.healthzPort > 0) tasks.start((signal) => web.record(signal));
  using socket = NetlinkSocket.open();
  await using member = await join(options, { ...services, tasks, manager, socket, problems, status });
  using _shown = web.join(member);
  problems.clear("start");
  member.membership.ready?.();
  const subnet = nameOf(member.membership.own, manager);
  log.info("In the network", {
    subnet,
    mtu: member.plan.mtu,
    peers: member.peers.peers.size,
  });
  notifySystemd({ READY: "1", STATUS: `leased ${subnet}` }, problems);
  tasks.start(releaseStart);
  if (options.probeInterval > 0) {
    tasks.start(async (signal) => await (await import("./probing.ts")).probePeers(member, signal));
  }
  await tasks.wait();
}

/** The own subnets: the lease's key, or, where that is a host's name, the prefixes. */
function nameOf({ key, subnets }: OwnLease, { keysAreHosts }: SubnetManager): string {
  if (!keysAreHosts) return key;
  return familiesOf(subnets).map(({ name }) => formatPrefix(subnets[name]!)).join(" ");
}

/** Starting leaves garbage that a daemon at rest has no cause to collect, and pages of code that only starting runs. */
async function releaseStart(signal: AbortSignal): Promise<void> {
  await pause(START_ENDS_MS, signal);
  if (!signal.aborted) releaseHeap();
}

/** What joining needs beyond the options. */
interface JoinParts extends DaemonServices {
  readonly tasks: TaskGroup;
  readonly manager: SubnetManager;
  readonly socket: NetlinkSocket;
  readonly problems: Problems;
  readonly status: StatusServer;
}

/** The way to readiness. Its many intermediate values, the list of all leases above all, end with it. */
async function join(given: Options, parts: JoinParts): Promise<Member> {
  const { backends, log, metrics, tasks, manager, socket } = parts;
  const { signal } = tasks;
  const network = await waitForNetwork(manager, {
    backends,
    log,
    problems: parts.problems,
    signal,
    describeWrite: describeWrite(given),
  });
  const known = await manager.self?.({ signal });
  const options = known ? withPublicIps(given, known.publicIps) : given;
  const { config } = network;
  const families = config.families.map(({ family }) => family);
  const external = await settleExternal(socket, options, families, { log: log.child("interface"), signal });
  const kept = await readLeaseFile(leaseFilePath(options), log);
  const context = await openContext(options, network, {
    ...{ socket, external, ownLease: attributesOf(kept) ?? known?.attributes, metrics, signal },
    log: log.child(config.backend.type),
  });
  const backend = await network.backend.open(network.options, context);
  const previous = await previousFile(options.subnetFile, log);
  const { membership, origin, first } = await manager.join({
    config: config.families,
    attributes: { ...backend.attributes, publicIps: external.publicIps },
    previous: previous.subnets,
    evidence: evidenceOf(kept, context.links),
    signal,
  });
  log.info(`Lease ${membership.own.key}`, { origin, expires: membership.own.expires });
  const formerNetworks = Object.values(previous.networks);
  const member = new Member({ ...parts, options, network, backend, membership, external, formerNetworks });
  try {
    parts.status.show((detail) => memberStatus(member, detail));
    parts.status.showPeers(async () => {
      const { encodeView, memberView } = await import("./network_view.ts");
      return encodeView(memberView(member));
    });
    await member.start(first);
  } catch (error) {
    await member[Symbol.asyncDispose]();
    throw error;
  }
  return member;
}

/** The addresses that the store knows of go before the command line's. */
function withPublicIps(options: Options, { ipv4, ipv6 }: PerFamily<Ip>): Options {
  return { ...options, publicIp: ipv4 ?? options.publicIp, publicIpv6: ipv6 ?? options.publicIpv6 };
}

/** What the subnet file of an earlier run says; a file that can't be read is logged and skipped. */
async function previousFile(
  path: string,
  log: PartLog,
): Promise<Pick<ReadSubnetFile, "networks" | "subnets">> {
  try {
    const file = await readSubnetFile(path);
    for (const fault of file?.faults ?? []) log.warn(`Subnet file ${path}: ${fault}`);
    return file ?? { networks: {}, subnets: {} };
  } catch (error) {
    if (!(error instanceof SubnetFileError)) throw error;
    log.warn(error.message);
    return { networks: {}, subnets: {} };
  }
}
