/**
 * Writes what several interfaces see into one pcapng file, in the order of time, bounded by size and time.
 *
 * @module
 */
import { POLLIN, PollSet, WakeFd } from "../ffi/fd.ts";
import { wallClockNanoseconds } from "../ffi/wall_clock.ts";
import { type Clause, compile, type LinkHeader } from "./filter.ts";
import { PacketTap, SNAP_LENGTH, type TappedPacket } from "./packet_tap.ts";
import {
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  sectionHeader,
  type SectionInfo,
} from "./pcapng.ts";

/** An interface to listen on. */
export interface CaptureSource {
  readonly index: number;
  readonly name: string;
  /** What is taken of it, for people. */
  readonly description: string;
  /** Makes the filter; no clauses take everything. */
  readonly clauses: (header: LinkHeader) => readonly Clause[];
}

/** How much is taken at most. */
export interface CaptureLimits {
  readonly bytes: number;
  readonly milliseconds: number;
}

/** What an interface gave. */
export interface CaptureCount {
  readonly name: string;
  packets: number;
  /** Of the packets as they were on the wire. */
  bytes: number;
  /** Packets that the kernel dropped because this process was too slow. */
  dropped: number;
}

/** Why a capture ended. */
export type CaptureEnd = "time" | "size" | "asked" | "reader gone";

/** How many packets are written before the event loop has its turn. */
const PACKETS_A_TURN = 512;
/** The file's end, at most, whatever stands before it: a statistics block an interface. */
const STATISTICS_BYTES = 80;
/** Of what is written at once. */
const CHUNK_BYTES = 256 * 1024;

/** An interface that is listened on, and its packets that aren't written yet. */
interface OpenSource {
  readonly tap: PacketTap;
  readonly count: CaptureCount;
  waiting: TappedPacket[];
  next: number;
}

/** Takes the file's bytes, in order; false: nobody reads them any more. */
export type Sink = (bytes: Uint8Array) => boolean;

/** See the module's text. */
export class Recorder implements Disposable {
  readonly #sources: OpenSource[] = [];
  readonly #start = wallClockNanoseconds();
  readonly #sink: Sink;
  readonly #limits: CaptureLimits;
  #chunk: Uint8Array[] = [];
  #chunkBytes = 0;
  #written = 0;
  #end: CaptureEnd | undefined;

  /** Listens from now on. @throws {SystemError} EPERM: CAP_NET_RAW is missing. */
  constructor(sources: readonly CaptureSource[], info: SectionInfo, limits: CaptureLimits, sink: Sink) {
    this.#sink = sink;
    this.#limits = limits;
    try {
      for (const source of sources) this.#open(source);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.#write(sectionHeader(info));
    sources.forEach(({ name, description }, i) => {
      const linkType = this.#sources[i]!.tap.header === 14 ? LINKTYPE_ETHERNET : LINKTYPE_RAW;
      this.#write(interfaceDescription({ name, description, linkType, snapLength: SNAP_LENGTH }));
    });
    this.#flush();
  }

  #open({ index, name, clauses }: CaptureSource): void {
    const tap = new PacketTap(index, (header) => compile(clauses(header), SNAP_LENGTH));
    this.#sources.push({ tap, count: { name, packets: 0, bytes: 0, dropped: 0 }, waiting: [], next: 0 });
  }

  /** What was taken so far. */
  get counts(): readonly CaptureCount[] {
    return this.#sources.map(({ count }) => count);
  }

  /** Writes until a limit or the signal ends it; then the file is whole. */
  async run(signal: AbortSignal): Promise<CaptureEnd> {
    using wake = new WakeFd();
    const stop = () => wake.wake();
    signal.addEventListener("abort", stop);
    const poll = new PollSet(
      [wake, ...this.#sources.map(({ tap }) => tap)].map(({ fd }) => ({ fd, events: POLLIN })),
    );
    const deadline = performance.now() + this.#limits.milliseconds;
    try {
      while (this.#end === undefined && !signal.aborted) {
        const left = deadline - performance.now();
        if (left <= 0) this.#end = "time";
        else if (await poll.wait(Math.ceil(left)) > 0) this.#drain(PACKETS_A_TURN);
      }
      // What the kernel has already is part of it.
      if (this.#end !== "size" && this.#end !== "reader gone") this.#drain(Infinity);
      this.#finish();
      return this.#end ?? "asked";
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Writes what is there, the oldest first over all interfaces. */
  #drain(most: number): void {
    const cutoff = wallClockNanoseconds();
    for (let written = 0; written < most && this.#end === undefined; written++) {
      const oldest = this.#oldest();
      if (!oldest) break;
      const packet = oldest.waiting[oldest.next]!;
      // The end must not wait for a network that never rests.
      if (most === Infinity && packet.at > cutoff) break;
      oldest.next++;
      this.#record(oldest, packet);
    }
    this.#flush();
  }

  #oldest(): OpenSource | undefined {
    let oldest: OpenSource | undefined;
    for (const source of this.#sources) {
      if (source.next === source.waiting.length) {
        source.waiting = source.tap.read();
        source.next = 0;
      }
      const packet = source.waiting[source.next];
      if (packet && (!oldest || packet.at < oldest.waiting[oldest.next]!.at)) oldest = source;
    }
    return oldest;
  }

  #record(source: OpenSource, { bytes, length, at, isOutgoing, kind }: TappedPacket): void {
    // PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST
    const reception = isOutgoing ? 0 : [1, 3, 2, 4][kind] ?? 0;
    const interfaceId = this.#sources.indexOf(source);
    const block = enhancedPacket({ interfaceId, at, bytes, length, isOutgoing, reception });
    const rest = this.#sources.length * STATISTICS_BYTES;
    if (this.#written + block.length + rest > this.#limits.bytes) {
      this.#end ??= "size";
      return;
    }
    source.count.packets++;
    source.count.bytes += length;
    this.#write(block);
  }

  #finish(): void {
    const end = wallClockNanoseconds();
    this.#sources.forEach(({ tap, count }, interfaceId) => {
      count.dropped = tap.dropped();
      this.#write(interfaceStatistics({
        ...{ interfaceId, start: this.#start, end },
        received: count.packets + count.dropped,
        dropped: count.dropped,
      }));
    });
    this.#flush();
  }

  #write(block: Uint8Array): void {
    this.#chunk.push(block);
    this.#chunkBytes += block.length;
    this.#written += block.length;
    if (this.#chunkBytes >= CHUNK_BYTES) this.#flush();
  }

  #flush(): void {
    if (this.#chunkBytes === 0 || this.#end === "reader gone") return;
    const all = new Uint8Array(this.#chunkBytes);
    let at = 0;
    for (const block of this.#chunk) {
      all.set(block, at);
      at += block.length;
    }
    [this.#chunk, this.#chunkBytes] = [[], 0];
    if (!this.#sink(all)) this.#end = "reader gone";
  }

  [Symbol.dispose](): void {
    for (const { tap } of this.#sources) tap[Symbol.dispose]();
  }
}
