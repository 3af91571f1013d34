/**
 * Runs the commands that a document shows, from its top to its end, on hosts of a lab.
 *
 * Every block of shell commands (fenced, `sh`) is run, but for those with a comment right before them:
 *
 *     <!-- not run: WHY -->      is left out
 *     <!-- host 2 -->            runs on the second host; the first is the default
 *     <!-- both hosts -->        runs on the first, then on the second
 *     <!-- stays -->             a flanneld that continues: the walk waits until its host is ready
 *
 * "stays" and where it runs may stand in one: `<!-- stays on both hosts -->`.
 *
 * What differs from the page: etcd's address, like `http://192.0.2.10:2379` there, is the lab's; `/run/flannel` is a folder
 * of the host's own; `sudo` runs what follows, and `flanneld` is the program under test; the container `c1` has a name of
 * the lab's, and what the page calls its address on the other host (it ends in `.93.2`) is its address.
 *
 * @module
 */
import { join } from "node:path";
import { readSubnetFile } from "../../scripts/lab/container.ts";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import type { Lab } from "../../scripts/lab/lab.ts";
import { Namespace } from "../../scripts/lab/namespace.ts";
import { run, until } from "../../scripts/lab/process.ts";

/** One block of commands. */
export interface Block {
  readonly text: string;
  /** The number of its first line in the page. */
  readonly line: number;
  /** Why it is not run. */
  readonly notRun?: string;
  readonly hosts: readonly number[];
  readonly stays: boolean;
}

const ETCD = /http:\/\/(?:192\.0\.2|10\.0\.1|192\.168\.0|172\.16\.0)\.\d+:2379/g;
const RUN = "/run/flannel";
/** What the pages of clouds call the address of the other host's container. */
const PEER_CONTAINER = /\b\d+\.\d+\.93\.2\b/g;
/** A block may take this long, in milliseconds. */
const BLOCK_LIMIT = 60_000;

/** The blocks of a page, in order. A comment may leave out all with a program: `<!-- blocks with aws are not run: WHY -->`. */
export function blocksOf(page: string): Block[] {
  const [, program, why] = /^<!-- blocks with (\S+) are not run: (.*) -->$/m.exec(page) ?? [];
  const lines = page.split("\n");
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i++) {
    const indent = /^( *)```sh$/.exec(lines[i]!)?.[1];
    if (indent === undefined) continue;
    const end = lines.indexOf(`${indent}\`\`\``, i);
    if (end < 0) throw new Error(`line ${i + 1}: the block has no end`);
    const comments = commentsBefore(lines, i);
    const text = lines.slice(i + 1, end).map((line) => line.slice(indent.length)).join("\n");
    const notRun = comments.map((one) => /^not run: (.+)$/.exec(one)?.[1]).find(Boolean) ??
      (program !== undefined && text.split(/\s|\(/).includes(program) ? why : undefined);
    const host = comments.map((one) => /^host (\d)$/.exec(one)?.[1]).find(Boolean);
    const both = comments.some((one) => one.endsWith("both hosts"));
    blocks.push({
      text,
      line: i + 1,
      ...notRun === undefined ? {} : { notRun },
      hosts: both ? [1, 2] : [Number(host ?? 1)],
      stays: comments.some((one) => one.startsWith("stays")),
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

/**
 * Runs a page's blocks in a lab with a real etcd.
 *
 * @param own More variables of the environment of a host's commands.
 * @throws {Error} That names the page, the line and what it said.
 */
export async function walk(
  lab: Lab,
  path: string,
  own: (host: Host) => Readonly<Record<string, string>> = () => ({}),
): Promise<void> {
  const page = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  const tools = await makeTools(lab);
  const running: Deno.ChildProcess[] = [];
  try {
    for (const block of blocksOf(page)) {
      if (block.notRun !== undefined) continue;
      try {
        for (const host of block.hosts.map((number) => lab.host(number))) {
          const environment = { ...environmentOf(lab, host, tools), ...own(host) };
          const text = await textFor(lab, host, block);
          if (block.stays) running.push(await stay(host, text, environment));
          else await runBlock(host, text, environment);
        }
      } catch (error) {
        throw new Error(
          `${path}:${block.line}:\n${block.text}\n${error instanceof Error ? error.message : error}`,
        );
      }
    }
  } finally {
    for (const child of running) child.kill("SIGTERM");
    await Promise.all(running.map((child) => child.status));
    for (const host of lab.hosts) await run(["ip", "netns", "delete", containerOf(host)], { mayFail: true });
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

function containerOf(host: Host): string {
  return `${host.name}-c1`;
}

/** The commands with the lab's places. */
async function textFor(lab: Lab, host: Host, { text }: Block): Promise<string> {
  let placed = text.replaceAll(ETCD, lab.etcd.endpoint).replaceAll(RUN, runFolder(host))
    .replaceAll(/\bc1\b/g, containerOf(host));
  if (PEER_CONTAINER.test(placed)) {
    const other = lab.hosts.find((one) => one !== host)!;
    const { subnets } = await readSubnetFile(join(runFolder(other), "subnet.env"));
    placed = placed.replaceAll(PEER_CONTAINER, subnets.ipv4!.replace(/\.1\/.*$/, ".2"));
  }
  return placed;
}

async function runBlock(
  host: Host,
  text: string,
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  await Deno.mkdir(host.folder, { recursive: true });
  const place = text.includes("ip netns") ? new SharedNames(host.name, host.children) : host;
  const child = place.spawn(["sh", "-ec", `cd '${host.folder}'\n${text}\n`], environment);
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

/** A host entered without mounts of its own: a namespace that is made inside `ip netns exec` isn't seen outside of it. */
class SharedNames extends Namespace {
  override get enter(): readonly string[] {
    return ["nsenter", `--net=/run/netns/${this.name}`];
  }
}

/** Starts a daemon and waits until its host is ready. */
async function stay(
  host: Host,
  text: string,
  environment: Readonly<Record<string, string>>,
): Promise<Deno.ChildProcess> {
  await Deno.mkdir(host.folder, { recursive: true });
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
