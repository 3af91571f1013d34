/** Files that checks of doctor and items of a report need: absent is a fact, unreadable is said. */
import assert from "node:assert/strict";
import { files } from "../../lib/doctor/checks/files.ts";
import { examine } from "../../lib/doctor/examine.ts";
import { HostFiles } from "../../lib/doctor/host_files.ts";
import type { Scene } from "../../lib/doctor/scene.ts";
import type { Check } from "../../lib/doctor/types.ts";

// A file that couldn't be read was taken for absent, and nothing said so.
Deno.test("doctor: a file that isn't there is no fault, one that can't be read is named", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/plain`, "text", { mode: 0o640 });
    await Deno.symlink(`${folder}/loop`, `${folder}/loop`);
    const host = new HostFiles();
    assert.equal(await host.text(`${folder}/plain`), "text");
    assert.equal(await host.mode(`${folder}/plain`), 0o640);
    assert.deepEqual(await host.names(folder), ["loop", "plain"]);
    assert.equal(await host.text(`${folder}/absent`), undefined);
    assert.equal(await host.text(`${folder}/plain/below`), undefined);
    assert.deepEqual(await host.names(`${folder}/absent`), []);
    assert.equal(await host.exists(`${folder}/absent`), false);
    assert.deepEqual([...host.unreadable.keys()], []);
    // Not even root gets past this one (ELOOP), nor reads a folder as a file (EISDIR).
    assert.equal(await host.text(`${folder}/loop`), undefined);
    assert.equal(await host.text(folder), undefined);
    assert.deepEqual([...host.unreadable.keys()], [`${folder}/loop`, folder]);
    const [finding] = files.judge({ reasons: host.unreadable, isRoot: true });
    assert.equal(finding?.severity, "warning");
    assert.match(finding.text, /^2 files can't be read/);
    assert.match(finding.evidence![1]!, /loop: .*\(os error 40\)/);
    assert.equal(files.judge({ reasons: host.unreadable, isRoot: false })[0]?.severity, "note");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("doctor: the check of unreadable files sees what the others met with, also what they met late", async () => {
  const scene = { files: new HostFiles() } as unknown as Scene;
  const late: Check = {
    ...{ name: "late", group: "host", looksAt: "a folder as a file" },
    read: async ({ files }) => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await files.text("/");
    },
    judge: () => [],
  };
  const results = await examine([files as Check, late], scene);
  assert.deepEqual(results.map(({ check, findings }) => `${check.name} ${findings.length}`), [
    "files 1",
    "late 0",
  ]);
});
