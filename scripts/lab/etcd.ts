/**
 * A real etcd for tests: own folder, own ports, gone when disposed.
 *
 * @module
 */
import type { Certificates } from "./certificates.ts";

/** How to start an etcd. */
export interface EtcdOptions {
  /** Address to listen on. @default "127.0.0.1" */
  readonly host?: string;
  /** Port for clients; free ones are looked for where none is given. */
  readonly port?: number;
  /** Put before the command, as `["ip", "netns", "exec", NAME]` (it must end in an exec: signals go to its pid). */
  readonly enter?: readonly string[];
  /** Serve TLS with this server certificate; `clientAuth` asks clients for one of the same authority. */
  readonly tls?: { readonly certificates: Certificates; readonly clientAuth?: boolean };
  /** Turn authentication on, with this password for `root`. */
  readonly rootPassword?: string;
  /** More options for the command line. */
  readonly args?: readonly string[];
}

const READY = /ready to serve client requests|serving (insecure )?client (requests|traffic)/;
const START_ATTEMPTS = 3;
const START_TIMEOUT_MS = 15_000;

/** Whether this machine has an etcd; tests say so where they must be skipped. */
export function hasEtcd(): boolean {
  try {
    return new Deno.Command("etcd", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

/** A running etcd. */
export class Etcd implements AsyncDisposable {
  #process: Deno.ChildProcess | undefined;
  #log = Promise.resolve();

  private constructor(
    /** Data directory and the rest; removed at the end. */
    readonly folder: string,
    readonly host: string,
    readonly port: number,
    readonly peerPort: number,
    readonly options: EtcdOptions,
  ) {}

  /** Starts one and waits until it serves. @throws {Error} With etcd's own last words, if it doesn't. */
  static async start(options: EtcdOptions = {}): Promise<Etcd> {
    for (let attempt = 1;; attempt++) {
      const folder = await Deno.makeTempDir({ prefix: "flanneld-etcd-" });
      const host = options.host ?? "127.0.0.1";
      const etcd = new Etcd(folder, host, options.port ?? freePort(), freePort(), options);
      try {
        await etcd.start();
        if (options.rootPassword !== undefined) await etcd.enableAuth(options.rootPassword);
        return etcd;
      } catch (error) {
        await etcd[Symbol.asyncDispose]();
        // Somebody else may have taken the port between the look and the start.
        if (attempt === START_ATTEMPTS || !/address already in use/.test(String(error))) throw error;
      }
    }
  }

  /** For `-etcd-endpoints`. */
  get endpoint(): string {
    const host = this.host === "0.0.0.0" ? "127.0.0.1" : this.host;
    return this.#url(host.includes(":") ? `[${host}]` : host, this.port);
  }

  /** The server's process id. @throws {Error} If it isn't running. */
  get pid(): number {
    if (!this.#process) throw new Error("This etcd isn't running");
    return this.#process.pid;
  }

  #url(host: string, port: number): string {
    return `${this.options.tls ? "https" : "http"}://${host}:${port}`;
  }

  /** Starts the server again on its data and port after {@link stop}. */
  async start(): Promise<void> {
    const [command, ...args] = [...this.options.enter ?? [], "etcd", ...this.#args()];
    const child = new Deno.Command(command!, { args, stdin: "null", stdout: "null", stderr: "piped" })
      .spawn();
    this.#process = child;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#log = readLog(child.stderr, (line) => READY.test(line) && resolve(), reject);
    const timer = setTimeout(
      () => reject(new Error(`etcd didn't start within ${START_TIMEOUT_MS} ms`)),
      START_TIMEOUT_MS,
    );
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  #args(): string[] {
    const { tls, args } = this.options;
    const host = this.host.includes(":") ? `[${this.host}]` : this.host;
    const peer = `http://127.0.0.1:${this.peerPort}`;
    const certificates = tls?.certificates;
    return [
      ...["--name", "lab", "--data-dir", `${this.folder}/data`, "--logger", "zap"],
      ...["--listen-client-urls", this.#url(host, this.port), "--advertise-client-urls", this.endpoint],
      ...[
        "--listen-peer-urls",
        peer,
        "--initial-advertise-peer-urls",
        peer,
        "--initial-cluster",
        `lab=${peer}`,
      ],
      // One member needs no patience: it elects itself after this time.
      ...["--heartbeat-interval", "10", "--election-timeout", "100"],
      // No machine crashes here: what was written to a file survives the process. Slow disks don't count.
      "--unsafe-no-fsync",
      // The cheapest that bcrypt has: passwords here guard nothing.
      ...["--bcrypt-cost", "4"],
      ...certificates ? ["--cert-file", certificates.serverCert, "--key-file", certificates.serverKey] : [],
      ...certificates && tls?.clientAuth ? ["--client-cert-auth", "--trusted-ca-file", certificates.ca] : [],
      ...args ?? [],
    ];
  }

  /** Ends the server (SIGKILL, as a crash would); its data stays. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (!child) return;
    this.#process = undefined;
    child.kill("SIGKILL");
    await child.status;
    await this.#log;
  }

  /** Makes it deaf: connections stay open and nothing is answered. */
  pause(): void {
    Deno.kill(this.pid, "SIGSTOP");
  }

  /** Ends {@link pause}. */
  resume(): void {
    Deno.kill(this.pid, "SIGCONT");
  }

  /** Runs etcdctl against this server. @returns What it printed. @throws {Error} With its stderr, if it fails. */
  ctl(...args: string[]): Promise<string> {
    return this.ctlWithInput("", ...args);
  }

  /** As {@link ctl}, with something to read on stdin. */
  async ctlWithInput(input: string, ...args: string[]): Promise<string> {
    const { tls, enter } = this.options;
    const certificates = tls?.certificates;
    const [command, ...rest] = [
      ...enter ?? [],
      ...["etcdctl", "--endpoints", this.endpoint, "--command-timeout", "20s"],
      ...certificates
        ? ["--cacert", certificates.ca, "--cert", certificates.clientCert, "--key", certificates.clientKey]
        : [],
      ...this.#password === undefined ? [] : ["--user", `root:${this.#password}`],
      ...args,
    ];
    const child = new Deno.Command(command!, {
      args: rest,
      env: { ETCDCTL_API: "3" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    // etcdctl may end before it has read everything; its exit status says more.
    writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
    const output = await child.output();
    if (!output.success) {
      throw new Error(`etcdctl ${args.join(" ")} failed: ${new TextDecoder().decode(output.stderr).trim()}`);
    }
    return new TextDecoder().decode(output.stdout);
  }

  /** Who etcdctl is, once users count. */
  #password: string | undefined;

  /** Makes the user `root` and turns authentication on. */
  async enableAuth(password: string): Promise<void> {
    await this.ctl("user", "add", `root:${password}`);
    await this.ctl("user", "grant-role", "root", "root");
    await this.ctl("auth", "enable");
    this.#password = password;
  }

  /** Turns authentication off; the users stay. */
  async disableAuth(): Promise<void> {
    await this.ctl("auth", "disable");
    this.#password = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Deno.remove(this.folder, { recursive: true }).catch(() => {});
  }
}

/** A TCP port that is free on the loopback at this moment. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Reads the log to its end; rejects with its last lines if it ends before the server is ready. */
async function readLog(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
  onEnd: (error: Error) => void,
): Promise<void> {
  const last: string[] = [];
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      onLine(line);
      last.push(line);
      if (last.length > 5) last.shift();
    }
  }
  onEnd(new Error(`etcd ended: ${last.join("\n")}`));
}
