/** `leases map` with a real store. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { labTest } from "./lab_test_case.ts";

labTest("leases map: as text, and as an SVG file that says the same", { hosts: 2 }, async (lab) => {
  await lab.startAll();
  const host = lab.host(1);
  const run = (...words: string[]) => host.command(["leases", "map", ...words], flanneldCommand());
  const text = (await run()).stdout;
  assert.match(text, /^10\.5\.0\.0\/16: 255 subnets of \/24, 2 taken, 253 free$/m);
  assert.equal(
    text.split("\n").filter((line) => /10\.5\.\d+\.0\/24$/.test(line)).join("").match(/#/g)?.length,
    2,
  );
  const file = `${lab.folder}/pool.svg`;
  assert.equal((await run("-svg", file)).code, 0);
  const svg = await Deno.readTextFile(file);
  assert.match(
    svg,
    /<desc id="description">10\.5\.0\.0\/16: 255 subnets of \/24, 2 taken, 253 free\.<\/desc>/,
  );
  for (const { addresses } of lab.hosts) assert.ok(svg.includes(`: used, ${addresses.ipv4}</title>`), svg);
});
