/**
 * The kernel's tables as JSON: also where the host has neither ip nor bridge.
 *
 * @module
 */
import type { Scene } from "../doctor/scene.ts";
import { FAMILIES } from "../net/family.ts";
import { formatIp, type Ip } from "../net/ip.ts";
import { formatPrefix, type Prefix } from "../net/prefix.ts";
import { listFdb, listNeighbours } from "../netlink/neighbour.ts";

/** Links, addresses, routes, neighbours and the fdb of VXLAN devices. @throws {NetlinkError} */
export function kernelTables({ kernel }: Scene): string {
  const tables = {
    links: kernel.links,
    addresses: kernel.addresses,
    routes: FAMILIES.flatMap((family) => kernel.routes(family)),
    neighbours: FAMILIES.flatMap((family) => listNeighbours(kernel.socket, { family })),
    fdb: kernel.links.filter(({ kind }) => kind === "vxlan").flatMap(({ index }) =>
      listFdb(kernel.socket, index)
    ),
  };
  const sections = Object.entries(tables).map(([name, rows]) =>
    `${JSON.stringify(name)}: [\n${rows.map((row) => `  ${JSON.stringify(row, asText)}`).join(",\n")}\n]`
  );
  return `{\n${sections.join(",\n")}\n}\n`;
}

/** Addresses and prefixes as people write them. */
function asText(name: string, value: unknown): unknown {
  if (name === "family") return undefined;
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null || !("family" in value)) return value;
  if ("base" in value && "length" in value) return formatPrefix(value as Prefix);
  if ("value" in value) return formatIp(value as Ip);
  return value;
}
