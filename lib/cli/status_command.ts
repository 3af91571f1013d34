/**
 * `status [-json] [-peers] [-watch]`: how this host is.
 *
 * @module
 */
import { messageOf } from "../errors.ts";
import { readStatus } from "../daemon/status_client.ts";
import { statusSocketPath } from "../daemon/status_server.ts";
import { printable, printableJson, printableValue } from "../observe/printable.ts";
import { COMMANDS } from "../options/commands.ts";
import type { Invocation } from "../options/parse.ts";
import { pause } from "../time/pause.ts";
import { print } from "./print.ts";
import { statusText } from "./status_text.ts";
import { standardOutput, type Terminal } from "./terminal.ts";
import { cut } from "./text_table.ts";

/** Time between two looks with -watch, in milliseconds. */
const WATCH_MS = 2_000;

/** How it is shown. */
interface Wanted {
  readonly path: string;
  readonly json: boolean;
  readonly allPeers: boolean;
}

/** Prints the status; exit status 0 if the host is ready, 1 if not. */
export async function statusCommand({ options, own }: Invocation): Promise<number> {
  const { options: declared } = COMMANDS.status;
  const wanted: Wanted = {
    path: statusSocketPath(options),
    json: own.get(declared.json),
    allPeers: own.get(declared.peers),
  };
  const terminal = () => standardOutput((name) => Deno.env.get(name));
  if (own.get(declared.watch)) return await watch(wanted, terminal);
  const { text, ready } = await look(wanted, terminal());
  await print(`${text}\n`);
  return ready ? 0 : 1;
}

async function look(
  { path, json, allPeers }: Wanted,
  terminal: Terminal,
): Promise<{ text: string; ready: boolean }> {
  // What programs read is the same whatever the size of the network, unless they ask for more.
  const status = await readStatus(path, allPeers ? "all" : json ? "counts" : "summary");
  const text = json ? printableJson(status, 2) : statusText(printableValue(status), terminal);
  return { text, ready: status.ready };
}

/** Looks again and again until SIGINT or SIGTERM, or until nobody reads it. A daemon that doesn't answer is waited for. */
async function watch(wanted: Wanted, open: () => Terminal): Promise<number> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => stop.abort());
  let ready = false;
  while (!stop.signal.aborted) {
    const terminal = open();
    let text: string;
    try {
      ({ text, ready } = await look(wanted, terminal));
    } catch (error) {
      [text, ready] = [
        wanted.json ? printableJson({ error: messageOf(error) }) : printable(messageOf(error)),
        false,
      ];
    }
    const isRead = await print(
      terminal.isTerminal && !wanted.json ? screen(text, terminal) : block(text, wanted),
    );
    if (!isRead) break;
    await pause(WATCH_MS, stop.signal);
  }
  return ready ? 0 : 1;
}

/** The text from the top left corner on, over what was there: without clearing first, nothing flickers. */
function screen(text: string, { width, height, style }: Terminal): string {
  const lines = text.split("\n");
  const room = Math.max(1, height - 2);
  const shown = lines.length > room
    ? [...lines.slice(0, room - 1), style.dim(`… ${lines.length - room + 1} more lines`)]
    : lines;
  const foot = style.dim(
    cut(`${new Date().toLocaleTimeString("en-GB")}, every ${WATCH_MS / 1000} s; Ctrl-C ends`, width),
  );
  return `\x1b[H${[...shown, foot].map((line) => `${line}\x1b[K\n`).join("")}\x1b[J`;
}

/** Of many for a pipe: a line of JSON, or a block with its time. */
function block(text: string, { json }: Wanted): string {
  return json ? `${printableJson(JSON.parse(text))}\n` : `${new Date().toISOString()}\n${text}\n\n`;
}
