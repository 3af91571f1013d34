/**
 * Pings and throughput between namespaces.
 *
 * @module
 */
import type { Namespace } from "./namespace.ts";

/** What a series of pings counted. */
export interface PingCount {
  readonly sent: number;
  readonly received: number;
  /** Mean round-trip time in milliseconds; NaN if nothing came back. */
  readonly milliseconds: number;
}

/** How a series of pings goes. */
export interface PingOptions {
  /** @default 1 */
  readonly count?: number;
  /** Between two of them, in milliseconds. @default 10 */
  readonly interval?: number;
  /** How long an answer may take, in milliseconds. @default 1000 */
  readonly timeout?: number;
  /** Bytes of ICMP payload, sent with "don't fragment". */
  readonly size?: number;
}

/** Pings `address` from inside `from`. Lost packets are no error: they are counted. */
export async function ping(from: Namespace, address: string, options: PingOptions = {}): Promise<PingCount> {
  const { count = 1, interval = 10, timeout = 1000, size } = options;
  const { stdout, stderr } = await from.exec([
    ...["ping", "-n", "-q", "-c", `${count}`, "-i", `${interval / 1000}`, "-W", `${timeout / 1000}`],
    ...(size === undefined ? [] : ["-M", "do", "-s", `${size}`]),
    address,
  ], { mayFail: true });
  return parsePing(stdout, stderr);
}

/** Reads ping's closing lines. @throws {Error} If there are none: it couldn't even begin. */
export function parsePing(stdout: string, stderr: string): PingCount {
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  if (counts === null) {
    // No route: iputils ends at the first packet, without statistics for some errors.
    if (/unreachable|Invalid argument/i.test(stderr)) return { sent: 1, received: 0, milliseconds: NaN };
    throw new Error(`ping printed no statistics: ${(stderr || stdout).trim()}`);
  }
  const mean = /= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1];
  return { sent: Number(counts[1]), received: Number(counts[2]), milliseconds: Number(mean ?? NaN) };
}

/**
 * TCP throughput from one namespace to another, in Mbit/s as received.
 *
 * @param address The receiver's address.
 * @param seconds Length of the measurement: a whole number, at least 1 (to iperf3, 0 and 0.5 mean "no end").
 * @throws {RangeError} If `seconds` isn't.
 */
export async function throughput(
  from: Namespace,
  to: Namespace,
  address: string,
  seconds: number,
): Promise<number> {
  if (!Number.isInteger(seconds) || seconds < 1) throw new RangeError(`iperf3 can't run for ${seconds} s`);
  const server = to.spawn(["iperf3", "--server", "--one-off", "--forceflush", "--bind", address]);
  try {
    await untilListening(server);
    const { stdout } = await from.exec(
      ["iperf3", "--client", address, "--time", `${seconds}`, "--json", "--zerocopy"],
    );
    const result = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
    return result.end.sum_received.bits_per_second / 1e6;
  } finally {
    try {
      server.kill("SIGKILL");
    } catch {
      // It served its one client and ended.
    }
    await Promise.allSettled([server.status, server.stdout.cancel(), server.stderr.cancel()]);
  }
}

/** Reads iperf3's output up to the line that says that it listens. */
async function untilListening(server: Deno.ChildProcess): Promise<void> {
  const reader = server.stdout.getReader();
  const text = new TextDecoder();
  let seen = "";
  while (!seen.includes("Server listening")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`iperf3 ended: ${seen.trim()}`);
    seen += text.decode(value, { stream: true });
  }
  reader.releaseLock();
}
