import assert from "node:assert/strict";
import { compileCommand } from "../../scripts/build/compile.ts";
import { PERMISSIONS } from "../../scripts/build/permissions.ts";
import { checkRuntime, targetOf } from "../../scripts/build/runtime.ts";

Deno.test("build: a target has a name by uname, by Debian and as a triple", () => {
  for (const name of ["aarch64", "arm64", "aarch64-unknown-linux-gnu"]) {
    assert.equal(targetOf(name).arch, "aarch64");
  }
  assert.throws(() => targetOf("mips"), /Cannot build for "mips": targets are x86_64, aarch64/);
});

Deno.test("build: a runtime for another machine, or what isn't a program at all, is refused", async () => {
  const own = targetOf(Deno.build.arch);
  const other = targetOf(own.arch === "x86_64" ? "aarch64" : "x86_64");
  await checkRuntime(Deno.execPath(), own);
  await assert.rejects(
    checkRuntime(Deno.execPath(), other),
    new RegExp(`it is for ${own.arch}, must be for ${other.arch}`),
  );
  const file = await Deno.makeTempFile();
  try {
    await assert.rejects(checkRuntime(file, own), /must be an ELF file/);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("build: the daemon doesn't get all permissions, and only the programs that it calls", () => {
  assert.ok(
    !PERMISSIONS.some((permission) => /^(-A|--allow-all|--allow-import|--allow-run)$/.test(permission)),
  );
  const programs = PERMISSIONS.find((permission) => permission.startsWith("--allow-run="))?.slice(12).split(
    ",",
  );
  assert.ok(programs !== undefined && programs.length > 0);
  for (const program of programs) {
    assert.match(
      program,
      /^(nft|ip6?tables(-nft|-legacy)?(-save|-restore)?|wireguard-go|boringtun(-cli)?|ip|bridge|journalctl|systemctl)$/,
    );
  }
});

Deno.test("build: deno compile gets the bundle, the permissions and the target", () => {
  const command = compileCommand({ stage: "/s", out: "/o/flanneld", target: "aarch64-unknown-linux-gnu" });
  const text = command.join(" ");
  assert.match(
    text,
    / --target aarch64-unknown-linux-gnu --include app --output \/o\/flanneld /,
  );
  assert.equal(command.at(-1), "app/main.js");
  for (const permission of PERMISSIONS) assert.ok(command.includes(permission), permission);
});
