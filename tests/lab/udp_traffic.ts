/**
 * Traffic between the containers of a udp lab.
 *
 * @module
 */
import type { Namespace } from "../../scripts/lab/namespace.ts";
import type { FamilyName } from "../../lib/net/family.ts";
import type { UdpRig } from "./udp_rig.ts";

const TOOL = new URL("./udp_tool.ts", import.meta.url).pathname;

/** The command that runs the tool. */
export function tool(...args: readonly string[]): string[] {
  return [Deno.execPath(), "run", "-A", "--no-lock", TOOL, ...args];
}

/** A program that says "listening" once it does. */
async function listening(where: Namespace, ...args: string[]): Promise<Listener> {
  const child = where.spawn(tool(...args));
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`${args.join(" ")} ended: ${await new Response(child.stderr).text()}`);
    text += value;
  }
  return new Listener(child, reader);
}

class Listener implements AsyncDisposable {
  constructor(readonly child: Deno.ChildProcess, readonly reader: ReadableStreamDefaultReader<string>) {}

  /** What it prints until it ends. */
  async rest(): Promise<string> {
    let text = "";
    for (let part = await this.reader.read(); !part.done; part = await this.reader.read()) text += part.value;
    return text.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.child.status;
    await this.reader.cancel();
    await this.child.stderr.cancel().catch(() => {});
  }
}

/**
 * Sends bytes from the first container to the second over TCP.
 *
 * @param meanwhile Runs while they are on their way.
 * @returns The hashes of what was sent and of what came.
 */
export async function transfer(
  rig: UdpRig,
  bytes: number,
  meanwhile: () => Promise<void> = () => Promise.resolve(),
): Promise<{ readonly sent: string; readonly received: string }> {
  const [one, two] = rig.hosts;
  await using receiver = await listening(two.container, "receive", "5001");
  const [{ stdout }] = await Promise.all([
    one.container.exec(tool("send", two.inner, "5001", `${bytes}`)),
    meanwhile(),
  ]);
  return { sent: stdout.trim(), received: await receiver.rest() };
}

/**
 * Sends datagrams of these payload sizes and back.
 *
 * @param command `extend`: with an IPv6 extension header before each datagram on the way there.
 * @returns The sizes that came back unharmed.
 */
export async function echoSizes(
  rig: UdpRig,
  sizes: readonly number[],
  command: "probe" | "extend" = "probe",
): Promise<number[]> {
  const [one, two] = rig.hosts;
  await using _echo = await listening(two.container, "echo", "5002");
  const { stdout } = await one.container.exec(tool(command, two.inner, "5002", ...sizes.map(String)));
  return JSON.parse(stdout) as number[];
}

/** A counter of /proc/net/netstat or /proc/net/snmp, like `IpExt InCEPkts`. */
export async function netCounter(where: Namespace, group: string, name: string): Promise<number> {
  const { stdout } = await where.exec(["cat", "/proc/net/netstat", "/proc/net/snmp"]);
  const [names, values] = stdout.split("\n").filter((line) => line.startsWith(`${group}: `)).map((line) =>
    line.split(" ")
  );
  return Number(values?.[names?.indexOf(name) ?? -1]);
}

/** A counter of IPv4 (IpExt) or of the same name of IPv6, like `InCEPkts`. */
export function ipCounter(where: Namespace, family: FamilyName, name: string): Promise<number> {
  return family === "ipv4" ? netCounter(where, "IpExt", name) : netCounter6(where, `Ip6${name}`);
}

/** A counter of ICMP or of ICMPv6, like `InDestUnreachs`. */
export function icmpCounter(where: Namespace, family: FamilyName, name: string): Promise<number> {
  return family === "ipv4" ? netCounter(where, "Icmp", name) : netCounter6(where, `Icmp6${name}`);
}

/** A counter of /proc/net/snmp6. */
async function netCounter6(where: Namespace, name: string): Promise<number> {
  const { stdout } = await where.exec(["cat", "/proc/net/snmp6"]);
  return Number(new RegExp(`^${name}\\s+(\\d+)$`, "m").exec(stdout)?.[1]);
}
