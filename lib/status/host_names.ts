/**
 * Names of hosts by their addresses, as /etc/hosts has them. No name server is asked: a status must not wait for one.
 *
 * @module
 */
import { formatIp, tryParseIp } from "../net/ip.ts";

const HOSTS_FILE = "/etc/hosts";

/** By address in its usual form: the first name of the line, and of several lines the first. */
export type HostNames = ReadonlyMap<string, string>;

/** What the file says now; nothing where it can't be read. */
export async function readHostNames(path = HOSTS_FILE): Promise<HostNames> {
  // A host without the file, as many containers are, has no names: nothing is wrong with it.
  return parseHostNames(await Deno.readTextFile(path).catch(() => ""));
}

/** Reads the lines of hosts(5); what is none is passed over. */
export function parseHostNames(text: string): HostNames {
  const names = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [address = "", name] = line.replace(/#.*/, "").trim().split(/\s+/);
    const ip = tryParseIp(address);
    if (!ip || name === undefined) continue;
    const key = formatIp(ip);
    if (!names.has(key)) names.set(key, name);
  }
  return names;
}
