import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { sha256, sha256Hex } from "../../lib/sha256.ts";

Deno.test("SHA-256: the published examples", () => {
  // FIPS 180-4's examples, csrc.nist.gov.
  assert.equal(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.equal(sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
});

Deno.test("SHA-256: every length around block ends, and any text, as node:crypto has it", () => {
  for (let length = 0; length <= 200; length++) {
    const text = String.fromCodePoint(...Array.from({ length }, (_, at) => 1 + (at * 7919) % 0xd7ff));
    const expected = createHash("sha256").update(text).digest();
    assert.deepEqual([...sha256(text)], [...expected], `${length} characters`);
  }
});
