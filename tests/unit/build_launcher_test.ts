import assert from "node:assert/strict";
import { ended, LauncherLab } from "../lab/launcher.ts";

const REPORT = `printf '%s\\n' "$@"`;

Deno.test("launcher: arguments, stdin, output and exit status go through, first and later starts", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", `${REPORT}; cat; echo oops >&2; exit 42`);
  for (let i = 0; i < 2; i++) {
    const end = await lab.run([program, "-iface=eth 0", "", "--", "*"], {}, "from stdin\n");
    assert.deepEqual(end, {
      code: 42,
      signal: null,
      stdout: "-iface=eth 0\n\n--\n*\nfrom stdin\n",
      stderr: "oops\n",
    });
  }
});

Deno.test("launcher: it becomes the program: same pid, its name in ps, no parent left, signals reach it", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build(
    "some-other-name",
    `trap 'exit 7' TERM; echo $$; cat /proc/$$/comm; sleep 30 & wait`,
  );
  const child = lab.spawn([program]);
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  for (let end = false; !end && !/\n.*\n/.test(said);) {
    const { value, done } = await reader.read();
    said += value ?? "";
    end = done;
  }
  assert.equal(said, `${child.pid}\nflanneld\n`);
  child.kill("SIGTERM");
  assert.equal((await child.status).code, 7);
  await reader.cancel();
  await Promise.all([child.stderr.cancel(), child.stdin.close()]);
});

Deno.test("launcher: the program's folder is the user's alone, and its environment names it", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", `echo "$program"; umask; env`);
  const { stdout, stderr } = await lab.run(["sh", "-c", `umask 027; exec "$0"`, program]);
  assert.equal(stderr, "");
  const [path = "", umask, ...env] = stdout.trim().split("\n");
  assert.match(path, /\/cache\/1\.0\.0-[0-9a-f]{16}\/flanneld$/);
  assert.equal(umask, "0027");
  assert.ok(!env.some((line) => /^(FLANNEL|flannel)/.test(line)), stdout);
  assert.ok(env.includes(`DENO_DIR=${path.replace(/\/flanneld$/, "/cache")}`), stdout);
  for (const folder of [lab.path("cache"), path.replace(/\/flanneld$/, "")]) {
    assert.equal((await Deno.stat(folder)).mode! & 0o7777, 0o700);
  }
});

Deno.test("launcher: called by the name flannel it is the CNI plugin, and cni install learns what to copy", async () => {
  await using lab = await LauncherLab.create();
  const plugin = await lab.build("flannel", `${REPORT}; echo "$FLANNEL_EXECUTABLE"`);
  assert.equal((await lab.run([plugin])).stdout, "cni\n\n");
  const program = await lab.build("flanneld", `${REPORT}; echo "$FLANNEL_EXECUTABLE"`);
  assert.equal((await lab.run([program, "cni", "install"])).stdout, `cni\ninstall\n${program}\n`);
});

Deno.test("launcher: of eight first starts at once all run, and one unpacks", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", "echo ran");
  const tar = `#!/bin/sh\necho tar >>"${lab.path("log")}"\nexec /bin/tar "$@"\n`;
  await Deno.mkdir(lab.path("bin"));
  await Deno.writeTextFile(lab.path("bin/tar"), tar, { mode: 0o755 });
  const env = { PATH: `${lab.path("bin")}:/usr/bin:/bin` };
  const ends = await Promise.all(Array.from({ length: 8 }, () => lab.run([program], env)));
  for (const end of ends) assert.deepEqual(end, { code: 0, signal: null, stdout: "ran\n", stderr: "" });
  assert.equal(await Deno.readTextFile(lab.path("log")), "tar\n");
  assert.equal((await lab.list("cache")).length, 2);
});

Deno.test("launcher: a damaged and a cut-off archive are refused with hash and size, and nothing runs", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", "echo ran");
  const bytes = await Deno.readFile(program);
  const damaged = bytes.slice();
  damaged[bytes.length - 40]! ^= 1;
  for (const [content, size] of [[damaged, ""], [bytes.slice(0, -100), ""]] as const) {
    await Deno.writeFile(program, content);
    const end = await lab.run([program]);
    assert.equal(end.code, 126);
    assert.equal(end.stdout, size);
    assert.match(
      end.stderr,
      /flanneld is damaged: the SHA-256 .* must be [0-9a-f]{64} \(\d+ bytes\), is [0-9a-f]{64}/,
    );
  }
});

Deno.test("launcher: a damaged copy doesn't touch a good one that was unpacked before", async () => {
  await using lab = await LauncherLab.create();
  const good = await lab.build("flanneld", "echo ran");
  await lab.run([good]);
  const other = await lab.build("other", "echo other", "2.0.0");
  const bytes = await Deno.readFile(other);
  await Deno.writeFile(other, bytes.slice(0, -1));
  assert.equal((await lab.run([other])).code, 126);
  assert.equal((await lab.run([good])).stdout, "ran\n");
});

Deno.test("launcher: SIGTERM while it unpacks ends it by that signal, and leaves nothing half done", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", "echo ran");
  await Deno.mkdir(lab.path("bin"));
  const tar = `#!/bin/sh\necho $$ >"${lab.path("started")}.new"\nmv "${lab.path("started")}.new" "${
    lab.path("started")
  }"\nexec sleep 30\n`;
  await Deno.writeTextFile(lab.path("bin/tar"), tar, { mode: 0o755 });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const child = lab.spawn([program], { PATH: `${lab.path("bin")}:/usr/bin:/bin` });
    await child.stdin.close();
    const pid = Number(await appears(lab.path("started")));
    child.kill(signal);
    const end = await ended(child);
    assert.equal(end.signal, signal, end.stderr);
    assert.deepEqual(await lab.list("cache"), [".lock"]);
    await gone(pid);
    await Deno.remove(lab.path("started"));
  }
  assert.equal((await lab.run([program])).stdout, "ran\n");
});

Deno.test("launcher: one for another machine says so, and makes no folder", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", "echo ran", "1.0.0", "vax");
  const end = await lab.run([program]);
  assert.equal(end.code, 126);
  assert.match(end.stderr, new RegExp(`flanneld is for vax, and this host is ${Deno.build.arch}\n$`));
  assert.ok(!(await lab.list()).includes("cache"));
});

Deno.test("launcher: what a killed start left behind is cleared away by the next", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", "echo ran");
  await Deno.mkdir(lab.path("cache", ".new.abcdef"), { recursive: true, mode: 0o700 });
  await Deno.chmod(lab.path("cache"), 0o700);
  assert.equal((await lab.run([program])).stdout, "ran\n");
  assert.deepEqual((await lab.list("cache")).filter((name) => name.startsWith(".new")), []);
});

Deno.test("launcher: a truncated runtime, as after a power cut, is unpacked again", async () => {
  await using lab = await LauncherLab.create();
  const program = await lab.build("flanneld", "echo ran");
  await lab.run([program]);
  const name = (await lab.list("cache")).find((one) => one.startsWith("1.0.0"))!;
  await Deno.truncate(lab.path("cache", name, "flanneld"), 0);
  assert.deepEqual(await lab.run([program]), { code: 0, signal: null, stdout: "ran\n", stderr: "" });
});

Deno.test("launcher: an older version stays while it runs, and goes with the next unpacking after that", async () => {
  await using lab = await LauncherLab.create();
  const versions = async () =>
    (await lab.list("cache")).filter((one) => one !== ".lock").map((one) => one.slice(0, 5));
  const old = await lab.build("old", "echo running; read -r line", "1.0.0");
  const running = lab.spawn([old]);
  const reader = running.stdout.getReader();
  await reader.read();
  await lab.run([await lab.build("next", "echo next", "2.0.0")]);
  assert.deepEqual(await versions(), ["1.0.0", "2.0.0"]);
  await running.stdin.close();
  await running.status;
  await reader.cancel();
  await running.stderr.cancel();
  await lab.run([await lab.build("third", "echo third", "3.0.0")]);
  assert.deepEqual(await versions(), ["3.0.0"]);
});

Deno.test({
  name: "launcher: a folder that others can write, or a link to one, is not used (not as root)",
  ignore: Deno.uid() === 0,
  fn: async () => {
    await using lab = await LauncherLab.create();
    const program = await lab.build("flanneld", `echo "$program"`);
    await Deno.mkdir(lab.path("cache"));
    await Deno.chmod(lab.path("cache"), 0o777);
    await Deno.mkdir(lab.path("home"));
    await Deno.mkdir(lab.path("real"), { mode: 0o700 });
    await Deno.symlink(lab.path("real"), lab.path("link"));
    for (const folder of ["cache", "link"]) {
      const env = { HOME: lab.path("home"), FLANNELD_CACHE_DIR: lab.path(folder) };
      assert.match((await lab.run([program], env)).stdout, /\/home\/\.cache\/flanneld\//);
    }
    assert.deepEqual([await lab.list("cache"), await lab.list("real")], [[], []]);
  },
});

/** The text of a file once it is there. */
async function appears(path: string): Promise<string> {
  for (let i = 0; i < 500; i++) {
    try {
      return await Deno.readTextFile(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${path} doesn't appear`);
}

/** Waits until a process is no more. */
async function gone(pid: number): Promise<void> {
  for (let i = 0; i < 500; i++) {
    try {
      Deno.kill(pid, 0 as unknown as Deno.Signal);
      await Deno.stat(`/proc/${pid}`);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`process ${pid} is still there`);
}
