import assert from "node:assert/strict";
import { decodeLease } from "../../lib/leases/codec.ts";
import { containsPrefix, parsePrefix } from "../../lib/net/prefix.ts";
import { peerBase, peerKey, peerValue, SCALE_CONFIG } from "../../scripts/scale/peers.ts";
import { renderPlot } from "../../scripts/scale/plot.ts";
import { fieldsOf, message } from "../../scripts/scale/wire.ts";

Deno.test("scale: a message's fields come back as they were written", () => {
  const big = 0x7fff_ffff_ffff_ffffn;
  const bytes = message([1, "key"], [3, big], [4, 0], [15, Uint8Array.of(0, 255)], [16, message([1, 300])]);
  const text = new TextDecoder();
  const fields = [...fieldsOf(bytes)].map(([field, value]) =>
    [field, value instanceof Uint8Array && field === 1 ? text.decode(value) : value] as const
  );
  assert.deepEqual(fields.slice(0, 3), [[1, "key"], [3, big], [4, 0n]]);
  assert.deepEqual([...fields[3]![1] as Uint8Array], [0, 255]);
  assert.deepEqual([...fieldsOf(fields[4]![1] as Uint8Array)], [[1, 300n]]);
});

Deno.test("scale: a message that is cut off, or has an unknown wire type, is refused", () => {
  assert.throws(() => [...fieldsOf(Uint8Array.of(8))], RangeError);
  assert.throws(() => [...fieldsOf(Uint8Array.of(13, 1, 2, 3, 4))], /wire type 5/);
});

Deno.test("scale: 200,000 peers are leases of their own inside the network", () => {
  const network = parsePrefix(SCALE_CONFIG.Network);
  const keys = new Set<string>();
  for (let index = 0; index < 200_000; index++) keys.add(peerKey(index));
  assert.equal(keys.size, 200_000);
  for (const index of [0, 1, 4_095, 199_999]) {
    const { lease, fault } = decodeLease({ key: peerKey(index), value: peerValue(index) });
    assert.equal(fault, undefined);
    assert.ok(containsPrefix(network, lease!.subnets.ipv4!), peerBase(index));
    assert.equal(lease!.subnets.ipv4!.length, SCALE_CONFIG.SubnetLen);
  }
});

Deno.test("scale: a plot has each line, and no number that isn't one", () => {
  const svg = renderPlot({
    xLabel: "leases",
    yLabel: "s",
    lines: [{ label: "one", points: [[0, 0], [20_000, 0.5]] }, { label: "none", points: [] }],
  });
  assert.match(svg, /^<svg [^]*<\/svg>\n$/);
  assert.match(svg, /points="60\.0,255\.0 490\.0,20\.0"/);
  assert.doesNotMatch(svg, /NaN|Infinity/);
});
