/**
 * A process of light hosts. They start evenly over some seconds, take the endpoints in turn, and watch until standard
 * input ends.
 *
 *     light_hosts.ts ENDPOINT[,ENDPOINT]… FIRST COUNT SECONDS
 *
 * Prints a {@link JoinReport} when all have joined or failed, and a {@link WatchReport} at the end.
 *
 * @module
 */
import { LightHost } from "./light_host.ts";

/** How the hosts of a process joined. */
export interface JoinReport {
  /** Milliseconds from each host's start to its subnet. */
  readonly joined: readonly number[];
  /** What failed, each text once. */
  readonly failures: readonly string[];
  readonly failed: number;
  readonly calls: number;
}

/** What the hosts of a process were sent. */
export interface WatchReport {
  readonly bytes: number;
  /** Watches or connections that broke. */
  readonly broken: number;
}

async function main([endpoints, first, count, seconds]: readonly string[]): Promise<void> {
  const all = endpoints!.split(",");
  const hosts: LightHost[] = [];
  const joined: number[] = [];
  const failures: string[] = [];
  const joining = Array.from({ length: Number(count) }, async (_, i) => {
    await new Promise((resolve) => setTimeout(resolve, (i * Number(seconds) * 1000) / Number(count)));
    const began = performance.now();
    const index = Number(first) + i;
    const host = new LightHost(all[index % all.length]!, index);
    hosts.push(host);
    try {
      await host.join();
      joined.push(performance.now() - began);
    } catch (error) {
      failures.push(String(error));
    }
  });
  await Promise.all(joining);
  const calls = hosts.reduce((sum, host) => sum + host.calls, 0);
  console.log(JSON.stringify(
    {
      joined,
      failures: [...new Set(failures)].slice(0, 5),
      failed: failures.length,
      calls,
    } satisfies JoinReport,
  ));
  for await (const _ of Deno.stdin.readable);
  const bytes = hosts.reduce((sum, host) => sum + host.watched, 0);
  const broken = hosts.filter(({ failure }) => failure !== undefined).length;
  console.log(JSON.stringify({ bytes, broken } satisfies WatchReport));
  for (const host of hosts) host.close();
}

if (import.meta.main) {
  await main(Deno.args);
  Deno.exit();
}
