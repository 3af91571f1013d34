/** The parts of a release that are texts: the bill of materials and the changelog's part. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { billOfMaterials, changesOf, type Materials } from "../../scripts/release/sbom.ts";
import { npmPackages } from "../../scripts/release/materials.ts";

const CHECKOUT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const DEBIAN = {
  name: "libc6",
  version: "2:2.36-9",
  architecture: "amd64",
  sha256: "aa",
  licences: ["LGPL-2.1+"],
};

function materials(change: Partial<Materials> = {}): Materials {
  return {
    version: "1.2.3",
    commit: "0123456789abcdef0123456789abcdef01234567",
    epoch: 1_700_000_000,
    npm: [{ name: "@a/b", version: "2.0.0", integrity: "sha512-AAEC", licence: "MIT" }],
    runtimes: [{ architecture: "amd64", version: "2.9.6", sha256: "bb" }],
    debian: { amd64: [DEBIAN], arm64: [{ ...DEBIAN, architecture: "arm64" }] },
    ...change,
  };
}

Deno.test("release: the bill of materials names each package with version, licence and hash, by CycloneDX", () => {
  const bill = JSON.parse(billOfMaterials(materials()));
  assert.deepEqual([bill.bomFormat, bill.specVersion, bill.version], ["CycloneDX", "1.5", 1]);
  assert.match(
    bill.serialNumber,
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  assert.equal(bill.metadata.timestamp, "2023-11-14T22:13:20Z");
  const byRef = new Map<string, Record<string, unknown>>(
    bill.components.map((one: { "bom-ref": string }) => [one["bom-ref"], one]),
  );
  assert.deepEqual([...byRef.keys()], [
    "deno@2.9.6 amd64",
    "pkg:npm/%40a/b@2.0.0",
    "pkg:deb/debian/libc6@2%3A2.36-9?arch=amd64",
    "pkg:deb/debian/libc6@2%3A2.36-9?arch=arm64",
  ]);
  const npm = byRef.get("pkg:npm/%40a/b@2.0.0")!;
  assert.deepEqual(npm["hashes"], [{ alg: "SHA-512", content: "000102" }]);
  assert.deepEqual(npm["licenses"], [{ expression: "MIT" }]);
  const given = { architecture: "arm64", version: undefined, sha256: "cc" };
  const [runtime] = JSON.parse(billOfMaterials(materials({ runtimes: [given] }))).components;
  assert.ok(!("version" in runtime), "of a Deno that was given only the hash is known");
});

Deno.test("release: the same materials give the same bytes, another commit another document", () => {
  assert.equal(billOfMaterials(materials()), billOfMaterials(materials()));
  assert.notEqual(billOfMaterials(materials()), billOfMaterials(materials({ commit: "f".repeat(40) })));
});

Deno.test("release: every package of deno.lock is read, with its hash, once", async () => {
  const packages = await npmPackages(CHECKOUT);
  const names = packages.map(({ name, version }) => `${name}@${version}`);
  assert.equal(new Set(names).size, names.length);
  for (const name of ["uplot", "yaml", "ip-address"]) {
    assert.ok(packages.some((one) => one.name === name), name);
  }
  for (const { name, integrity } of packages) assert.match(integrity, /^sha512-[A-Za-z0-9+/]+=*$/, name);
});

Deno.test("release: the workflows call tasks that there are, with no more than the permissions they name", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${CHECKOUT}/deno.json`)) as {
    tasks: Record<string, unknown>;
  };
  const folder = `${CHECKOUT}/.github/workflows`;
  for await (const { name } of Deno.readDir(folder)) {
    const text = await Deno.readTextFile(`${folder}/${name}`);
    const { permissions } = parse(text) as { permissions?: Record<string, string> };
    assert.deepEqual(permissions, { contents: name === "release.yml" ? "write" : "read" }, name);
    const called = [...text.matchAll(/deno@\S+ task (\S+)/g)].map(([, task]) => task!);
    assert.ok(called.length > 0 && called.every((task) => task in tasks), `${name}: ${called.join(", ")}`);
  }
});

Deno.test("release: the changelog's part of a version, and of no other", () => {
  const text =
    "# Changes\n\n## 1.2.3 (not released yet)\n\n- new\n\n### Part\n\n- more\n\n## 1.2.2\n\n- old\n";
  assert.equal(changesOf(text, "1.2.3"), "- new\n\n### Part\n\n- more\n");
  assert.equal(changesOf(text, "1.2.2"), "- old\n");
  assert.throws(() => changesOf(text, "1.2"), /no part/);
});
