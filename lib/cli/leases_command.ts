/**
 * `leases list`, `leases show`, `leases pool`: what stands in the store. No daemon is needed.
 *
 * @module
 */
import { type NetworkLeases, readNetworkLeases } from "../daemon/network_leases.ts";
import { printableJson, printableLines, printableValue } from "../observe/printable.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { UsageError } from "../options/usage_error.ts";
import { type HostNames, readHostNames } from "../status/host_names.ts";
import { searchLeases } from "./lease_search.ts";
import { leaseDocument, leasesDocument } from "./leases_document.ts";
import { csvText, leaseText, listText, poolText } from "./leases_text.ts";
import { print } from "./print.ts";
import { standardOutput } from "./terminal.ts";

/** A person who waits gets the expiry of so many leases: a third of a second's work, for etcd and here. */
const MOST_ASKED = 2_000;

/** Prints what was asked for; exit status 1 where `show` finds nothing. */
export async function leasesCommand(invocation: Invocation): Promise<number> {
  const { command, argument, options, own } = invocation;
  const json = own.get(COMMANDS["leases list"].options.json);
  const csv = own.get(COMMANDS["leases list"].options.csv);
  if (json && csv) throw new UsageError("-csv: not together with -json", command);
  const names = options.kubeSubnetMgr ? new Map<string, string>() : await readHostNames();
  const isShow = command === "leases show";
  const network = await readNetworkLeases(
    options,
    isShow
      ? (leases) => searchLeases(leases, argument, names)
      : (leases) => asksExpiry(invocation, leases.length) ? leases : [],
  );
  if (isShow) return await show(network, names, { word: argument, json });
  const document = leasesDocument(network, names);
  const terminal = standardOutput((name) => Deno.env.get(name));
  if (command === "leases pool") {
    const { leases: _, ...pools } = document;
    await print(`${json ? printableJson(pools, 2) : poolText(document, terminal)}\n`);
    return 0;
  }
  if (csv) await print(csvText(printableValue(document)));
  else if (json) await print(`${printableJson(document, 2)}\n`);
  else await print(`${listText(printableValue(document), terminal)}\n`);
  return 0;
}

/** A script gets all that it may want; a person doesn't wait for thousands of requests that nobody asked for. */
function asksExpiry({ own, typed }: Invocation, count: number): boolean {
  const { json, csv, expiry } = COMMANDS["leases list"].options;
  if (typed.has("expiry")) return own.get(expiry);
  return count <= MOST_ASKED || own.get(json) || own.get(csv);
}

async function show(
  network: NetworkLeases,
  names: HostNames,
  { word, json }: { word: string; json: boolean },
): Promise<number> {
  const found = searchLeases(network.leases, word, names);
  if (found.length === 0) {
    throw new Error(`${word}: no lease in ${network.store} has this subnet, address or host`);
  }
  const documents = found.map((lease) => leaseDocument(lease, names));
  const texts = json
    ? [printableJson({ schemaVersion: 1, leases: documents }, 2)]
    : documents.map((document, i) =>
      printableLines(leaseText(document, Date.now(), found[i]!.stored?.value))
    );
  await print(`${texts.join("\n\n")}\n`);
  return 0;
}
