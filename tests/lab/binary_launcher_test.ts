/**
 * Where the self-extracting executable unpacks to, on hosts whose folders are mounted in awkward ways.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Ended, LauncherLab } from "./launcher.ts";

function rootTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `${name} (needs root)`, ignore: Deno.uid() !== 0, fn });
}

/** Runs `program` where `mounts` have been done, in a mount namespace of its own. */
async function runWith(
  lab: LauncherLab,
  mounts: readonly string[],
  program: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const script = ["set -e", ...mounts, `exec "$0"`].join("\n");
  return await lab.run(["unshare", "-m", "sh", "-c", script, program], { FLANNELD_CACHE_DIR: "", ...env });
}

const SAY_WHERE = `echo "$program"`;

rootTest("binary: the cache folder is made where it is missing, with all that is above it", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", SAY_WHERE);
  const end = await runWith(lab, ["mount -t tmpfs none /var"], program);
  assert.match(end.stdout, /^\/var\/cache\/flanneld\/1\.0\.0-[0-9a-f]{16}\/flanneld\n$/, end.stderr);
});

rootTest(
  "binary: a read-only /var and a folder without programs are passed over, without a word",
  async () => {
    await using lab = await LauncherLab.create();
    const program = await lab.build("flanneld", SAY_WHERE);
    await Deno.mkdir(lab.path("noexec"));
    const end = await runWith(
      lab,
      [
        "mount -t tmpfs -o ro none /var",
        "mount -t tmpfs none /run",
        `mount -t tmpfs -o noexec,mode=0700 none "${lab.path("noexec")}"`,
      ],
      program,
      { FLANNELD_CACHE_DIR: lab.path("noexec") },
    );
    assert.match(end.stdout, /^\/run\/flanneld\//, end.stderr);
    assert.equal(end.stderr, "");
  },
);

rootTest("binary: a /tmp without programs isn't an obstacle", async () => {
  await using lab = await LauncherLab.create();
  const folder = await Deno.makeTempDir({ dir: "/var/tmp", prefix: "flanneld-" });
  try {
    const program = `${folder}/flanneld`;
    await Deno.rename(await lab.build("flanneld", SAY_WHERE), program);
    const end = await runWith(
      lab,
      ["mount -t tmpfs none /var/cache", "mount -t tmpfs -o noexec none /tmp"],
      program,
    );
    assert.match(end.stdout, /^\/var\/cache\/flanneld\//, end.stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

rootTest("binary: what was unpacked before runs from a file system that is read-only by now", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", SAY_WHERE);
  const mounts = ["mount -t tmpfs none /var", `"$0" >/dev/null`, "mount -o remount,ro /var"];
  const end = await runWith(lab, mounts, program);
  assert.match(end.stdout, /^\/var\/cache\/flanneld\//, end.stderr);
  assert.equal(end.stderr, "");
});

rootTest("binary: with no folder left it ends with every folder's reason", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", SAY_WHERE);
  const end = await runWith(
    lab,
    [
      "mount -t tmpfs -o ro none /var",
      "mount -t tmpfs -o noexec none /run",
      // Too small for two files in it.
      "mount -t tmpfs -o nr_inodes=3 none /dev/shm",
    ],
    program,
  );
  assert.equal(end.code, 126);
  assert.match(end.stderr, /^flanneld: no folder to unpack to:$/m);
  assert.match(end.stderr, /^ {2}\/var\/cache\/flanneld: cannot be made$/m);
  assert.match(end.stderr, /^ {2}\/run\/flanneld: programs can't be run from there \(noexec\)$/m);
  assert.match(end.stderr, /^ {2}\/dev\/shm\/flanneld: cannot be /m);
});

rootTest("binary: in a folder that everybody can write, a squatter's place is not taken", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", SAY_WHERE);
  const end = await runWith(
    lab,
    [
      "mount -t tmpfs -o ro none /var",
      "mount -t tmpfs -o ro none /run",
      "mount -t tmpfs none /dev/shm",
      "mkdir -m 0700 /dev/shm/flanneld",
      "chown 65534 /dev/shm/flanneld",
    ],
    program,
  );
  assert.equal(end.code, 126);
  assert.match(end.stderr, /\/dev\/shm\/flanneld: belongs to another user/);
});

rootTest("binary: a folder that others can write, or a link to one, is not used", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", SAY_WHERE);
  await Deno.mkdir(lab.path("open"));
  await Deno.chmod(lab.path("open"), 0o777);
  await Deno.mkdir(lab.path("real"), { mode: 0o700 });
  await Deno.symlink(lab.path("real"), lab.path("link"));
  for (const folder of ["open", "link"]) {
    const env = { FLANNELD_CACHE_DIR: lab.path(folder) };
    const end = await runWith(
      lab,
      ["umask 022", "mount -t tmpfs none /var", `"$0"`, "stat -c %a /var/cache"],
      program,
      env,
    );
    const [, above, path] = end.stdout.split("\n");
    assert.match(path!, /^\/var\/cache\/flanneld\//, end.stderr);
    // What had to be made on the way is everybody's to enter, as usual.
    assert.equal(above, "755");
  }
  assert.deepEqual([await lab.list("open"), await lab.list("real")], [[], []]);
});

rootTest("binary: another user unpacks below its own home, out of root's folder", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", SAY_WHERE);
  await Deno.chmod(lab.folder, 0o755);
  await Deno.mkdir(lab.path("home"));
  await Deno.chown(lab.path("home"), 65534, 65534);
  const command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program];
  const env = { FLANNELD_CACHE_DIR: "", HOME: lab.path("home") };
  const end = await lab.run(command, env);
  assert.match(end.stdout, new RegExp(`^${lab.path("home")}/\\.cache/flanneld/`), end.stderr);
  const elsewhere = await lab.run(command, { ...env, HOME: "/nonexistent", TMPDIR: lab.path("home") });
  assert.match(elsewhere.stdout, new RegExp(`^${lab.path("home")}/flanneld-65534/`), elsewhere.stderr);
});
