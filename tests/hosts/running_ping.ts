/**
 * A ping on a host with systemd that runs until it is stopped.
 *
 * @module
 */
import { parsePing, type PingCount } from "../../scripts/lab/measure.ts";
import { until } from "../../scripts/lab/process.ts";
import type { SystemdHost } from "../../scripts/lab/systemd_host.ts";

/** Between two packets, in milliseconds. */
export const PING_INTERVAL = 10;

/** A ping every {@link PING_INTERVAL} ms. */
export class RunningPing {
  private constructor(
    private readonly host: SystemdHost,
    private readonly pid: string,
    private readonly log: string,
  ) {}

  /**
   * Starts it and waits for the first answer.
   *
   * @param container Of Docker, on the host: in its network namespace. The host's own without one.
   */
  static async start(host: SystemdHost, address: string, container?: string): Promise<RunningPing> {
    const log = `/srv/ping-${crypto.randomUUID().slice(0, 8)}.log`;
    const enter = container === undefined
      ? ""
      : `nsenter --net --target $(docker inspect --format '{{.State.Pid}}' ${container})`;
    const once = `${enter} ping -n -c 1 -W 1 ${address}`;
    await until(
      `an answer from ${address}`,
      async () => (await host.sh(`${once} || true`)).includes(" 1 received"),
      10_000,
    );
    const pid = await host.sh(
      `${enter} ping -n -q -i ${PING_INTERVAL / 1000} ${address} >${log} 2>&1 & echo $!`,
    );
    return new RunningPing(host, pid, log);
  }

  /** Ends it. One packet that is still under way counts as received. */
  async stop(): Promise<PingCount & { readonly lost: number }> {
    await this.host.sh(`kill -INT ${this.pid}`);
    const text = await until("ping's closing lines", async () => {
      const printed = await this.host.sh(`cat ${this.log}`);
      return printed.includes("packets transmitted") && printed;
    }, 5_000);
    const counts = parsePing(text, "");
    if (counts.received < 10) throw new Error(`a ping that hardly ran: ${text}`);
    const missing = counts.sent - counts.received;
    return { ...counts, lost: missing === 1 ? 0 : missing };
  }
}
