/**
 * The subnet file (/run/flannel/subnet.env): what container runtimes read to learn the host's subnet. That it
 * is there is the sign that the host is ready.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { writeWholeFile } from "./whole_file.ts";
import { FAMILIES, type FamilyName, type PerFamily } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { formatPrefix, ipAt, parseCidr, type Prefix } from "../net/prefix.ts";

/** What a subnet file says. */
export interface SubnetFile {
  /** The whole networks. */
  readonly networks: PerFamily<Prefix>;
  /** The host's subnets. */
  readonly subnets: PerFamily<Prefix>;
  /** MTU for containers, in bytes. */
  readonly mtu: number;
  /** flanneld masquerades: the container runtime must not. */
  readonly ipMasq: boolean;
}

/** What could be read of a subnet file; anything may be missing. */
export interface ReadSubnetFile extends Partial<SubnetFile> {
  readonly networks: PerFamily<Prefix>;
  readonly subnets: PerFamily<Prefix>;
  /** Lines that were skipped, each with its number and what is wrong with it. */
  readonly faults: readonly string[];
}

/** The subnet file can't be written or read. */
export class SubnetFileError extends Error {
  override readonly name = "SubnetFileError";
}

/** Names of the two variables of each family. */
const VARIABLES: Readonly<Record<FamilyName, { readonly network: string; readonly subnet: string }>> = {
  ipv4: { network: "FLANNEL_NETWORK", subnet: "FLANNEL_SUBNET" },
  ipv6: { network: "FLANNEL_IPV6_NETWORK", subnet: "FLANNEL_IPV6_SUBNET" },
};

/** The file's text. */
export function formatSubnetFile(file: SubnetFile): string {
  const lines: string[] = [];
  for (const family of FAMILIES) {
    const network = file.networks[family.name];
    const subnet = file.subnets[family.name];
    if (!network || !subnet) continue;
    const variables = VARIABLES[family.name];
    // The first usable address: the one below it is the network's own.
    const gateway = formatIp(ipAt(subnet, 1n));
    lines.push(`${variables.network}=${formatPrefix(network)}`);
    lines.push(`${variables.subnet}=${gateway}/${subnet.length}`);
  }
  lines.push(`FLANNEL_MTU=${file.mtu}`, `FLANNEL_IPMASQ=${file.ipMasq}`);
  return lines.map((line) => `${line}\n`).join("");
}

/**
 * Reads the file's text. A line that can't be used is skipped and reported, and changes nothing else; of a
 * variable that stands twice the last good line counts, as in a shell.
 */
export function parseSubnetFile(text: string): ReadSubnetFile {
  const networks: { -readonly [name in FamilyName]?: Prefix } = {};
  const subnets: { -readonly [name in FamilyName]?: Prefix } = {};
  const rest: { mtu?: number; ipMasq?: boolean } = {};
  const faults: string[] = [];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const fault = parseLine(line, networks, subnets, rest);
    if (fault) faults.push(`line ${index + 1}: ${fault}`);
  }
  return { networks, subnets, ...rest, faults };
}

/** Takes one line into the results. @returns What is wrong with it. */
function parseLine(
  line: string,
  networks: { -readonly [name in FamilyName]?: Prefix },
  subnets: { -readonly [name in FamilyName]?: Prefix },
  rest: { mtu?: number; ipMasq?: boolean },
): string | undefined {
  const match = /^([A-Z_][A-Z0-9_]*)=(.*)$/.exec(line);
  if (!match) return `${JSON.stringify(line)} isn't VARIABLE=value`;
  const name = match[1]!;
  const value = match[2]!.replace(/^(["'])(.*)\1$/, "$2");
  for (const family of FAMILIES) {
    const variables = VARIABLES[family.name];
    if (name !== variables.network && name !== variables.subnet) continue;
    const prefix = tryPrefix(value);
    // A length of 0 is what a damaged file reads as in the original; no network has it.
    if (prefix?.family !== family || prefix.length === 0) {
      return `${name}=${value} isn't an ${family.label} address with a length, like 10.5.72.1/24`;
    }
    (name === variables.network ? networks : subnets)[family.name] = prefix;
  }
  if (name === "FLANNEL_MTU") {
    if (!/^\d{1,9}$/.test(value) || Number(value) === 0) return `${name}=${value} isn't an MTU`;
    rest.mtu = Number(value);
  }
  if (name === "FLANNEL_IPMASQ") {
    if (value !== "true" && value !== "false") return `${name}=${value} is neither true nor false`;
    rest.ipMasq = value === "true";
  }
  return undefined;
}

function tryPrefix(text: string): Prefix | undefined {
  try {
    return parseCidr(text).prefix;
  } catch {
    return undefined;
  }
}

/**
 * Reads the subnet file of an earlier run.
 *
 * @returns Undefined if there is none.
 * @throws {SubnetFileError} If it is there and can't be read.
 */
export async function readSubnetFile(path: string): Promise<ReadSubnetFile | undefined> {
  try {
    return parseSubnetFile(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new SubnetFileError(`Cannot read subnet file ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Writes the subnet file so that readers see the whole old one or the whole new one. Makes the folder.
 *
 * @throws {SubnetFileError} If that can't be done; an older file is then still as it was.
 */
export async function writeSubnetFile(path: string, file: SubnetFile): Promise<void> {
  try {
    await writeWholeFile(path, formatSubnetFile(file));
  } catch (error) {
    throw new SubnetFileError(`Cannot write subnet file ${path}: ${messageOf(error)}`, { cause: error });
  }
}
