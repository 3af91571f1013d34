/**
 * `capture [PEER]`: a peer's packets in a pcapng file.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { type CaptureCount, type CaptureEnd, Recorder, type Sink } from "../capture/recorder.ts";
import { readNetwork } from "../daemon/network_source.ts";
import type { NetworkView } from "../daemon/network_view.ts";
import { fileFault } from "../errors.ts";
import { isUdpTunnel } from "../net/tunnel.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { UsageError } from "../options/usage_error.ts";
import { VERSION_TEXT } from "../version.ts";
import type { CaptureSource } from "../capture/recorder.ts";
import { planCapture } from "./capture_plan.ts";
import { peersNamed } from "./peer_argument.ts";

const MEGABYTE = 1_000_000;
/** IANA's port of VXLAN (RFC 7348). */
const VXLAN_PORT = 4789;
const ENDS: Readonly<Record<CaptureEnd, string>> = {
  time: "-seconds are over",
  size: "-megabytes are full",
  asked: "interrupted",
  "reader gone": "nobody reads stdout any more",
};

/** Captures until a limit or Ctrl-C; exit status 0, or 1 where the kernel dropped packets. */
export async function captureCommand(invocation: Invocation, backends: BackendRegistry): Promise<number> {
  if (Deno.uid() !== 0) throw new Error("capture: needs root for packet sockets (sudo flanneld capture)");
  const { argument, options, own } = invocation;
  const flags = COMMANDS.capture.options;
  const network = await readNetwork(options, backends);
  const isAll = argument === "" || argument === "all";
  const peers = isAll ? undefined : await peersNamed(argument, network.targets, "capture");
  using socket = NetlinkSocket.open();
  const sources = planCapture(network, peers, socket);
  if (sources.length === 0) throw new Error("capture: no interface of this host leads to the peer");
  using output = openOutput(own.get(flags.o) || defaultName(), own.get(flags.force));
  const limits = { bytes: own.get(flags.megabytes) * MEGABYTE, milliseconds: own.get(flags.seconds) * 1000 };
  using recorder = new Recorder(sources, section(network, argument), limits, output.sink);
  for (const { name, description } of sources) console.error(`listening on ${name}: ${description}`);
  console.error(`writing ${output.name}, for ${limits.milliseconds / 1000} s at most; Ctrl-C ends it`);
  const end = await withSignals((signal) => recorder.run(signal));
  report(recorder.counts, end, output.name + decodeHint(network, sources));
  return recorder.counts.some(({ dropped }) => dropped > 0) ? 1 : 0;
}

/** Runs until SIGINT or SIGTERM at the latest. */
async function withSignals<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const name of signals) Deno.addSignalListener(name, onSignal);
  try {
    return await run(stop.signal);
  } finally {
    for (const name of signals) Deno.removeSignalListener(name, onSignal);
  }
}

function section({ type, source }: NetworkView, argument: string) {
  const whose = argument === "" || argument === "all" ? "all peers" : `the peer ${argument}`;
  return {
    application: `flanneld ${VERSION_TEXT}`,
    os: `Linux ${Deno.osRelease()}`,
    comment: `flanneld capture on ${Deno.hostname()}: ${type} traffic of ${whose}; peers by ${source}`,
  };
}

/** What makes other programs read the tunnel's port as VXLAN, where it isn't the one that IANA gave to VXLAN. */
function decodeHint({ tunnel }: NetworkView, sources: readonly CaptureSource[]): string {
  // A peer that is reached directly has no outer packets.
  if (!sources.some(({ description }) => /\bouter\b/.test(description))) return "";
  const isVxlan = tunnel && isUdpTunnel(tunnel) && tunnel.vni !== undefined;
  const port = isVxlan ? tunnel.udpPorts[0] : VXLAN_PORT;
  return port === VXLAN_PORT ? "" : `; tshark and wireshark read it with -d udp.port==${port},vxlan`;
}

/** `flannel-HOST-20261121T150405Z.pcapng`. */
function defaultName(): string {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  return `flannel-${Deno.hostname().replace(/[^\w.-]/g, "_")}-${time}.pcapng`;
}

/** Where the file goes. */
interface Output extends Disposable {
  readonly name: string;
  readonly sink: Sink;
}

function openOutput(path: string, force: boolean): Output {
  if (path === "-") return stdoutOutput();
  const file = createFile(path, force);
  return {
    name: path,
    sink: (bytes) => {
      try {
        writeAll(file, bytes);
        return true;
      } catch (error) {
        throw new Error(`Cannot write to ${path}: ${fileFault(error)}; it holds what came before`);
      }
    },
    [Symbol.dispose]: () => file.close(),
  };
}

/** For root alone: it holds what containers send. Never through a link that somebody put there. */
function createFile(path: string, force: boolean): Deno.FsFile {
  try {
    if (force) removeFile(path);
    return Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new UsageError(`capture: ${path} is there already; -force overwrites it, -o names another file`);
    }
    throw new Error(`capture: cannot make ${path}: ${fileFault(error)}`);
  }
}

function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function stdoutOutput(): Output {
  if (Deno.stdout.isTerminal()) {
    throw new UsageError("capture: a pcapng file isn't for a terminal; send stdout to a file or a program");
  }
  return {
    name: "to stdout",
    sink: (bytes) => {
      try {
        writeAll(Deno.stdout, bytes);
        return true;
      } catch (error) {
        if (error instanceof Deno.errors.BrokenPipe) return false;
        throw error;
      }
    },
    [Symbol.dispose]: () => {},
  };
}

function writeAll(to: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}

function report(counts: readonly CaptureCount[], end: CaptureEnd, name: string): void {
  console.error(`ended: ${ENDS[end]}`);
  for (const { name, packets, bytes, dropped } of counts) {
    console.error(
      `${name}: ${packets} ${
        packets === 1 ? "packet" : "packets"
      }, ${bytes} bytes, ${dropped} dropped by the kernel`,
    );
  }
  const lost = counts.some(({ dropped }) => dropped > 0);
  if (lost) {
    console.error("dropped: this host was too busy; the file lacks packets. Name a peer to capture less");
  }
  console.error(`written ${name}`);
}
