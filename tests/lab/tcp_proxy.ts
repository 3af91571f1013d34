/**
 * A TCP proxy on the loopback whose lines can be cut, muted and healed: a network that fails on command.
 *
 * @module
 */

/** Forwards connections to one target. */
export class TcpProxy implements AsyncDisposable {
  readonly port: number;
  readonly #target: Deno.ConnectOptions;
  readonly #lines = new Set<Deno.Conn>();
  readonly #work = new Set<Promise<void>>();
  #listener: Deno.Listener | undefined;
  #mute = false;
  #heard = Promise.withResolvers<void>();
  #budget = Infinity;

  /** @param target Where to forward to, like `http://127.0.0.1:2379` or `127.0.0.1:2379`. */
  constructor(target: string) {
    const [hostname, port] = target.replace(/^https?:\/\//, "").split(":") as [string, string];
    this.#target = { hostname, port: Number(port) };
    this.port = this.#listen(0);
  }

  /** For `-etcd-endpoints`. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  #listen(port: number): number {
    const listener = Deno.listen({ hostname: "127.0.0.1", port });
    this.#listener = listener;
    this.#track((async () => {
      for await (const line of listener) this.#track(this.#forward(line));
    })());
    return (listener.addr as Deno.NetAddr).port;
  }

  #track(work: Promise<void>): void {
    const tracked = work.catch(() => {}).finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  async #forward(line: Deno.Conn): Promise<void> {
    this.#lines.add(line);
    const target = await Deno.connect(this.#target).catch(() => undefined);
    if (target) {
      this.#lines.add(target);
      await Promise.race([this.#copy(line, target, false), this.#copy(target, line, true)]).catch(() => {});
    }
    for (const end of [line, target]) if (end) this.#close(end);
  }

  async #copy(from: Deno.Conn, to: Deno.Conn, counted: boolean): Promise<void> {
    const buffer = new Uint8Array(16 * 1024);
    for (;;) {
      const length = await from.read(buffer);
      if (length === null) return;
      while (this.#mute) await this.#heard.promise;
      if (counted && (this.#budget -= length) < 0) return;
      for (let sent = 0; sent < length;) sent += await to.write(buffer.subarray(sent, length));
    }
  }

  #close(end: Deno.Conn): void {
    if (!this.#lines.delete(end)) return;
    try {
      end.close();
    } catch {
      // The other side was faster.
    }
  }

  /** Closes all lines; new ones are refused until {@link heal}. */
  cut(): void {
    this.#listener?.close();
    this.#listener = undefined;
    this.dropLines();
  }

  /** Closes all lines; new ones are welcome. */
  dropLines(): void {
    for (const line of [...this.#lines]) this.#close(line);
  }

  /** Lines stay open, and nothing passes any more, as if every packet were dropped. */
  mute(): void {
    this.#mute = true;
  }

  /** Each line is cut once so many bytes have come from the target, counted from now over all lines. */
  limit(bytes: number): void {
    this.#budget = bytes;
  }

  /** Whether {@link limit} has cut a line. */
  get broken(): boolean {
    return this.#budget < 0;
  }

  /** Ends {@link cut}, {@link mute} and {@link limit}. */
  heal(): void {
    this.#mute = false;
    this.#budget = Infinity;
    this.#heard.resolve();
    this.#heard = Promise.withResolvers();
    if (!this.#listener) this.#listen(this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#mute = false;
    this.#heard.resolve();
    await Promise.all(this.#work);
  }
}
