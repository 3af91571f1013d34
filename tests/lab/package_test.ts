/**
 * Installing: by `install` into a DESTDIR, and the .deb by dpkg in a root folder with a minimal Debian.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { builtBinary } from "./built_binary.ts";
import { run } from "../../scripts/lab/process.ts";
import { enterRoot, makeMinimalRoot, NO_MINIMAL_ROOT } from "./minimal_root.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-package-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs a script of the checkout. */
async function script(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", `${CHECKOUT}/scripts/${name}`, ...args],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = new TextDecoder();
  return { code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Everything below a folder: path, kind and mode. */
async function tree(folder: string): Promise<string[]> {
  return (await run(["sh", "-c", `cd "$0" && find . -printf '%p %y %m\\n' | sort`, folder])).stdout.trim()
    .split("\n");
}

Deno.test("install: everything has its place and mode, and uninstall leaves what was there before", async () => {
  await withFolder(async (folder) => {
    const binary = `${folder}/binary`;
    await Deno.writeTextFile(binary, "#!/bin/sh\n");
    const root = `${folder}/root`;
    await Deno.mkdir(`${root}/usr/local/sbin`, { recursive: true });
    await Deno.mkdir(`${root}/etc`);
    await Deno.writeTextFile(`${root}/etc/hosts`, "127.0.0.1 localhost\n");
    const before = await tree(root);
    const env = { DESTDIR: root, FLANNELD_BINARY: binary };

    for (let i = 0; i < 2; i++) assert.equal((await script("install.ts", ["install"], env)).stderr, "");
    const installed = await tree(root);
    for (
      const line of [
        "./usr/local/sbin/flanneld f 755",
        "./usr/local/libexec/flannel/mk-docker-opts.sh f 755",
        "./usr/local/lib/systemd/system/flanneld.service f 644",
        "./usr/local/lib/systemd/network/10-flannel.link f 644",
        "./etc/NetworkManager/conf.d/10-flannel.conf f 644",
        "./etc/default/flanneld f 644",
      ]
    ) assert.ok(installed.includes(line), `${line} in\n${installed.join("\n")}`);
    const service = await Deno.readTextFile(`${root}/usr/local/lib/systemd/system/flanneld.service`);
    assert.match(service, /^ExecStart=\/usr\/local\/sbin\/flanneld /m);

    assert.equal((await script("install.ts", ["uninstall"], env)).stderr, "");
    assert.deepEqual(await tree(root), before);
    const again = await script("install.ts", ["uninstall"], env);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^install: Nothing to uninstall/);
  });
});

Deno.test("install: changed configuration is neither overwritten nor removed; PREFIX is honoured", async () => {
  await withFolder(async (folder) => {
    const binary = `${folder}/binary`;
    await Deno.writeTextFile(binary, "");
    const env = { DESTDIR: `${folder}/root`, PREFIX: "/opt/flannel", FLANNELD_BINARY: binary };
    await script("install.ts", ["install"], env);
    const configuration = `${folder}/root/etc/default/flanneld`;
    await Deno.writeTextFile(configuration, "FLANNELD_IFACE=eth7\n");
    await script("install.ts", ["install"], env);
    assert.equal(await Deno.readTextFile(configuration), "FLANNELD_IFACE=eth7\n");
    assert.ok((await Deno.stat(`${folder}/root/opt/flannel/sbin/flanneld`)).isFile);
    const { stdout } = await script("install.ts", ["uninstall"], env);
    assert.match(stdout, /kept .*\/etc\/default\/flanneld: it was changed/);
    const left = (await tree(`${folder}/root`)).filter((line) => line.includes(" f "));
    assert.deepEqual(left, ["./etc/default/flanneld f 644"]);
  });
});

Deno.test("install: without a build it says what to do", async () => {
  const { code, stderr } = await script("install.ts", ["install"], {
    FLANNELD_BINARY: "/nonexistent/flanneld",
  });
  assert.equal(code, 1);
  assert.match(stderr, /\/nonexistent\/flanneld isn't there: run "deno task build" first/);
});

Deno.test({
  name: `package: the .deb is installed, started, upgraded, removed and purged in a minimal Debian (${
    NO_MINIMAL_ROOT ?? "needs root"
  })`,
  ignore: NO_MINIMAL_ROOT !== undefined,
  fn: () =>
    withFolder(async (folder) => {
      const root = `${folder}/root`;
      await Deno.mkdir(root);
      await makeMinimalRoot(root);
      const enter = enterRoot(root, [folder]);
      const packages = `${folder}/packages`;
      const binary = await builtBinary();
      for (const version of ["0.0.1", "0.0.2"]) {
        const made = await script("package.ts", [
          `--binary=${binary}`,
          `--out=${packages}`,
          `--version=${version}`,
        ]);
        assert.equal(made.code, 0, made.stderr);
      }
      const deb = (version: string) => `${packages}/flanneld_${version}_${debianArch()}.deb`;
      const before = await tree(`${root}/etc`);

      await run([...enter, "dpkg", "-i", deb("0.0.1")]);
      assert.match((await run([...enter, "flanneld", "-version"])).stdout, /^\d+\.\d+\.\d+/);
      assert.equal((await run([...enter, "dpkg", "--verify", "flanneld"])).stdout, "");
      const configuration = `${root}/etc/default/flanneld`;
      await Deno.writeTextFile(configuration, "FLANNELD_IFACE=eth7\n");

      await run([...enter, "dpkg", "-i", "--force-confold", deb("0.0.2")]);
      assert.match((await run([...enter, "dpkg-query", "-W", "flanneld"])).stdout, /0\.0\.2/);
      assert.equal(await Deno.readTextFile(configuration), "FLANNELD_IFACE=eth7\n");
      await run([...enter, "flanneld", "-version"]);

      await run([...enter, "dpkg", "-r", "flanneld"]);
      assert.deepEqual(await found(root, "flannel"), [
        "./etc/default/flanneld",
        "./var/lib/dpkg/info/flanneld.list",
        "./var/lib/dpkg/info/flanneld.postrm",
      ]);
      await run([...enter, "dpkg", "-P", "flanneld"]);
      assert.deepEqual(await found(root, "flannel"), []);
      assert.deepEqual((await tree(`${root}/etc`)).filter((line) => !before.includes(line)), []);
    }),
});

function debianArch(): string {
  return Deno.build.arch === "x86_64" ? "amd64" : "arm64";
}

/** Paths in `root` whose name contains a word, but those of the shared folder. */
async function found(root: string, word: string): Promise<string[]> {
  const { stdout } = await run([
    ...["sh", "-c", `cd "$0" && find . -path ./tmp -prune -o -name "*$1*" -print | sort`, root, word],
  ]);
  return stdout.split("\n").filter(Boolean);
}
