/**
 * Reading the notifications of multicast groups, of whatever netlink protocol.
 *
 * @module
 */
import { ENOBUFS, SystemError } from "../ffi/errno.ts";
import { POLLIN, PollSet, setSocketOption, WakeFd } from "../ffi/fd.ts";
import * as c from "./constants.ts";
import { MalformedMessageError, type Message } from "./reader.ts";
import { NetlinkTransport } from "./transport.ts";

/** What is listened to, and what is made of it. */
export interface ListenerOptions<T> {
  /** NETLINK_ number. @default NETLINK_ROUTE */
  readonly protocol?: number;
  /** Multicast groups, as the protocol numbers them. */
  readonly groups: readonly number[];
  /** Called with the socket before it joins the groups. */
  readonly prepare?: (fd: number) => void;
  /** Reads a message, which is valid only during the call; undefined for one that says nothing. */
  readonly decode: (message: Message) => T | undefined;
  /** Stands for messages that were lost. */
  readonly overrun: T;
  /** Ends the listener. */
  readonly signal?: AbortSignal;
  /** Size of the kernel's buffer in bytes: small ones overrun soon. @default 8 MiB */
  readonly receiveBufferBytes?: number;
}

const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
/** How many datagrams are read before the event loop has its turn. */
const DATAGRAMS_A_TURN = 256;

/** One reader at a time; what isn't read waits in the kernel's buffer. */
export class NetlinkListener<T> implements AsyncIterable<T>, AsyncDisposable {
  readonly #transport: NetlinkTransport;
  readonly #options: ListenerOptions<T>;
  readonly #wake = new WakeFd();
  readonly #poll: PollSet;
  readonly #stop = () => void this[Symbol.asyncDispose]();
  /** The poll that is under way: its descriptors must stay open until it ends. */
  #waiting: Promise<number> | undefined;
  #closed = false;

  private constructor(transport: NetlinkTransport, options: ListenerOptions<T>) {
    this.#transport = transport;
    this.#options = options;
    this.#poll = new PollSet([
      { fd: transport.fd, events: POLLIN },
      { fd: this.#wake.fd, events: POLLIN },
    ]);
    options.signal?.addEventListener("abort", this.#stop);
  }

  /** Listens from now on. @throws {SystemError} If the socket can't be made. */
  static open<T>(options: ListenerOptions<T>): NetlinkListener<T> {
    options.signal?.throwIfAborted();
    const { protocol, receiveBufferBytes = RECEIVE_BUFFER_BYTES } = options;
    const transport = new NetlinkTransport({
      receiveBufferBytes,
      ...(protocol === undefined ? {} : { protocol }),
    });
    try {
      transport.bind();
      options.prepare?.(transport.fd);
      for (const group of options.groups) {
        setSocketOption(transport.fd, c.SOL_NETLINK, c.NETLINK_ADD_MEMBERSHIP, group, `group ${group}`);
      }
      return new NetlinkListener(transport, options);
    } catch (error) {
      transport[Symbol.dispose]();
      throw error;
    }
  }

  /** What comes, as it comes, until the listener is disposed or its signal fires. @throws {SystemError} */
  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    while (!this.#closed) {
      if (this.#waiting) throw new Error("A NetlinkListener has one reader at a time");
      try {
        this.#waiting = this.#poll.wait();
        await this.#waiting;
      } finally {
        this.#waiting = undefined;
      }
      if (this.#closed) return;
      yield* this.#read();
    }
  }

  #read(): T[] {
    const { decode, overrun } = this.#options;
    const values: T[] = [];
    const visit = (message: Message) => {
      const value = decode(message);
      if (value !== undefined) values.push(value);
    };
    for (let i = 0; i < DATAGRAMS_A_TURN; i++) {
      try {
        if (!this.#transport.tryReceive(visit)) break;
      } catch (error) {
        if (!isLoss(error)) throw error;
        values.push(overrun);
      }
    }
    return values;
  }

  /** Ends the iteration and closes the socket. May be called more than once. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.signal?.removeEventListener("abort", this.#stop);
    this.#wake.wake();
    await this.#waiting;
    this.#transport[Symbol.dispose]();
    this.#wake[Symbol.dispose]();
  }
}

/** Notifications were dropped, or one made no sense: either way something happened that isn't known. */
function isLoss(error: unknown): boolean {
  return error instanceof MalformedMessageError || (error instanceof SystemError && error.errno === ENOBUFS);
}
