/**
 * Runs the commands that a document shows, from its top to its end, on hosts of a lab.
 *
 * Every block of shell commands (fenced, `sh`) is run, but for those with a comment right before them:
 *
 *     <!-- not run: WHY -->      is left out
 *     <!-- host 2 -->            runs on the second host; the first is the default
 *     <!-- stays -->             a flanneld that continues: the walk waits until its host is ready
 *
 * What differs from the page: etcd's address, `http://192.0.2.10:2379` there, is the lab's; `/run/flannel` is a folder of
 * the host's own; `sudo` runs what follows, and `flanneld` is the program under test.
 *
 * @module
 */
import { join } from "node:path";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";

/** One block of commands. */
export interface Block {
  readonly text: string;
  /** The number of its first line in the page. */
  readonly line: number;
  /** Why it is not run. */
  readonly notRun?: string;
  readonly host: number;
  readonly stays: boolean;
}

const ETCD = "http://192.0.2.10:2379", RUN = "/run/flannel";
/** A block may take this long, in milliseconds. */
const BLOCK_LIMIT = 60_000;

/** The blocks of a page, in order. A comment on its first lines may leave out all: `<!-- nothing here is run: WHY -->`. */
export function blocksOf(page: string): Block[] {
  const whole = /^<!-- nothing here is run: (.*) -->$/m.exec(page)?.[1];
  const lines = page.split("\n");
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i++) {
    const indent = /^( *)```sh$/.exec(lines[i]!)?.[1];
    if (indent === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, i);
    if (end < 0) throw new Error(`line ${i + 1}: the block has no end`);
    const comments = commentsBefore(lines, i);
    const notRun = whole ?? comments.map((one) => /^not run: (.+)$/.exec(one)?.[1]).find(Boolean);
    const host = comments.map((one) => /^host (\d)$/.exec(one)?.[1]).find(Boolean);
    blocks.push({
      text: lines.slice(i + 1, end).map((line) => line.slice(indent.length)).join("\n"),
      line: i + 1,
      ...notRun === undefined ? {} : { notRun },
      host: Number(host ?? 1),
      stays: comments.includes("stays"),
    });
    i = end;
  }
  return blocks;
}

/** The comments that stand right before a line. */
function commentsBefore(lines: readonly string[], at: number): string[] {
  const found: string[] = [];
  for (let i = at - 1; i >= 0; i--) {
    const comment = /^\s*<!-- (.*) -->$/.exec(lines[i]!)?.[1];
    if (comment !== undefined) found.push(comment);
    else if (lines[i]!.trim() !== "") break;
  }
  return found;
}

/** Runs a page's blocks in a lab with a real etcd. @throws {Error} That names the page, the line and what it said. */
export async function walk(lab: Lab, path: string): Promise<void> {
  const page = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  const tools = await makeTools(lab);
  const running: Deno.ChildProcess[] = [];
  try {
    for (const block of blocksOf(page)) {
      if (block.notRun !== undefined) continue;
      const host = lab.host(block.host);
      try {
        if (block.stays) running.push(await stay(host, block, environmentOf(lab, host, tools)));
        else await runBlock(host, block, environmentOf(lab, host, tools));
      } catch (error) {
        throw new Error(
          `${path}:${block.line}:\n${block.text}\n${error instanceof Error ? error.message : error}`,
        );
      }
    }
  } finally {
    for (const child of running) child.kill("SIGTERM");
    await Promise.all(running.map((child) => child.status));
  }
}

/** A folder with what stands for programs of the page. */
async function makeTools(lab: Lab): Promise<string> {
  const folder = join(lab.folder, "tools");
  await Deno.mkdir(folder, { recursive: true });
  const script = (name: string, text: string) =>
    Deno.writeTextFile(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const words = flanneldCommand().map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  await script("sudo", 'exec "$@"');
  await script("flanneld", `exec ${words} "$@"`);
  return folder;
}

function environmentOf(lab: Lab, host: Host, tools: string): Record<string, string> {
  return {
    PATH: `${tools}:${Deno.env.get("PATH") ?? ""}`,
    ETCDCTL_ENDPOINTS: lab.etcd.endpoint,
    FLANNELD_ETCD_ENDPOINTS: lab.etcd.endpoint,
    FLANNELD_SUBNET_FILE: join(runFolder(host), "subnet.env"),
    NO_COLOR: "1",
  };
}

function runFolder(host: Host): string {
  return join(host.folder, "run-flannel");
}

/** The commands with the lab's places. */
function textFor(host: Host, { text }: Block, environment: Record<string, string>): string {
  return text.replaceAll(ETCD, environment["ETCDCTL_ENDPOINTS"]!).replaceAll(RUN, runFolder(host));
}

async function runBlock(host: Host, block: Block, environment: Record<string, string>): Promise<void> {
  await Deno.mkdir(host.folder, { recursive: true });
  const script = `cd '${host.folder}'\n${textFor(host, block, environment)}\n`;
  const child = host.spawn(["sh", "-ec", script], environment);
  const timer = setTimeout(() => child.kill("SIGKILL"), BLOCK_LIMIT);
  try {
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    if (code === 0) return;
    const said = `${decoder.decode(stdout)}\n${decoder.decode(stderr)}`.trim().split("\n");
    throw new Error(`status ${code}: ${said.slice(-20).join("\n")}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Starts a daemon and waits until its host is ready. */
async function stay(
  host: Host,
  block: Block,
  environment: Record<string, string>,
): Promise<Deno.ChildProcess> {
  await Deno.mkdir(host.folder, { recursive: true });
  const text = textFor(host, block, environment);
  const file = /-subnet-file[= ](\S+)/.exec(text)?.[1] ?? environment["FLANNELD_SUBNET_FILE"]!;
  await Deno.remove(file).catch(() => {});
  const child = host.spawn(["sh", "-ec", `cd '${host.folder}'\nexec ${text}`], environment);
  let said = "";
  const collect = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    for await (const part of stream.pipeThrough(new TextDecoderStream())) said = (said + part).slice(-8000);
  };
  void collect(child.stdout);
  void collect(child.stderr);
  let ended = false;
  void child.status.then(() => ended = true);
  await until(`the host of ${file} to be ready`, async () => {
    if (ended) throw new Error(`it ended: ${said}`);
    if (!await Deno.stat(file).then(() => true, () => false)) return false;
    // The file comes first; that the rest stands, too, is what status says by its own status.
    const status = host.spawn(["flanneld", "status", `-subnet-file=${file}`], environment);
    return (await status.output()).success;
  }, BLOCK_LIMIT).catch((error) => {
    if (!ended) child.kill("SIGTERM");
    throw new Error(`${(error as Error).message}\n${said}`);
  });
  return child;
}
