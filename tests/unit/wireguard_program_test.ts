import assert from "node:assert/strict";
import { findImplementation } from "../../backends/wireguard/implementation.ts";

Deno.test("wireguard program: the first one in PATH that may be executed, whichever it is", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const find = (path: string) => {
      const { implementation } = findImplementation("userspace", path);
      assert.ok(implementation.kind === "userspace");
      return implementation;
    };
    const names = (path: string) => find(path).program.replace(`${folder}/`, "");
    // One without the right to be executed was taken, and its start failed.
    await Deno.writeTextFile(`${folder}/wireguard-go`, "", { mode: 0o644 });
    assert.throws(() => find(`${folder}::/nowhere`), /is not in PATH$/);
    await Deno.writeTextFile(`${folder}/boringtun-cli`, "", { mode: 0o755 });
    assert.equal(names(folder), "boringtun-cli");
    assert.ok(find(folder).args.includes("--disable-drop-privileges"));
    await Deno.chmod(`${folder}/wireguard-go`, 0o755);
    assert.equal(names(`/nowhere:${folder}`), "wireguard-go");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("wireguard program: where there is none, the error names program and package", () => {
  assert.throws(() => findImplementation("userspace", "/nowhere"), {
    message:
      "The wireguard backend can't work: the program wireguard-go (Debian's package wireguard-go) or boringtun is " +
      "not in PATH",
  });
});
