/**
 * Whether the tables of legacy iptables have changed, without running a program.
 *
 * Unlike nftables they have no generation number, but getsockopt(2) gives a whole table as the kernel holds it
 * (linux/netfilter_ipv4/ip_tables.h and ip6_tables.h). It is compared with what was read before.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { FAMILIES, type Family } from "../net/family.ts";
import { check } from "../ffi/errno.ts";
import { closeFd } from "../ffi/fd.ts";
import { readKernelFile } from "../ffi/kernel_file.ts";
import { cString, libc } from "../ffi/libc.ts";

const SOCK_RAW_CLOEXEC = 3 | 0x80000;
const IPPROTO_RAW = 255;
/** IPT_SO_GET_INFO and IPT_SO_GET_ENTRIES; IPv6 has the same numbers at its own level. */
const GET_INFO = 64, GET_ENTRIES = 65;
/** struct ipt_getinfo: char name[32]; 11 numbers; num_entries at 76; size at 80. */
const INFO_BYTES = 84, INFO_SIZE_AT = 80;
/** struct ipt_get_entries: char name[32]; unsigned int size; padding; the entries. */
const ENTRIES_HEAD_BYTES = 40, ENTRIES_SIZE_AT = 32;
const TABLES = ["filter", "nat"];

/** Where the parts of struct ipt_entry and ip6t_entry lie that matter here. */
interface EntryLayout {
  /** SOL_IP or SOL_IPV6. */
  readonly level: number;
  /** u16: length of the whole entry. */
  readonly nextOffsetAt: number;
  /** u64 packets, u64 bytes. */
  readonly countersAt: number;
  readonly names: string;
}

const LAYOUTS: Readonly<Record<Family["version"], EntryLayout>> = {
  4: { level: 0, nextOffsetAt: 90, countersAt: 96, names: "/proc/self/net/ip_tables_names" },
  6: { level: 41, nextOffsetAt: 142, countersAt: 152, names: "/proc/self/net/ip6_tables_names" },
};

const COUNTERS_BYTES = 16;

/** Watches the tables of this process's network namespace. */
export class LegacyTables implements Disposable {
  readonly #sockets = new Map<Family, number>();
  #last = new Map<string, Uint8Array<ArrayBuffer>>();
  #stamp = 0;

  /**
   * A number that is another after every change of the nat and filter tables; undefined where the tables can't
   * be read (without CAP_NET_ADMIN, or by a 32-bit program).
   */
  stamp(): number | undefined {
    try {
      const now = this.#readAll();
      if (!sameTables(this.#last, now)) this.#stamp++;
      this.#last = now;
      return this.#stamp;
    } catch {
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#sockets.values()) closeFd(fd);
    this.#sockets.clear();
  }

  #readAll(): Map<string, Uint8Array<ArrayBuffer>> {
    const tables = new Map<string, Uint8Array<ArrayBuffer>>();
    for (const family of FAMILIES) {
      // Asking for a table that isn't there would make it.
      for (const name of existingTables(LAYOUTS[family.version].names)) {
        if (TABLES.includes(name)) tables.set(`${family.name} ${name}`, this.#readTable(family, name));
      }
    }
    return tables;
  }

  #readTable(family: Family, name: string): Uint8Array<ArrayBuffer> {
    const layout = LAYOUTS[family.version];
    const fd = this.#socket(family);
    const info = new DataView(new ArrayBuffer(INFO_BYTES));
    new Uint8Array(info.buffer).set(cString(name));
    getOption(fd, layout.level, GET_INFO, info);
    const size = info.getUint32(INFO_SIZE_AT, true);
    const entries = new DataView(new ArrayBuffer(ENTRIES_HEAD_BYTES + size));
    new Uint8Array(entries.buffer).set(cString(name));
    entries.setUint32(ENTRIES_SIZE_AT, size, true);
    // A change between the two calls is an error here (EAGAIN), and so no wrong answer.
    getOption(fd, layout.level, GET_ENTRIES, entries);
    clearCounters(entries, layout);
    return new Uint8Array(entries.buffer);
  }

  #socket(family: Family): number {
    let fd = this.#sockets.get(family);
    if (fd === undefined) {
      fd = check(libc().socket(family.af, SOCK_RAW_CLOEXEC, IPPROTO_RAW), "open a raw socket");
      this.#sockets.set(family, fd);
    }
    return fd;
  }
}

function getOption(fd: number, level: number, option: number, value: DataView<ArrayBuffer>): void {
  const length = new Uint32Array([value.byteLength]);
  check(libc().getsockopt(fd, level, option, value, length), "read an iptables table");
}

/** Sets the counts of packets to 0: they are no change. */
function clearCounters(entries: DataView<ArrayBuffer>, layout: EntryLayout): void {
  for (let at = ENTRIES_HEAD_BYTES; at + layout.countersAt + COUNTERS_BYTES <= entries.byteLength;) {
    entries.setBigUint64(at + layout.countersAt, 0n);
    entries.setBigUint64(at + layout.countersAt + 8, 0n);
    const length = entries.getUint16(at + layout.nextOffsetAt, true);
    if (length === 0) return;
    at += length;
  }
}

function existingTables(file: string): string[] {
  try {
    return readKernelFile(file).split("\n").filter((name) => name !== "");
  } catch {
    return []; // the module isn't loaded
  }
}

function sameTables(a: Map<string, Uint8Array>, b: Map<string, Uint8Array>): boolean {
  if (a.size !== b.size) return false;
  for (const [name, bytes] of a) {
    const other = b.get(name);
    if (!other || Buffer.compare(bytes, other) !== 0) return false;
  }
  return true;
}
