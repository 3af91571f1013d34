import assert from "node:assert/strict";
import { filterProgram } from "../../lib/netlink/bpf.ts";
import {
  AttributeReader,
  MalformedMessageError,
  type Message,
  readMessages,
} from "../../lib/netlink/reader.ts";
import { MessageWriter } from "../../lib/netlink/writer.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { ipOf, parseIp } from "../../lib/net/ip.ts";
import { macFromBytes } from "../../lib/net/mac.ts";
import { type RandomSource, randomSource } from "../../scripts/lab/random.ts";

/** One kind of attribute: a random value, how it is written, how it is read. */
interface AttributeKind {
  make(random: RandomSource): unknown;
  // deno-lint-ignore no-explicit-any -- each kind has a value type of its own
  write(writer: MessageWriter, type: number, value: any): void;
  read(reader: AttributeReader): unknown;
}

const KINDS: readonly AttributeKind[] = [
  {
    make: (random) => random.below(256),
    write: (writer, type, value) => writer.attributeU8(type, value),
    read: (reader) => reader.u8(),
  },
  {
    make: (random) => random.below(65536),
    write: (writer, type, value) => writer.attributeU16be(type, value),
    read: (reader) => reader.u16be(),
  },
  {
    make: (random) => random.below(2 ** 32),
    write: (writer, type, value) => writer.attributeU32(type, value),
    read: (reader) => reader.u32(),
  },
  {
    make: (random) => random.below(2 ** 32) - 2 ** 31,
    write: (writer, type, value) => writer.attributeU32(type, value),
    read: (reader) => reader.i32(),
  },
  {
    make: (random) => ipOf(IPV4, random.bits(32)),
    write: (writer, type, value) => writer.attributeIp(type, value),
    read: (reader) => reader.ip(),
  },
  {
    make: (random) => ipOf(IPV6, random.bits(128)),
    write: (writer, type, value) => writer.attributeIp(type, value),
    read: (reader) => reader.ip(),
  },
  {
    make: (random) => macFromBytes(randomBytes(random, 6)),
    write: (writer, type, value) => writer.attributeMac(type, value),
    read: (reader) => reader.mac(),
  },
  {
    make: (random) => "flannel-é.".slice(0, random.below(11)),
    write: (writer, type, value) => writer.attributeString(type, value),
    read: (reader) => reader.string(),
  },
  {
    make: (random) => randomBytes(random, random.below(70)),
    write: (writer, type, value) => writer.attributeBytes(type, value),
    read: (reader) => reader.bytes(),
  },
  {
    make: () => 0,
    write: (writer, type) => writer.attributeFlag(type),
    read: (reader) => reader.length,
  },
];

Deno.test("netlink: what is written is read again, whatever it is, nested too", () => {
  const random = randomSource(7);
  const writer = new MessageWriter(16);
  for (let round = 0; round < 300; round++) {
    const attributes = Array.from({ length: random.below(12) }, (_, i) => {
      const kind = KINDS[random.below(KINDS.length)]!;
      return { type: i + 1, kind, value: kind.make(random) };
    });
    const writeAll = () => attributes.forEach(({ type, kind, value }) => kind.write(writer, type, value));
    writer.reset();
    writer.begin(16, 5, round);
    writer.u32(0x01020304);
    writeAll();
    writer.nested(500, writeAll);
    writer.end();
    const message = onlyMessage(writer);
    assert.deepEqual([message.type, message.flags, message.sequence, message.portId], [16, 5, round, 0]);
    assert.equal(message.view.getUint32(message.start, true), 0x01020304);
    const reader = new AttributeReader(message.view, message.start + 4, message.end);
    for (const attribute of attributes) checkAttribute(reader, attribute);
    assert.ok(reader.next());
    assert.equal(reader.type, 500);
    const nested = reader.nested();
    for (const attribute of attributes) checkAttribute(nested, attribute);
    assert.ok(!nested.next());
    assert.ok(!reader.next());
  }
});

function checkAttribute(
  reader: AttributeReader,
  { type, kind, value }: { type: number; kind: AttributeKind; value: unknown },
) {
  assert.ok(reader.next());
  assert.equal(reader.type, type);
  assert.deepEqual(kind.read(reader), value);
}

Deno.test("netlink: memory that is used again leaves nothing of what it held", () => {
  const writer = new MessageWriter();
  writer.begin(1, 0, 0);
  writer.attributeBytes(1, new Uint8Array(100).fill(0xff));
  writer.end();
  writer.reset();
  writer.begin(2, 0, 0);
  writer.attributeU8(1, 7);
  writer.attributeMac(2, "02:00:00:00:00:01");
  writer.end();
  assert.equal(
    writer.written().toHex(),
    "24000000020000000000000000000000" + "0500010007000000" + "0a000200020000000001" + "0000",
  );
});

Deno.test("netlink: several messages in one buffer are kept apart", () => {
  const writer = new MessageWriter(16);
  for (let i = 0; i < 100; i++) {
    writer.begin(i, 0, i);
    writer.attributeBytes(1, new Uint8Array(i));
    writer.end();
  }
  const seen: number[] = [];
  const { view, length } = copyOf(writer);
  readMessages(view, length, (message) => {
    seen.push(message.sequence);
    const reader = new AttributeReader(message.view, message.start, message.end);
    assert.ok(reader.next());
    assert.equal(reader.length, message.sequence);
  });
  assert.deepEqual(seen, Array.from({ length: 100 }, (_, i) => i));
});

Deno.test("netlink: what isn't a value of an attribute is refused", () => {
  const writer = new MessageWriter();
  writer.begin(1, 0, 0);
  for (const mac of ["", "02:00:00:00:00", "02:00:00:00:00:0g", "02:00:00:00:00:01:02"]) {
    assert.throws(() => writer.attributeMac(1, mac), RangeError, mac);
  }
  assert.throws(() => writer.attributeBytes(1, new Uint8Array(65532)), RangeError);
  assert.throws(
    () =>
      writer.nested(1, () => {
        writer.attributeBytes(1, new Uint8Array(60000));
        writer.attributeBytes(1, new Uint8Array(60000));
      }),
    RangeError,
  );
});

Deno.test("netlink: a payload shorter than its type is refused", () => {
  const writer = new MessageWriter();
  writer.begin(1, 0, 0);
  writer.attributeBytes(9, new Uint8Array(3));
  writer.end();
  const message = onlyMessage(writer);
  const reads: ((reader: AttributeReader) => unknown)[] = [(r) => r.u32(), (r) => r.i32(), (r) => r.ip()];
  for (const read of reads) {
    const reader = new AttributeReader(message.view, message.start, message.end);
    assert.ok(reader.next());
    assert.throws(() => read(reader), MalformedMessageError);
  }
  const reader = new AttributeReader(message.view, message.start, message.end);
  assert.ok(reader.next());
  assert.equal(reader.mac(), undefined, "hardware addresses of other lengths are no fault");
});

Deno.test("netlink: lengths that don't fit are refused", () => {
  const cases = [
    ["a message shorter than its header", "0f000000" + "00".repeat(12)],
    ["a message longer than the buffer", "14000000" + "00".repeat(12)],
    ["an attribute shorter than its header", "18000000" + "00".repeat(12) + "0300010000000000"],
    ["an attribute longer than its message", "18000000" + "00".repeat(12) + "0900010000000000"],
  ] as const;
  for (const [what, hex] of cases) {
    const bytes = Uint8Array.fromHex(hex);
    const read = () =>
      readMessages(new DataView(bytes.buffer), bytes.length, (message) => {
        const reader = new AttributeReader(message.view, message.start, message.end);
        while (reader.next());
      });
    assert.throws(read, MalformedMessageError, what);
  }
});

Deno.test("netlink: an IPv4 address in a prefix's form is written like the address", () => {
  const writer = new MessageWriter();
  writer.attributeIp(1, parseIp("10.5.1.0"));
  writer.attributeIpValue(1, IPV4, 0x0a050100n);
  assert.equal(writer.written().toHex(), "08000100" + "0a050100" + "08000100" + "0a050100");
});

Deno.test("netlink: the filter of notifications compares swapped bytes, as BPF loads big-endian", () => {
  assert.equal(filterProgram({}), undefined);
  assert.equal(filterProgram({ ignorePortIds: [] }), undefined);
  // ld [12]; jeq #0x44332211 → next, else skip one; ret #0; ret #-1
  assert.equal(
    filterProgram({ ignorePortIds: [0x11223344] })?.toHex(),
    "200000000c000000" + "1500000111223344" + "0600000000000000" + "06000000ffffffff",
  );
  // ldh [4]; jeq #0x1c00 (RTM_NEWNEIGH) else skip three; ldb [16]; jeq #7 (AF_BRIDGE) else skip one; ret #0; ret #-1
  assert.equal(
    filterProgram({ ignoreNewFdb: true })?.toHex(),
    "2800000004000000" + "15000003001c0000" + "3000000010000000" + "1500000107000000" + "0600000000000000" +
      "06000000ffffffff",
  );
  assert.throws(() => filterProgram({ ignorePortIds: Array.from({ length: 101 }, (_, i) => i) }), RangeError);
});

function randomBytes(random: RandomSource, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.below(256));
}

/** What was written, in memory that ends where it ends. */
function copyOf(writer: MessageWriter): { view: DataView<ArrayBuffer>; length: number } {
  const bytes = writer.written().slice();
  return { view: new DataView(bytes.buffer), length: bytes.length };
}

function onlyMessage(writer: MessageWriter): Message {
  const { view, length } = copyOf(writer);
  const messages: Message[] = [];
  readMessages(view, length, (message) => messages.push(message));
  assert.equal(messages.length, 1);
  return messages[0]!;
}
