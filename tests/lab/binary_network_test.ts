/**
 * The built executable on hosts that have nothing else: a root folder with what every Debian has, no Deno, no
 * packages, no network but the lab's.
 */
import assert from "node:assert/strict";
import { builtBinary, builtCommand, useCommand } from "./built_binary.ts";
import { withLab } from "./lab_test_case.ts";
import type { Lab, LabOptions } from "../../scripts/lab/lab.ts";
import { networkConfig } from "../../scripts/lab/lab.ts";
import { enterRoot, makeMinimalRoot, NO_MINIMAL_ROOT } from "./minimal_root.ts";

const SKIPPED = NO_MINIMAL_ROOT !== undefined;
const WHY = NO_MINIMAL_ROOT ?? "needs root";

/** A folder for roots; goes with the test. */
async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-roots-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Lets hosts started from now on run these words in place of main.ts. */
async function useWords(folder: string, command: readonly string[]): Promise<Disposable> {
  const script = `${folder}/run-${crypto.randomUUID().slice(0, 8)}`;
  const words = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  await Deno.writeTextFile(script, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  return useCommand(script);
}

/** A minimal root with the executable in it, and the command that runs it there. */
async function hostRoot(folder: string, name: string, lab: Lab): Promise<string[]> {
  const root = `${folder}/${name}`;
  await Deno.mkdir(root);
  await makeMinimalRoot(root);
  await Deno.copyFile(await builtBinary(), `${root}/flanneld`);
  await Deno.chmod(`${root}/flanneld`, 0o755);
  return [...enterRoot(root, [lab.folder]), "/flanneld"];
}

interface Case {
  readonly name: string;
  readonly options: LabOptions;
}

const CASES: readonly Case[] = [
  { name: "vxlan", options: { config: networkConfig(["ipv4"], { Type: "vxlan" }) } },
  // Its forwarders are workers.
  { name: "udp", options: { config: networkConfig(["ipv4"], { Type: "udp" }) } },
  { name: "vxlan over sqlite", options: { store: "sqlite" } },
];

for (const { name, options } of CASES) {
  Deno.test({
    name:
      `binary, ${name}: a host with a minimal Debian and one that runs it in place are a network (${WHY})`,
    ignore: SKIPPED,
    fn: () =>
      withFolder(async (folder) => {
        using _own = useCommand(await builtCommand());
        await withLab({ ...options, hosts: 2 }, async (lab) => {
          using _root = await useWords(folder, await hostRoot(folder, "root", lab));
          // There is no iptables and no nft in it.
          await lab.host(1).startReady({ args: ["-iptables-forward-rules=false"] });
          _root[Symbol.dispose]();
          await lab.host(2).startReady();
          await lab.connect();
          await lab.pingAll();
          const { pid } = lab.host(1).daemon;
          assert.equal(await Deno.readTextFile(`/proc/${pid}/comm`), "flanneld\n");
          assert.equal((await lab.host(1).daemon.stop()).code, 0);
        });
      }),
  });
}

Deno.test({
  name:
    `binary: with the capabilities of its unit and none else it joins, masquerades and cleans up (${WHY})`,
  ignore: SKIPPED,
  fn: () =>
    withFolder(async (folder) => {
      const unit = await Deno.readTextFile(
        new URL("../../packaging/systemd/flanneld.service", import.meta.url),
      );
      const names = /^CapabilityBoundingSet=(.+)$/m.exec(unit)?.[1]?.split(" ") ?? [];
      const set = ["-all", ...names.map((name) => `+${name.replace("CAP_", "").toLowerCase()}`)].join(",");
      const bounded = ["setpriv", `--bounding-set=${set}`, "--no-new-privs"];
      using _command = await useWords(folder, [...bounded, await builtCommand()]);
      await withLab({ hosts: 2 }, async (lab) => {
        for (const host of lab.hosts) host.start({ args: ["-ip-masq"] });
        for (const host of lab.hosts) await host.waitReady();
        await lab.connect();
        await lab.pingAll();
        const { pid } = lab.host(1).daemon;
        const effective = /^CapEff:\s*(\w+)$/m.exec(await Deno.readTextFile(`/proc/${pid}/status`))?.[1];
        // The numbers of linux/capability.h: DAC_READ_SEARCH 2, NET_BIND_SERVICE 10, NET_ADMIN 12, NET_RAW 13.
        assert.equal(BigInt(`0x${effective}`), (1n << 2n) | (1n << 10n) | (1n << 12n) | (1n << 13n));
        assert.equal((await lab.host(1).daemon.stop()).code, 0);
      });
    }),
});
