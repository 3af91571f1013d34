/** docs/configuration.md and the man pages: current, complete, and without faults of their own. */
import assert from "node:assert/strict";
import { referenceFiles } from "../../scripts/docs.ts";
import { readReference } from "../../scripts/docs/reference.ts";

const FILES = ["docs/configuration.md", "packaging/man/flanneld.8", "packaging/man/flanneld-config.5"];

Deno.test("reference: docs/configuration.md and the man pages are current (deno task docs writes them)", async () => {
  const files = await referenceFiles();
  assert.deepEqual(Object.keys(files), FILES);
  for (const [path, text] of Object.entries(files)) {
    assert.equal(
      await Deno.readTextFile(new URL(`../../${path}`, import.meta.url)),
      text,
      `${path} isn't current`,
    );
  }
});

Deno.test("reference: every backend's keys are those that its parser knows, each with its meaning", async () => {
  const { backends, fields } = await readReference();
  const keysOf = (type: string) => backends.find((one) => one.type === type)!.fields.map(({ key }) => key);
  assert.deepEqual(keysOf("vxlan"), [
    "VNI",
    "Port",
    "GBP",
    "Learning",
    "DirectRouting",
    "MTU",
    "TxChecksumOffload",
  ]);
  assert.deepEqual(keysOf("gce"), []);
  assert.ok(keysOf("udp").includes("SourceCheck"));
  for (
    const key of ["Network", "SubnetLen", "SubnetMin", "SubnetMax", "IPv6Network", "PeerFilter", "Backend"]
  ) {
    assert.ok(fields.some((field) => field.key === key), key);
  }
  for (const { key, help, values } of [...fields, ...backends.flatMap((one) => one.fields)]) {
    assert.ok(help !== "" && values !== "" && !help.endsWith("."), key);
  }
});

/** Programs that read man pages, and look for faults in them. */
const READERS = [
  ["groff", "-ww", "-man", "-Tutf8", "-z"],
  ["mandoc", "-T", "lint", "-W", "style"],
] as const;

for (const [program, ...args] of READERS) {
  const there = await new Deno.Command("sh", { args: ["-c", `command -v ${program}`], stdout: "null" })
    .output()
    .then(({ success }) => success);
  Deno.test({
    name: `reference: ${program} reads the man pages without a warning (needs ${program})`,
    ignore: !there,
    async fn() {
      for (const path of FILES.slice(1)) {
        const file = new URL(`../../${path}`, import.meta.url).pathname;
        const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args, file] }).output();
        const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
        assert.deepEqual([code, said], [0, ""], path);
      }
    },
  });
}
