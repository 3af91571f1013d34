import assert from "node:assert/strict";
import { filesBelow, readSource } from "./source_files.ts";

/** The text of an IPv6 address in the source, parsed. */
const PARSED = /\bparse(?:Ip|Prefix|Cidr)\(\s*"[0-9a-f.]*:[^"]*"/gi;

/** Loaded by commands, and with Kubernetes, which loads more than that. */
const NOT_AT_START = /^(?:.*\/)?lib\/(?:doctor|kube|cli|report)\//;

// Three constants loaded ip-address at every start, 5 ms of it, on hosts without IPv6 too.
Deno.test("start: no constant is parsed from an IPv6 text, which loads ip-address", async () => {
  const files = (await filesBelow(["lib", "backends"])).filter((path) => !NOT_AT_START.test(path));
  assert.ok(files.length > 50);
  for (const path of files) assert.deepEqual((await readSource(path)).match(PARSED) ?? [], [], path);
});

Deno.test("start: such a constant is found", () => {
  for (const text of ['parsePrefix("fe80::/10")', 'parseIp("::1")', 'parseCidr(\n  "2001:db8::1/64",\n)']) {
    assert.equal(text.match(PARSED)?.length, 1, text);
  }
  for (const text of ['parseIp("10.0.0.1")', "parseIp(text)"]) assert.equal(text.match(PARSED), null);
});
