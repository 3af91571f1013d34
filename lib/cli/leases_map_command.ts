/**
 * `leases map [-svg] [FILE]`: which subnets are taken, as text or as a picture.
 *
 * @module
 */
import { type ResolvedNetwork, resolveNetwork } from "../backend/network.ts";
import type { BackendRegistry } from "../backend/registry.ts";
import { describeWrite, openStore } from "../daemon/store.ts";
import { decodeLease, decodeLeaseKey } from "../leases/codec.ts";
import { familiesOf } from "../net/family.ts";
import { formatIp } from "../net/ip.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Options } from "../options/table.ts";
import type { Invocation } from "../options/parse.ts";
import { UsageError } from "../options/usage_error.ts";
import { type PoolGrid, poolGrid, type SubnetState, type TakenSubnet } from "../web/pool_grid.ts";
import { describePool, poolSvg, STATE_NAMES } from "../web/pool_svg.ts";

/** Longest wait for a store that doesn't answer: a person is waiting. */
const STORE_TIMEOUT_MS = 10_000;

/** One character for each square. */
const SIGNS: Readonly<Record<SubnetState, string>> = {
  own: "#",
  used: "#",
  reserved: "R",
  expiring: "!",
  free: ".",
};

/** Prints the map, or writes it to the file that is named. */
export async function leasesMapCommand(
  { argument, options, own }: Invocation,
  backends: BackendRegistry,
): Promise<number> {
  const { network, taken, source } = await readPool(options, backends);
  const maps = network.config.families.map((family) => poolGrid(family, taken, 64));
  const title = `Subnets of the network in ${source}`;
  const text = own.get(COMMANDS["leases map"].options.svg) ? poolSvg(maps, title) : textOf(maps, title);
  if (argument === "") console.log(text.trimEnd());
  else await Deno.writeTextFile(argument, text);
  return 0;
}

async function readPool(options: Options, backends: BackendRegistry): Promise<{
  network: ResolvedNetwork;
  taken: TakenSubnet[];
  source: string;
}> {
  if (options.kubeSubnetMgr) {
    throw new UsageError("leases map: a cluster assigns the subnets: kubectl get nodes shows them");
  }
  await using store = await openStore(options);
  const timeoutMs = STORE_TIMEOUT_MS;
  const stored = await store.readConfig({ timeoutMs });
  if (!stored) {
    throw new Error(`There is no network config in ${store.description}. ${describeWrite(options)}`);
  }
  const network = await resolveNetwork(stored.text, backends);
  const { leases } = await store.listLeases({ timeoutMs });
  const taken = leases.flatMap((one): TakenSubnet[] => {
    const subnets = decodeLeaseKey(one.key) ?? {};
    const ips = decodeLease(one).lease?.attributes.publicIps ?? {};
    const holder = familiesOf(ips).map(({ name }) => formatIp(ips[name]!)).join(", ");
    const state = one.expires ? "used" : "reserved";
    return familiesOf(subnets).map(({ name }) => ({ subnet: subnets[name]!, state, holder }));
  });
  return { network, taken, source: store.description };
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
  const signs = (["used", "reserved", "free"] as const).map((state) =>
    `${SIGNS[state]} ${STATE_NAMES[state]}`
  );
  lines.push("", signs.join("   "), "");
  return lines.join("\n");
}
