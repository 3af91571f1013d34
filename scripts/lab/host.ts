/**
 * A host of the lab: a namespace with an eth0, its flanneld and its containers.
 *
 * @module
 */
import { dirname } from "node:path";
import type { PerFamily } from "../../lib/net/family.ts";
import { type Container, makeContainer, readSubnetFile, type SubnetFile } from "./container.ts";
import { Daemon } from "./daemon.ts";
import { Namespace } from "./namespace.ts";
import { run, until } from "./process.ts";
import type { HostPort } from "./underlay.ts";

/** The port of /healthz and /readyz: every host has all ports for itself. */
export const HEALTH_PORT = 8080;

/** How long a daemon may take until it is ready, in milliseconds: many may start at once, beside other tests. */
const READY_LIMIT = 60_000;

/** What a host gets when it starts a daemon. */
export interface StartOptions {
  /** More options for the command line. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Put before the command; must end in an exec: the pid stays the daemon's. */
  readonly wrap?: readonly string[];
}

/** One host. */
export class Host extends Namespace {
  readonly number: number;
  /** Index of the layer 2 segment that it is on. */
  readonly segment: number;
  /** Addresses of eth0. */
  readonly addresses: PerFamily<string>;
  readonly subnetFile: string;
  #daemons: Daemon[] = [];
  #containers: Container[] = [];
  readonly #prefix: string;
  readonly #storeArgs: readonly string[];

  /**
   * @param prefix What names of the lab's namespaces begin with.
   * @param folder The lab's folder for files.
   * @param storeArgs Options that lead flanneld to the lab's store.
   */
  constructor(port: HostPort, prefix: string, folder: string, storeArgs: readonly string[]) {
    super(port.namespace.name, port.namespace.children);
    this.number = port.number;
    this.segment = port.segment;
    this.addresses = port.addresses;
    this.subnetFile = `${folder}/h${port.number}/subnet.env`;
    this.#prefix = prefix;
    this.#storeArgs = storeArgs;
  }

  /** Where the host's files are. */
  get folder(): string {
    return dirname(this.subnetFile);
  }

  /** The daemon that runs, or the last one that did. @throws {Error} If none was started. */
  get daemon(): Daemon {
    const last = this.#daemons.at(-1);
    if (last === undefined) throw new Error(`${this.name} has no daemon yet`);
    return last;
  }

  /** Every daemon so far, the oldest first. */
  get daemons(): readonly Daemon[] {
    return this.#daemons;
  }

  get containers(): readonly Container[] {
    return this.#containers;
  }

  /** The options that lead to the lab's store and this host's files. */
  get commonArgs(): readonly string[] {
    return [...this.#storeArgs, `-subnet-file=${this.subnetFile}`];
  }

  /** Starts flanneld; {@link waitReady} waits for it. */
  start(options: StartOptions = {}): Daemon {
    const args = [...this.commonArgs, `-healthz-port=${HEALTH_PORT}`, ...options.args ?? []];
    const daemon = new Daemon(this, args, options.env, options.wrap);
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Starts flanneld and waits until it is ready. */
  async startReady(options: StartOptions = {}): Promise<SubnetFile> {
    this.start(options);
    return await this.waitReady();
  }

  /**
   * Waits for /readyz, which is 200 once the subnet file is written, and reads that file.
   *
   * @throws {Error} If the daemon ends meanwhile or the time is up; with its log.
   */
  async waitReady(milliseconds: number = READY_LIMIT): Promise<SubnetFile> {
    const { daemon } = this;
    try {
      await until(`flanneld on ${this.name} to be ready`, async () => {
        if (!daemon.isRunning) return true;
        // A file of an earlier run says nothing about this one, but no file says "not yet" at no cost.
        await Deno.stat(this.subnetFile);
        return await this.probe("/readyz") === 200;
      }, milliseconds);
      if (!daemon.isRunning) {
        throw new Error(`flanneld on ${this.name} ended with ${(await daemon.ended()).code}`);
      }
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}; its log:\n${daemon.log}`);
    }
    return await readSubnetFile(this.subnetFile);
  }

  /** The status of an HTTP GET on the daemon's health port; undefined if nobody answers. */
  async probe(path: string): Promise<number | undefined> {
    const { stdout } = await this.#request(path);
    const status = /^HTTP\/1\.\d (\d+)/.exec(stdout)?.[1];
    return status === undefined ? undefined : Number(status);
  }

  /** The body of an HTTP GET on the daemon's health port. */
  async fetchText(path: string): Promise<string> {
    const { stdout } = await this.#request(path);
    const bodyAt = stdout.indexOf("\r\n\r\n");
    return bodyAt < 0 ? "" : stdout.slice(bodyAt + 4);
  }

  #request(path: string) {
    const script = `exec 3<>/dev/tcp/127.0.0.1/${HEALTH_PORT} || exit 1
printf 'GET ${path} HTTP/1.0\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3
cat <&3`;
    return this.exec(["bash", "-c", script], { mayFail: true });
  }

  /** Runs a command of flanneld here (`cleanup`, `config set FILE`) with the options of the lab's store. */
  async command(words: readonly string[], daemonCommand: readonly string[], input?: string) {
    return await this.exec([...daemonCommand, ...words, ...this.#storeArgs], {
      mayFail: true,
      ...(input === undefined ? {} : { input }),
    });
  }

  /** Makes the next container on this host's subnet. */
  async addContainer(): Promise<Container> {
    const number = this.#containers.length + 1;
    const file = await readSubnetFile(this.subnetFile);
    const container = await makeContainer(`${this.#prefix}h${this.number}c${number}`, this, file, number);
    this.#containers.push(container);
    return container;
  }

  /** Takes all containers and their bridge away. */
  async removeContainers(): Promise<void> {
    const lines = this.#containers.map(({ name }) => `netns delete ${name}`);
    this.#containers = [];
    if (lines.length > 0) await run(["ip", "-batch", "-"], { input: `${lines.join("\n")}\n` });
    await this.exec(["ip", "link", "delete", "cni0"], { mayFail: true });
  }

  /** One line for each route of `device` (all devices without one), as `ip route` prints it. */
  async routes(family: "-4" | "-6" = "-4", device?: string): Promise<string[]> {
    const words = device === undefined ? [] : ["dev", device];
    const { stdout } = await run(["ip", "-n", this.name, family, "route", "show", ...words], {
      mayFail: true,
    });
    return stdout.split("\n").map((line) => line.trim()).filter(Boolean);
  }

  /** One line for each permanent neighbour of `device`. */
  async neighbours(device: string): Promise<string[]> {
    const { stdout } = await run(
      ["ip", "-n", this.name, "neigh", "show", "dev", device, "nud", "permanent"],
      { mayFail: true },
    );
    return stdout.split("\n").map((line) => line.trim()).filter(Boolean);
  }

  /** One line for each forwarding entry of `device`. */
  async fdb(device: string): Promise<string[]> {
    const { stdout } = await run(["bridge", "-n", this.name, "fdb", "show", "dev", device], {
      mayFail: true,
    });
    return stdout.split("\n").map((line) => line.trim()).filter(Boolean);
  }
}
