/** Announcements against the bytes that arping -U and the kernel's own (ndisc_notify) have on the wire. */
import assert from "node:assert/strict";
import { announcementFrame } from "../../lib/packet/announcement.ts";
import { parseIp } from "../../lib/net/ip.ts";

const mac = "3e:4b:bc:75:ce:43";

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function bytes(text: string): string {
  return text.replaceAll(/\s/g, "");
}

Deno.test("gratuitous ARP: a broadcast request of the address for itself", () => {
  assert.equal(
    hex(announcementFrame({ ip: parseIp("172.30.0.1"), mac, isRouter: true })),
    bytes(`
      ffffffffffff 3e4bbc75ce43 0806
      0001 0800 06 04 0001 3e4bbc75ce43 ac1e0001 000000000000 ac1e0001`),
  );
});

Deno.test("unsolicited advertisement: to all nodes, overriding, with a checksum that comes out right", () => {
  const frame = announcementFrame({ ip: parseIp("fd00:30::1"), mac, isRouter: false });
  const text = hex(frame);
  const checksum = text.slice(112, 116);
  assert.equal(
    text,
    bytes(`
      333300000001 3e4bbc75ce43 86dd
      60000000 0020 3a ff fd000030000000000000000000000001 ff020000000000000000000000000001
      88 00 ${checksum} 20000000 fd000030000000000000000000000001 02 01 3e4bbc75ce43`),
  );
  const words = (from: number, to: number) =>
    Array.from({ length: (to - from) / 2 }, (_, i) => (frame[from + i * 2]! << 8) | frame[from + i * 2 + 1]!);
  const sum = [...words(22, 86), 32, 58].reduce((a, b) => a + b);
  assert.equal(((sum & 0xffff) + (sum >> 16)) & 0xffff, 0xffff);
  assert.equal(
    hex(announcementFrame({ ip: parseIp("fd00:30::1"), mac, isRouter: true })).slice(116, 118),
    "a0",
  );
});
