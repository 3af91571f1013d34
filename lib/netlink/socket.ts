/**
 * A netlink socket for requests.
 *
 * The kernel works a request off within the send itself, so that every call here is synchronous: the answer
 * lies in the socket's buffer when the send returns.
 *
 * @module
 */
import { EAGAIN, EINTR, ENOBUFS, SystemError } from "../ffi/errno.ts";
import * as c from "./constants.ts";
import { type AckError, NetlinkError, readAck } from "./error.ts";
import type { Message } from "./reader.ts";
import { NetlinkTransport, type TransportOptions } from "./transport.ts";
import { MessageWriter } from "./writer.ts";

/** One request: what it is about, for errors, and how it is written. */
export interface NetlinkRequest {
  /** What is being done, in the words of an error: `add the route 10.5.1.0/24`. Called only for errors. */
  describe(): string;
  /** Message type (RTM_). */
  readonly type: number;
  /** NLM_F_ flags beyond REQUEST, ACK and DUMP, which the socket sets. */
  readonly flags: number;
  /** Writes the body: the fixed structure and the attributes. */
  encode(writer: MessageWriter): void;
}

/** A request of a batch that failed. */
export interface BatchFailure {
  /** Its place in the batch. */
  readonly index: number;
  readonly error: NetlinkError;
}

/** For the acknowledgements of a whole chunk, were all of them errors. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/**
 * Bounds of what one send carries: well below the send buffer's usual 208 KiB, and few enough messages that
 * their negative acknowledgements (about 1 KiB each to the kernel's accounting) fit an unprivileged buffer too.
 */
const CHUNK_BYTES = 32 * 1024;
const CHUNK_MESSAGES = 128;
/** How often a dump that others' changes interrupt is begun anew. */
const DUMP_ATTEMPTS = 10;
/** An answer is there at once; a socket that waits longer than this has lost it. */
const ANSWER_TIMEOUT_SECONDS = 10;
/** Sequence numbers start anew above this; a chunk's numbers must be consecutive. */
const MAX_SEQUENCE = 0x7fff_0000;

/** See the module's text. A socket isn't to be used by the `parse` of one of its own calls. */
export class NetlinkSocket implements Disposable {
  /** The address that the kernel gave to this socket: nlmsg_pid of notifications that it causes. */
  readonly portId: number;
  readonly #transport: NetlinkTransport;
  readonly #writer = new MessageWriter(CHUNK_BYTES);
  #sequence = 0;

  private constructor(transport: NetlinkTransport) {
    this.#transport = transport;
    this.portId = transport.bind();
    transport.setTimeout(ANSWER_TIMEOUT_SECONDS);
  }

  /**
   * Opens a socket in the process's network namespace.
   *
   * @throws {SystemError} As socket(2) and bind(2).
   */
  static open(options: Partial<TransportOptions> = {}): NetlinkSocket {
    const transport = new NetlinkTransport({ receiveBufferBytes: RECEIVE_BUFFER_BYTES, ...options });
    try {
      return new NetlinkSocket(transport);
    } catch (error) {
      transport[Symbol.dispose]();
      throw error;
    }
  }

  /** Sends a request and waits for its acknowledgement. @throws {NetlinkError} If the kernel refuses it. */
  execute(request: NetlinkRequest): void {
    this.query(request, () => undefined);
  }

  /**
   * Sends a request that is answered by one message.
   *
   * @param parse Reads the answer, which is valid only during the call.
   * @returns What `parse` made of the answer; undefined if there was none.
   * @throws {NetlinkError} If the kernel refuses it.
   */
  query<T>(request: NetlinkRequest, parse: (message: Message) => T | undefined): T | undefined {
    const sequence = this.#sendOne(request, c.NLM_F_REQUEST | c.NLM_F_ACK);
    let result: T | undefined;
    this.#converse(request, (message) => {
      if (message.sequence !== sequence) return false;
      if (message.type !== c.NLMSG_ERROR) {
        result ??= parse(message);
        return false;
      }
      throwIf(request, readAck(message));
      return true;
    });
    return result;
  }

  /**
   * Reads a whole table. A dump that was interrupted by changes is repeated, so that the result is one state.
   *
   * @param parse Reads one message, which is valid only during the call; what it gives undefined for is left out.
   * @throws {NetlinkError} If the kernel refuses it, or if it is interrupted 10 times (EINTR).
   */
  dump<T>(request: NetlinkRequest, parse: (message: Message) => T | undefined): T[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const result = this.#dumpOnce(request, parse);
      if (result) return result;
    }
    throw new NetlinkError(request.describe(), {
      errno: EINTR,
      text: `others' changes interrupted the dump ${DUMP_ATTEMPTS} times`,
    });
  }

  #dumpOnce<T>(request: NetlinkRequest, parse: (message: Message) => T | undefined): T[] | undefined {
    const sequence = this.#sendOne(request, c.NLM_F_REQUEST | c.NLM_F_DUMP);
    const result: T[] = [];
    let interrupted = false;
    let fault: unknown;
    this.#converse(request, (message) => {
      if (message.sequence !== sequence) return false;
      if (message.flags & c.NLM_F_DUMP_INTR) interrupted = true;
      if (message.type === c.NLMSG_DONE || message.type === c.NLMSG_ERROR) {
        throwIf(request, readAck(message, message.type === c.NLMSG_DONE));
        return true;
      }
      try {
        const value = parse(message);
        if (value !== undefined) result.push(value);
      } catch (error) {
        // The dump must be read to its end, or the socket is of no more use (EBUSY).
        fault ??= error;
      }
      return false;
    });
    if (fault !== undefined) throw fault;
    return interrupted ? undefined : result;
  }

  /**
   * Sends many requests in few system calls. Each stands for itself: those after a failure are carried out too.
   *
   * Only the last request of a chunk asks for an acknowledgement; the kernel always reports errors, and in order.
   *
   * @returns The requests that the kernel refused, in order; empty if all went well.
   * @throws {NetlinkError} If the socket itself fails.
   */
  batch(requests: readonly NetlinkRequest[]): BatchFailure[] {
    const failures: BatchFailure[] = [];
    for (let first = 0; first < requests.length;) {
      const { end, base } = this.#sendChunk(requests, first);
      const failed = this.#chunkFailures(requests, first, end, base) ?? this.#oneByOne(requests, first, end);
      for (const failure of failed) failures.push(failure);
      first = end;
    }
    return failures;
  }

  /** Sends as many requests as a chunk takes, from `first` up to `end`; the first has the number `base`. */
  #sendChunk(requests: readonly NetlinkRequest[], first: number): { end: number; base: number } {
    const writer = this.#writer;
    writer.reset();
    const base = this.#nextSequence();
    let end = first;
    while (end < requests.length && end - first < CHUNK_MESSAGES && writer.length < CHUNK_BYTES) {
      this.#write(requests[end]!, c.NLM_F_REQUEST, base + end - first);
      end++;
    }
    this.#sequence = base + end - first;
    writer.addFlags(c.NLM_F_ACK);
    this.#send(requests[end - 1]!);
    return { end, base };
  }

  /** What a chunk's acknowledgements say; undefined if the kernel had to drop some of them. */
  #chunkFailures(
    requests: readonly NetlinkRequest[],
    first: number,
    end: number,
    base: number,
  ): BatchFailure[] | undefined {
    const failures: BatchFailure[] = [];
    try {
      this.#converse(requests[end - 1]!, (message) => {
        const index = first + message.sequence - base;
        if (message.type !== c.NLMSG_ERROR || index < first || index >= end) return false;
        const reason = readAck(message);
        if (reason) failures.push({ index, error: new NetlinkError(requests[index]!.describe(), reason) });
        return index === end - 1;
      });
      return failures;
    } catch (error) {
      if (!(error instanceof NetlinkError && error.errno === ENOBUFS)) throw error;
      this.#transport.drain();
      return undefined;
    }
  }

  /** A chunk again, for its lost answers: what is there or gone already then fails as existing or missing. */
  #oneByOne(requests: readonly NetlinkRequest[], first: number, end: number): BatchFailure[] {
    const failures: BatchFailure[] = [];
    for (let index = first; index < end; index++) {
      try {
        this.execute(requests[index]!);
      } catch (error) {
        if (!(error instanceof NetlinkError) || error.errno === ENOBUFS) throw error;
        failures.push({ index, error });
      }
    }
    return failures;
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  #nextSequence(): number {
    return this.#sequence = this.#sequence >= MAX_SEQUENCE ? 1 : this.#sequence + 1;
  }

  /** Sends a request by itself. @returns Its sequence number. */
  #sendOne(request: NetlinkRequest, flags: number): number {
    const sequence = this.#nextSequence();
    this.#writer.reset();
    this.#write(request, flags, sequence);
    this.#send(request);
    return sequence;
  }

  #write(request: NetlinkRequest, flags: number, sequence: number): void {
    this.#writer.begin(request.type, request.flags | flags, sequence);
    request.encode(this.#writer);
    this.#writer.end();
  }

  #send(request: NetlinkRequest): void {
    try {
      this.#transport.send(this.#writer.written());
    } catch (error) {
      throw asNetlinkError(request, error);
    }
  }

  /** Receives until `visit` says that a message was the last one; the rest of its datagram is visited too. */
  #converse(request: NetlinkRequest, visit: (message: Message) => boolean): void {
    let done = false;
    while (!done) {
      try {
        this.#transport.receive((message) => {
          if (visit(message)) done = true;
        });
      } catch (error) {
        throw asNetlinkError(request, error);
      }
    }
  }
}

/** A failure of the socket as one of the request that met it; other errors as they are. */
function asNetlinkError(request: NetlinkRequest, error: unknown): unknown {
  if (!(error instanceof SystemError) || error instanceof NetlinkError) return error;
  const reason: AckError = error.errno === EAGAIN
    ? { errno: EAGAIN, text: `the kernel gave no answer in ${ANSWER_TIMEOUT_SECONDS} s` }
    : { errno: error.errno };
  return new NetlinkError(request.describe(), reason, { cause: error });
}

function throwIf(request: NetlinkRequest, reason: AckError | undefined): void {
  if (reason) throw new NetlinkError(request.describe(), reason);
}
