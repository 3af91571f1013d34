/**
 * A port of this machine that leads to a port inside a namespace: for a browser that isn't in it.
 *
 * A Unix socket has a path and no network namespace, so a helper process inside listens on one.
 *
 * @module
 */
import type { Namespace } from "./namespace.ts";
import { until } from "./process.ts";

/** Passes connections on until it is disposed. */
export class Relay implements AsyncDisposable {
  readonly #listener: Deno.TcpListener;
  readonly #child: Deno.ChildProcess;
  readonly #path: string;
  readonly #connections = new Set<Deno.Conn>();

  private constructor(child: Deno.ChildProcess, path: string) {
    this.#child = child;
    this.#path = path;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    void this.#accept();
  }

  /** @param folder For the socket. @param port Inside the namespace, on 127.0.0.1. */
  static async open(namespace: Namespace, folder: string, port: number): Promise<Relay> {
    const path = `${folder}/relay-${crypto.randomUUID().slice(0, 8)}.sock`;
    const code = `for await (const one of Deno.listen({ transport: "unix", path: ${JSON.stringify(path)} })) {
      Deno.connect({ hostname: "127.0.0.1", port: ${port} }).then((other) => Promise.allSettled([
        one.readable.pipeTo(other.writable), other.readable.pipeTo(one.writable)]), () => one.close());
    }`;
    const child = namespace.spawn([Deno.execPath(), "eval", code]);
    void child.stdout.cancel();
    void child.stderr.cancel();
    await until("the relay to listen", async () => (await Deno.stat(path)).isSocket, 10_000);
    return new Relay(child, path);
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** Ends all connections: those that come connect anew. */
  cut(): void {
    for (const connection of this.#connections) close(connection);
  }

  async #accept(): Promise<void> {
    for await (const one of this.#listener) void this.#pass(one);
  }

  async #pass(one: Deno.Conn): Promise<void> {
    const other = await Deno.connect({ transport: "unix", path: this.#path });
    this.#connections.add(one).add(other);
    await Promise.allSettled([one.readable.pipeTo(other.writable), other.readable.pipeTo(one.writable)]);
    this.#connections.delete(one);
    this.#connections.delete(other);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // The pipes closed it.
  }
}
