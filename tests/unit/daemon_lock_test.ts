import assert from "node:assert/strict";
import { DaemonLock, LockedError, lockPath } from "../../lib/daemon/lock.ts";

const NEVER = new AbortController().signal;

async function withFolder(body: (options: { subnetFile: string }) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body({ subnetFile: `${folder}/new/subnet.env` });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("lock: the second one says who holds it, and gets it when the first one lets go", async () => {
  await withFolder(async (options) => {
    const first = await DaemonLock.take(options, "flanneld", NEVER);
    const began = performance.now();
    await assert.rejects(DaemonLock.take(options, "flanneld", NEVER), (error: Error) => {
      assert(error instanceof LockedError);
      assert.equal(error.holder, `flanneld (process ${Deno.pid})`);
      assert.match(error.message, /subnet\.lock: stop it, or give this one its own -subnet-file/);
      return true;
    });
    assert(performance.now() - began >= 1_900, "a predecessor may still be ending");
    const second = DaemonLock.take(options, "flanneld", NEVER);
    first[Symbol.dispose]();
    (await second)[Symbol.dispose]();
    await assert.rejects(Deno.stat(lockPath(options)), Deno.errors.NotFound);
  });
});

Deno.test("lock: a file without a holder isn't a lock; a signal ends the wait", async () => {
  await withFolder(async (options) => {
    await Deno.mkdir(options.subnetFile.replace("/subnet.env", ""));
    await Deno.writeTextFile(lockPath(options), "flanneld (process 1)\n");
    using _lock = await DaemonLock.take(options, "flanneld", NEVER);
    const stop = new AbortController();
    const waiting = DaemonLock.take(options, "flanneld", stop.signal);
    stop.abort(new Error("ended"));
    await assert.rejects(waiting, /ended/);
  });
});

Deno.test("lock: a folder that can't be made is said with the file", async () => {
  await assert.rejects(DaemonLock.take({ subnetFile: "/proc/nowhere/subnet.env" }, "flanneld", NEVER), {
    message: /^Cannot lock \/proc\/nowhere\/subnet\.lock: /,
  });
});
