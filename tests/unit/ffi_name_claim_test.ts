/** A name in the kernel that one process holds. */
import assert from "node:assert/strict";
import { NameClaim } from "../../lib/ffi/name_claim.ts";

Deno.test("name claim: one holds it, the next sees who, and gets it when it is given back", () => {
  const name = `flanneld test ${crypto.randomUUID()}`;
  assert.equal(NameClaim.holder(name), undefined);
  const first = NameClaim.take(name);
  assert.ok(first !== "taken");
  assert.equal(NameClaim.take(name), "taken");
  assert.deepEqual(NameClaim.holder(name), { pid: Deno.pid, uid: Deno.uid() });
  first[Symbol.dispose]();
  const second = NameClaim.take(name);
  assert.ok(second !== "taken");
  second[Symbol.dispose]();
  assert.throws(() => NameClaim.take("x".repeat(108)), RangeError);
});
