/**
 * `doctor`: looks for what would keep flanneld from working here. Changes nothing.
 *
 * @module
 */
import type { BackendRegistry } from "../backend/registry.ts";
import { type ResolvedNetwork, resolveNetwork } from "../backend/network.ts";
import { ConfigError } from "../config/types.ts";
import { chooseExternal } from "../daemon/external.ts";
import { openContext } from "../daemon/open_context.ts";
import { describeWrite, openSubnetManager } from "../daemon/store.ts";
import { openLog } from "../observe/log.ts";
import { readKernelFile } from "../ffi/kernel_file.ts";
import { systemRunner } from "../firewall/command.ts";
import { detectTools } from "../firewall/tools.ts";
import { NetlinkSocket } from "../netlink/socket.ts";
import { IPV4 } from "../net/family.ts";
import { type InterfaceCandidate, type InterfaceChoice, InterfaceError } from "../external/types.ts";
import { noMetrics, noProblems, silentLog } from "../observe/types.ts";
import { describeFailure } from "./failure.ts";
import type { Options } from "../options/table.ts";
import type { Invocation } from "../options/parse.ts";

/** How long the store may take to answer, in milliseconds. */
const STORE_TIMEOUT_MS = 5_000;

/** Prints a line for each thing that was looked at; exit status 1 if one of them would keep flanneld from working. */
export async function doctorCommand({ options }: Invocation, backends: BackendRegistry): Promise<number> {
  const doctor = new Doctor(options, backends);
  await doctor.examine();
  return doctor.faults === 0 ? 0 : 1;
}

class Doctor {
  faults = 0;
  readonly #options: Options;
  readonly #backends: BackendRegistry;

  constructor(options: Options, backends: BackendRegistry) {
    this.#options = options;
    this.#backends = backends;
  }

  async examine(): Promise<void> {
    if (Deno.uid() !== 0) this.#fault("user", "not root: flanneld changes devices and routes (use sudo)");
    const network = await this.#store();
    const external = this.#interface(network);
    if (network && external) await this.#backend(network, external);
    await this.#firewall();
    this.#forwarding(network);
  }

  #good(what: string, text: string): void {
    console.log(`ok    ${what}: ${text}`);
  }

  #warning(what: string, text: string): void {
    console.log(`warn  ${what}: ${text}`);
  }

  #fault(what: string, text: string): void {
    this.faults++;
    console.log(`FAULT ${what}: ${text}`);
  }

  async #store(): Promise<ResolvedNetwork | undefined> {
    try {
      await using store = await openSubnetManager(this.#options, {
        ...{ log: openLog({ format: "text", verbosity: 0 }), metrics: noMetrics, problems: noProblems },
      });
      const stored = await store.readConfig({ timeoutMs: STORE_TIMEOUT_MS });
      if (!stored) {
        this.#fault("config", `there is none in ${store.description}. ${describeWrite(this.#options)}`);
        return undefined;
      }
      const network = await resolveNetwork(stored.text, this.#backends);
      this.#good("config", `${network.config.backend.type} network in ${store.description}`);
      for (const warning of network.warnings) this.#warning("config", warning);
      return network;
    } catch (error) {
      if (error instanceof ConfigError) {
        for (const fault of error.faults) this.#fault("config", fault.message);
      } else this.#fault("store", describeFailure(error));
      return undefined;
    }
  }

  #interface(network: ResolvedNetwork | undefined): InterfaceChoice["external"] | undefined {
    const families = network?.config.families.map(({ family }) => family) ?? [IPV4];
    const print = (candidates: readonly InterfaceCandidate[]) => {
      for (const { name, addresses, taken, reason } of candidates) {
        console.log(
          `      interface ${name} (${addresses.join(", ")}): ${taken ? "taken" : "not taken"}, ${reason}`,
        );
      }
    };
    try {
      using socket = NetlinkSocket.open();
      const { external, candidates } = chooseExternal(socket, this.#options, families);
      this.#good("interface", `${external.name}, MTU ${external.mtu}`);
      print(candidates);
      return external;
    } catch (error) {
      this.#fault("interface", describeFailure(error));
      if (error instanceof InterfaceError) print(error.candidates);
      return undefined;
    }
  }

  async #backend(network: ResolvedNetwork, external: InterfaceChoice["external"]): Promise<void> {
    const { type } = network.config.backend;
    try {
      using socket = NetlinkSocket.open();
      const context = await openContext(this.#options, network, {
        ...{ socket, external, log: silentLog, metrics: noMetrics },
        signal: AbortSignal.timeout(STORE_TIMEOUT_MS),
      });
      await network.backend.open(network.options, context);
      this.#good("backend", `${type} can work here`);
    } catch (error) {
      this.#fault("backend", `${type}: ${describeFailure(error)}`);
    }
  }

  async #firewall(): Promise<void> {
    const { nft, iptables, problems } = await detectTools(systemRunner());
    const tools = [...nft ? ["nft"] : [], ...iptables.map(({ backend }) => `iptables (${backend})`)];
    for (const problem of problems) this.#warning("firewall", problem);
    if (tools.length > 0) this.#good("firewall", tools.join(", "));
    else {this.#fault(
        "firewall",
        "neither nft nor iptables works: install Debian's package nftables or iptables",
      );}
  }

  #forwarding(network: ResolvedNetwork | undefined): void {
    for (const { family } of network?.config.families ?? [{ family: IPV4 }]) {
      const name = family === IPV4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
      this.#forwardingSetting(name);
    }
  }

  #forwardingSetting(name: string): void {
    try {
      const value = readKernelFile(`/proc/sys/${name.replaceAll(".", "/")}`).trim();
      if (value === "1") return this.#good("forwarding", `${name} is 1`);
      const advice = `container runtimes switch it on; without one: sysctl -w ${name}=1`;
      this.#warning("forwarding", `${name} is ${value}: ${advice}`);
    } catch (error) {
      this.#warning("forwarding", `cannot read ${name}: ${describeFailure(error)}`);
    }
  }
}
