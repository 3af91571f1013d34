/**
 * Probing hosts of a lab, under the built executable's permissions.
 *
 * @module
 */
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { FamilyView, ProbeView } from "../../lib/probe/types.ts";

/** What `flanneld probe -json` prints. */
export interface ProbeJson {
  readonly backend: string;
  readonly source: string;
  readonly peers: readonly (Omit<ProbeView, "at"> & { readonly at: string })[];
}

/** A probe's end. */
export interface Probed {
  readonly code: number;
  readonly json: ProbeJson;
  /** Every peer's families in one list. */
  readonly families: readonly FamilyView[];
}

/** Runs `flanneld probe WORDS` on a host and gives what it prints. */
export async function probeText(
  host: Host,
  wrap: readonly string[],
  ...words: string[]
): Promise<{ code: number; text: string }> {
  const command = [...wrap, ...flanneldCommand(), "probe", ...words, ...host.commonArgs];
  const { code, stdout, stderr } = await host.exec(command, { mayFail: true });
  return { code, text: stdout + stderr };
}

/** Runs `flanneld probe -json WORDS` on a host. @throws {Error} If what it prints isn't JSON. */
export function probe(host: Host, ...words: string[]): Promise<Probed> {
  return probeIn([], host, ...words);
}

/** The same behind a command that ends in an exec of what follows it, like one that mounts folders. */
export async function probeIn(wrap: readonly string[], host: Host, ...words: string[]): Promise<Probed> {
  const { code, text } = await probeText(host, wrap, "-json", "-interval", "20ms", ...words);
  try {
    const json = JSON.parse(text) as ProbeJson;
    return { code, json, families: json.peers.flatMap(({ families }) => families) };
  } catch {
    throw new Error(`flanneld probe on ${host.name} ended with ${code} and printed no JSON:\n${text}`);
  }
}

/** What every verdict says, in one line each, for assertions and their messages. */
export function codes({ families }: Probed): string[] {
  return families.map(({ verdict }) => verdict.code);
}
