import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { METHODS, WATCH } from "../../lib/leases/etcd/layouts.ts";
import { Layout } from "../../lib/leases/etcd/protobuf.ts";

interface Sample {
  readonly number: string;
  readonly unsigned?: string;
  readonly text?: string;
  readonly bytes?: Buffer;
  readonly flag?: boolean;
  readonly kind?: "A" | "B";
  readonly inner?: Sample | null;
  readonly many?: readonly Buffer[];
}

const INNER = new Layout<{ readonly number: string }>({ number: [1, "int64"] });
const SAMPLE = new Layout<Sample>({
  number: [1, "int64"],
  unsigned: [2, "uint64"],
  text: [3, "string"],
  bytes: [4, "bytes"],
  flag: [5, "bool"],
  kind: [6, ["A", "B"]],
  inner: [7, INNER],
  many: [15, "bytes", "many"],
});

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

Deno.test("protobuf: bytes as protoc writes them", () => {
  const whole: Sample = {
    ...{ number: "150", unsigned: "1", text: "testing", bytes: Buffer.from([1, 2]), flag: true, kind: "B" },
    ...{ inner: { number: "150" }, many: [Buffer.from("a"), Buffer.from("")] },
  };
  const bytes = hex("089601 1001 1a0774657374696e67 22020102 2801 3001 3a03089601 7a0161 7a00");
  assert.deepEqual(SAMPLE.encode(whole), bytes);
  assert.deepEqual(SAMPLE.decode(bytes), whole);
});

Deno.test("protobuf: what a message doesn't hold has proto3's default, and an absent message is null", () => {
  assert.deepEqual(SAMPLE.decode(Buffer.alloc(0)), {
    ...{ number: "0", unsigned: "0", text: "", bytes: Buffer.alloc(0), flag: false, kind: "A" },
    ...{ inner: null, many: [] },
  });
  // A default that is given is sent: of alternatives (oneof) it says which one is meant.
  assert.deepEqual(SAMPLE.encode({ number: "0", inner: null }), hex("0800"));
});

Deno.test("protobuf: numbers of 64 bits, signed and unsigned, at every size", () => {
  const numbers = [0n, 1n, 127n, 128n, 2n ** 28n - 1n, 2n ** 28n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n];
  for (const number of [...numbers, 2n ** 56n, 2n ** 63n - 1n, -1n, -(2n ** 63n)]) {
    const { number: back } = SAMPLE.decode(SAMPLE.encode({ number: String(number) }));
    assert.equal(back, String(number));
  }
  for (const unsigned of [2n ** 63n, 2n ** 64n - 1n].map(String)) {
    assert.equal(SAMPLE.decode(SAMPLE.encode({ number: "0", unsigned })).unsigned, unsigned);
  }
  assert.deepEqual(SAMPLE.encode({ number: "-1" }), hex("08 ffffffffffffffffff01"));
});

// Bug: after a field that it doesn't know the reader went on within that field.
Deno.test("protobuf: fields that aren't known, or come as something else, are passed over", () => {
  const unknown = [
    "f801 96 01",
    "fa01 03 616263",
    "f901 0102030405060708",
    "fd01 01020304",
    "1a 00",
    "0a 02 0801",
  ];
  for (const each of unknown) {
    assert.equal(SAMPLE.decode(hex(`${each} 0805`)).number, "5", each);
  }
  assert.equal(SAMPLE.decode(hex("3007")).kind, 7, "a name that isn't known is its number");
});

Deno.test("protobuf: what isn't a message is a RangeError", () => {
  const cases = {
    "a number that is cut off": "08 96",
    "a number of more than 64 bits": "08 ffffffffffffffffffff01",
    "bytes that are cut off": "22 05 01",
    "a length beyond all bounds": "22 ffffffffffffffff7f",
    "a message within that is longer than the whole": "3a 05 0801",
    "a message within that ends in a field": "3a 02 0896 01",
    "a group": "0b 0c",
    "a field that is passed over and cut off": "f901 01",
  };
  for (const [what, bytes] of Object.entries(cases)) {
    assert.throws(() => SAMPLE.decode(hex(bytes)), RangeError, what);
  }
});

Deno.test("protobuf: etcd's messages have their fields where rpc.proto has them", () => {
  const key = Buffer.from("k");
  const newest = { key, range_end: key, limit: "1", sort_order: "Descend", sort_target: "Mod" } as const;
  assert.deepEqual(
    METHODS["KV.range"].request.encode({ ...newest, revision: "7", keys_only: true }),
    hex("0a016b 12016b 1801 2007 2802 3003 4001"),
  );
  const compare = [{ key, result: "Equal", target: "Version", version: "0" }] as const;
  assert.deepEqual(
    METHODS["KV.txn"].request.encode({
      compare,
      success: [{ request_put: { key, value: key, lease: "5", prev_kv: true } }],
      failure: [{ request_range: { key } }, { request_delete_range: { key, prev_kv: true } }],
    }),
    hex(
      "0a09 0800 1000 1a016b 2000  120c 120a 0a016b 12016b 1805 2001  1a05 0a03 0a016b  1a07 1a05 0a016b 1801",
    ),
  );
  const create_request = { key, start_revision: "3", progress_notify: true, fragment: true };
  assert.deepEqual(WATCH.request.encode({ create_request }), hex("0a09 0a016b 1803 2001 4001"));
  const { header, events, watch_id } = WATCH.response.decode(
    hex("0a08 0801 1002 1803 2004 1005 5a0d 0801 1209 0a016b 1803 3005 2a00"),
  );
  assert.deepEqual(header, { cluster_id: "1", revision: "3", raft_term: "4" });
  assert.equal(watch_id, "5");
  assert.deepEqual(events, [{
    type: "Delete",
    kv: { key, create_revision: "0", mod_revision: "3", value: Buffer.alloc(0), lease: "5" },
  }]);
});
