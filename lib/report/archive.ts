/**
 * The report as an archive: with a list of contents, made whole or not at all.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { fileFault } from "../errors.ts";
import type { CollectedItem } from "./collect.ts";
import { gzip, tarOf } from "./tar.ts";

/** What the archive says of itself. */
export interface ReportFacts {
  readonly host: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly version: string;
}

/** The bytes of the .tar.gz. */
export async function archiveOf(
  items: readonly CollectedItem[],
  facts: ReportFacts,
): Promise<Uint8Array<ArrayBuffer>> {
  const folder = reportName(facts);
  const encode = (text: string) => new TextEncoder().encode(text);
  const files = items.flatMap(({ item, text }) =>
    text === undefined ? [] : [{ name: `${folder}/${item.name}`, content: encode(text) }]
  );
  const readme = { name: `${folder}/README.txt`, content: encode(readmeOf(items, facts)) };
  return await gzip(tarOf([readme, ...files], facts.time / 1000));
}

/** `flanneld-report-HOST-20261121T150405Z`. */
export function reportName({ host, time }: Pick<ReportFacts, "host" | "time">): string {
  const stamp = new Date(time).toISOString().replace(/\.\d+/, "").replace(/[-:]/g, "");
  return `flanneld-report-${host.replace(/[^A-Za-z0-9.-]/g, "_").slice(0, 40)}-${stamp}`;
}

function readmeOf(items: readonly CollectedItem[], { host, time, version }: ReportFacts): string {
  const there = items.filter(({ text }) => text !== undefined);
  const missing = items.filter(({ text }) => text === undefined);
  const width = Math.max(...items.map(({ item }) => item.name.length));
  return [
    `flanneld ${version}: report of ${host}, ${new Date(time).toISOString()}`,
    "",
    "Passwords, tokens and private keys are masked as ***. Addresses, host names and rules are not: look through it",
    "before you pass it on.",
    "",
    "Contents",
    ...there.map(({ item, problem }) =>
      `  ${item.name.padEnd(width)}  ${item.what}${problem === undefined ? "" : ` (${problem})`}`
    ),
    "",
    ...(missing.length === 0 ? ["Nothing is missing."] : ["Not collected"]),
    ...missing.map(({ item, problem }) => `  ${item.name.padEnd(width)}  ${problem}`),
    "",
  ].join("\n");
}

/**
 * Writes a file that only its owner reads, whole or not at all.
 *
 * @throws {Error} If there is such a file: it is never overwritten.
 */
export async function writeNewFile(path: string, content: Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.flanneld-report-${crypto.randomUUID()}.tmp`);
  try {
    await Deno.writeFile(temporary, content, { mode: 0o600, createNew: true });
    // Unlike rename(2), link(2) fails where the name is taken.
    await Deno.link(temporary, path).catch(async (error) => {
      if (error instanceof Deno.errors.AlreadyExists) throw error;
      // A file system without hard links: the file may be seen before it is whole.
      await Deno.writeFile(path, content, { mode: 0o600, createNew: true });
    });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new Error(`${path} is there already: name another file with -o`);
    }
    throw new Error(`Cannot write ${path}: ${fileFault(error)}`);
  } finally {
    await Deno.remove(temporary).catch(() => {});
  }
}
