/**
 * A host of a fault run: its daemon, and an underlay that can be broken and configured again, as a network manager
 * does it.
 *
 * @module
 */
import type { FamilyName, PerFamily } from "../../lib/net/family.ts";
import type { Host, StartOptions } from "../lab/host.ts";
import type { Namespace } from "../lab/namespace.ts";
import type { Finished } from "../lab/process.ts";
import { DaemonKeeper } from "./daemon_keeper.ts";

/** How the underlay's addresses are made, by family. */
const PLAN: Readonly<Record<FamilyName, { length: number; gateway: string; address(last: number): string }>> =
  {
    ipv4: { length: 24, gateway: "172.30.0.254", address: (last) => `172.30.0.${last}` },
    ipv6: { length: 64, gateway: "fd00:30::fe", address: (last) => `fd00:30::${last.toString(16)}` },
  };

/** One host. */
export class ChaosHost {
  readonly daemon: DaemonKeeper;
  /** The switch's port of this host. */
  readonly port: string;
  #lastByte: number;

  /**
   * @param host Its place in the lab.
   * @param middle The switch.
   * @param families Families of the underlay.
   * @param devices The backend's devices, one a family; none with host-gw.
   */
  constructor(
    readonly host: Host,
    readonly middle: Namespace,
    readonly families: readonly FamilyName[],
    readonly devices: readonly string[],
    readonly options: StartOptions,
  ) {
    this.daemon = new DaemonKeeper(host, options);
    this.port = `p${host.number}`;
    this.#lastByte = host.number;
  }

  /** Short name: `h2`. */
  get label(): string {
    return `h${this.host.number}`;
  }

  /** Its present addresses on the underlay. */
  get addresses(): PerFamily<string> {
    return Object.fromEntries(this.families.map((family) => [family, PLAN[family].address(this.#lastByte)]));
  }

  /** Runs a program that sees the files that the daemon sees. */
  seeing(command: readonly string[]): Promise<Finished> {
    return this.host.exec([...this.options.wrap ?? [], ...command], { mayFail: true });
  }

  /** Runs `ip` commands inside, each on its own: what a fault can't find any more isn't broken by it. */
  async tryIp(...lines: string[]): Promise<void> {
    for (const line of lines) await this.host.exec(["ip", ...line.split(" ")], { mayFail: true });
  }

  /** Brings eth0 up with its addresses and the default routes, whatever of them is there. */
  async configureUnderlay(): Promise<void> {
    const { addresses } = this;
    await this.host.ip(
      "link set eth0 up",
      ...this.families.flatMap((family) => {
        const { length, gateway } = PLAN[family];
        const nodad = family === "ipv6" ? " nodad" : "";
        return [
          `address replace ${addresses[family]}/${length} dev eth0${nodad}`,
          `route replace default via ${gateway} dev eth0`,
        ];
      }),
    );
  }

  /** Takes eth0's present addresses away; the host has others from now on. {@link configureUnderlay} sets them. */
  async readdress(): Promise<void> {
    await this.host.ip(
      ...this.families.map((family) =>
        `address delete ${this.addresses[family]}/${PLAN[family].length} dev eth0`
      ),
    );
    // Four hosts take turns in 10 to 209: no two ever have the same.
    this.#lastByte = this.#lastByte < 10 ? 10 + this.host.number : 10 + (this.#lastByte - 10 + 4) % 200;
  }

  /** Deletes eth0 and makes another one, with another MAC and index, without addresses. */
  async replaceUnderlay(mac: string): Promise<void> {
    await this.host.ip("link delete eth0");
    await this.middle.ip(
      `link add ${this.port} mtu 1500 type veth peer name eth0 mtu 1500 address ${mac} netns ${this.host.name}`,
      `link set ${this.port} master br0 up`,
    );
  }

  /** Deletes every route into these prefixes but the container bridge's. */
  async flushRoutes(prefixes: readonly string[]): Promise<void> {
    for (const prefix of prefixes) {
      const family = prefix.includes(":") ? "-6" : "-4";
      const { stdout } = await this.host.exec(["ip", family, "route", "show", "root", prefix]);
      const routes = stdout.split("\n").map((line) => line.trim()).filter((line) => line !== "");
      const flannels = routes.filter((line) => !line.includes("dev cni0") && !line.includes("proto kernel"));
      // By destination and device: the rest of a printed route isn't always taken back.
      await this.tryIp(...flannels.map((line) => {
        const device = /dev \S+/.exec(line)?.[0] ?? "";
        return `${family} route delete ${line.split(" ")[0]} ${device}`.trim();
      }));
    }
  }

  /** Deletes every tunnel device, whatever its name. */
  async deleteTunnels(): Promise<void> {
    for (const kind of ["vxlan", "tun"]) {
      const links = await this.host.ipJson("link", "show", "type", kind);
      await this.tryIp(...links.map(({ ifname }) => `link delete ${ifname}`));
    }
  }
}
