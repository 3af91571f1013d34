/**
 * `leases map [-svg] [FILE]`: which subnets are taken, as text or as a picture.
 *
 * @module
 */
import { type NetworkLeases, readNetworkLeases } from "../daemon/network_leases.ts";
import { fileFault } from "../errors.ts";
import { familiesOf } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { printableLines } from "../observe/printable.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { type PoolGrid, poolGrid, type SubnetState, type TakenSubnet } from "../web/pool_grid.ts";
import { describePool, poolSvg, STATE_NAMES } from "../web/pool_svg.ts";
import { print } from "./print.ts";

/** A lease that has less left than this wasn't renewed when it was due, in seconds; as `leases pool` counts. */
const EXPIRING_SECONDS = 3600;

/** Squares in a row. */
const COLUMNS = 64;

/** One character for each square. */
const SIGNS: Readonly<Record<SubnetState, string>> = {
  own: "#",
  used: "#",
  reserved: "R",
  expiring: "!",
  free: ".",
};

/** Prints the map, or writes it to the file that is named. */
export async function leasesMapCommand({ argument, options, own }: Invocation): Promise<number> {
  const { store, config, leases } = await readNetworkLeases(options);
  const taken = takenSubnets(leases);
  const maps = config.families.map((family) => poolGrid(family, taken, COLUMNS));
  const title = `Subnets of the network in ${store}`;
  const text = own.get(COMMANDS["leases map"].options.svg) ? poolSvg(maps, title) : textOf(maps, title);
  if (argument === "") await print(printableLines(text));
  else await writeFile(argument, text);
  return 0;
}

async function writeFile(path: string, text: string): Promise<void> {
  try {
    await Deno.writeTextFile(path, text);
  } catch (error) {
    throw new Error(`Cannot write ${path}: ${fileFault(error)}`);
  }
}

function takenSubnets(leases: NetworkLeases["leases"]): TakenSubnet[] {
  return leases.flatMap(({ subnets = {}, attributes, host, expires, assigned, secondsLeft = Infinity }) => {
    const ips = attributes?.publicIps ?? {};
    const holder = host ?? familiesOf(ips).map(({ name }) => formatIp(ips[name]!)).join(", ");
    const isReserved = !expires && assigned !== true;
    const state = isReserved ? "reserved" : secondsLeft < EXPIRING_SECONDS ? "expiring" : "used";
    return familiesOf(subnets).map(({ name }): TakenSubnet => ({ subnet: subnets[name]!, state, holder }));
  });
}

function textOf(maps: readonly PoolGrid[], title: string): string {
  const lines = [title];
  for (const map of maps) {
    lines.push("", `${map.network}: ${describePool(map)}`);
    for (let at = 0; at < map.cells.length; at += map.columns) {
      const row = map.cells.slice(at, at + map.columns);
      const first = row[0]!.label.split(" ")[0]!;
      lines.push(`  ${row.map(({ state }) => SIGNS[state]).join("").padEnd(map.columns)}  ${first}`);
    }
  }
  const signs = (["used", "reserved", "expiring", "free"] as const).map((state) =>
    `${SIGNS[state]} ${STATE_NAMES[state]}`
  );
  lines.push("", signs.join("   "), "");
  return lines.join("\n");
}
