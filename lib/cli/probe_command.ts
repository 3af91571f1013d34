/**
 * `probe [PEER|SUBNET|all]`: asks peers through the overlay and beside it.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { readNetwork } from "../daemon/network_source.ts";
import type { NetworkView } from "../daemon/network_view.ts";
import { familiesOf } from "../net/family.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import { printableJson } from "../observe/printable.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { Echoer } from "../probe/echoer.ts";
import { KernelReader } from "../probe/kernel_path.ts";
import { Pacer } from "../probe/pacer.ts";
import { wireguardAges } from "../probe/handshake.ts";
import { watchOuter } from "../probe/outer_watch.ts";
import { knock } from "../probe/tcp_knock.ts";
import { probePeer, type ProbeTools } from "../probe/peer_probe.ts";
import { ownAddresses, type ProbeTarget } from "../probe/target.ts";
import { pause } from "../time/pause.ts";
import { systemClock } from "../time/clock.ts";
import { peersNamed } from "./peer_argument.ts";
import { print } from "./print.ts";
import { standardOutput } from "./terminal.ts";
import { type Probed, probeTable } from "./probe_table.ts";

/** Exit statuses, those of `doctor`. */
const FAULTS = 1, WARNINGS = 3;
/** Packets a second, whatever the number of peers. */
const RATE = 100;
/** How many peers are asked at the same time. */
const AT_ONCE = 40;
/** How long an answer may take, in milliseconds. */
const TIMEOUT_MS = 1_000;

/** Probes and prints; exit status 0 if all is well, 3 with warnings, 1 with faults. */
export async function probeCommand(invocation: Invocation, backends: BackendRegistry): Promise<number> {
  if (Deno.uid() !== 0) throw new Error("probe: needs root for raw sockets (sudo flanneld probe)");
  const { options, own, argument } = invocation;
  const network = await readNetwork(options, backends);
  const targets = await peersNamed(argument, network.targets, "probe");
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  Deno.addSignalListener("SIGINT", onSignal);
  try {
    const settings = {
      count: own.get(COMMANDS.probe.options.count),
      intervalMs: own.get(COMMANDS.probe.options.interval),
      timeoutMs: TIMEOUT_MS,
    };
    const isJson = own.get(COMMANDS.probe.options.json);
    const progress = isJson || !Deno.stderr.isTerminal() || targets.length < 2 ? undefined : showProgress;
    const probed = await probeAll(network, targets, settings, { signal: stop.signal, progress });
    await print(`${probedText(probed, network, isJson)}\n`);
    return stop.signal.aborted ? FAULTS : exitStatus(probed);
  } finally {
    Deno.removeSignalListener("SIGINT", onSignal);
  }
}

/** By the worst verdict, as `doctor` has it. */
function exitStatus(probed: readonly Probed[]): number {
  const severities = new Set(
    probed.flatMap(({ view }) => view.families.map(({ verdict }) => verdict.severity)),
  );
  return severities.has("fault") ? FAULTS : severities.has("warning") ? WARNINGS : 0;
}

/** Probes some peers at a time; those that a signal kept from being asked are left out. */
async function probeAll(
  network: NetworkView,
  targets: readonly ProbeTarget[],
  settings: ProbeTools["settings"],
  { signal, progress }: {
    readonly signal: AbortSignal;
    readonly progress: ((done: number, all: number) => void) | undefined;
  },
): Promise<Probed[]> {
  const families = familiesOf(network.subnets);
  using socket = NetlinkSocket.open();
  await using echoer = new Echoer(families, ownAddresses(network, families), new Pacer(RATE, systemClock));
  const tools: ProbeTools = {
    ...{ network, echoer, settings, signal, sleep: pause },
    kernel: new KernelReader(socket),
    watchOuter: (target, during) => watchOuter(target, echoer, during),
    tryTcp: (to, source) => knock(to, source, TIMEOUT_MS),
    handshakeAge: wireguardAges(),
  };
  const waiting = [...targets];
  const probed: Probed[] = [];
  const worker = async () => {
    for (let target = waiting.shift(); target && !signal.aborted; target = waiting.shift()) {
      const view = await probePeer(target, tools);
      if (!signal.aborted) probed.push({ target, view });
      progress?.(probed.length, targets.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, targets.length) }, worker));
  if (progress) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));
  return probed;
}

function showProgress(done: number, all: number): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`\r${done} of ${all} peers probed\x1b[K`));
}

function probedText(probed: readonly Probed[], network: NetworkView, isJson: boolean): string {
  if (isJson) {
    const peers = probed.map(({ target, view }) => ({
      ...view,
      ...target.name === undefined ? {} : { name: target.name },
      at: new Date(view.at).toISOString(),
    }));
    return printableJson({ backend: network.type, source: network.source, peers }, 2);
  }
  if (probed.length === 0 && network.targets.length > 0) return "Interrupted before a peer had its result";
  if (probed.length === 0) return `No peers: ${network.source} knows of no other host`;
  return probeTable(probed, standardOutput((name) => Deno.env.get(name)));
}
