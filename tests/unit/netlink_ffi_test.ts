import assert from "node:assert/strict";
import { check, EAGAIN, EBADF, errno, errnoName, errnoText, SystemError } from "../../lib/ffi/errno.ts";
import { closeFd, O_RDONLY, openFd, POLLIN, PollSet, setSocketOption, WakeFd } from "../../lib/ffi/fd.ts";
import { addressOf, libc } from "../../lib/ffi/libc.ts";

Deno.test("ffi: errno is that of the call that failed last", () => {
  assert.equal(libc().close(-1), -1);
  assert.equal(errno(), EBADF);
  using wake = new WakeFd();
  assert.equal(wake.reset(), false);
  assert.equal(errno(), EAGAIN);
});

Deno.test("ffi: a failed call becomes an error with operation, number, name and text", () => {
  assert.throws(() => check(libc().close(-1), "close nothing"), (error) => {
    assert.ok(error instanceof SystemError);
    assert.deepEqual([error.operation, error.errno, error.code], ["close nothing", EBADF, "EBADF"]);
    assert.equal(error.message, "Cannot close nothing: Bad file descriptor (EBADF)");
    return true;
  });
  assert.equal(check(7, "count"), 7);
  assert.throws(() => openFd("/nonexistent/file", O_RDONLY), { code: "ENOENT" });
});

Deno.test("ffi: errors outside the table have a name too", () => {
  assert.equal(errnoName(4095), "errno 4095");
  assert.equal(errnoText(4095), "Unknown error 4095");
});

Deno.test("ffi: an address counts the view's offset, in shared memory too", () => {
  for (const memory of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
    const start = addressOf(new Uint8Array(memory));
    assert.ok(start > 0n);
    assert.equal(addressOf(new Uint8Array(memory, 5)), start + 5n);
    assert.equal(addressOf(new DataView(memory, 63, 1)), start + 63n);
  }
  // Written through the number, read through the array.
  const bytes = new Uint8Array(new ArrayBuffer(16));
  const file = openFd("/proc/self/comm", O_RDONLY);
  try {
    const length = libc().readPacket(file, addressOf(bytes), 16n);
    assert.equal(
      new TextDecoder().decode(bytes.subarray(0, length)),
      Deno.readTextFileSync("/proc/self/comm"),
    );
  } finally {
    closeFd(file);
  }
});

Deno.test("ffi: a wake-up ends a poll on another thread and stays until it is reset", async () => {
  using wake = new WakeFd();
  const set = new PollSet([{ fd: wake.fd, events: POLLIN }]);
  assert.equal(set.waitSync(0), 0);
  const ready = set.wait();
  wake.wake();
  assert.equal(await ready, 1);
  assert.equal(set.ready(0), POLLIN);
  assert.equal(set.waitSync(0), 1);
  assert.equal(wake.reset(), true);
  assert.equal(wake.reset(), false);
  assert.equal(set.waitSync(0), 0);
});

Deno.test("ffi: poll says which of several descriptors is ready", () => {
  using first = new WakeFd();
  using second = new WakeFd();
  const set = new PollSet([{ fd: first.fd, events: POLLIN }, { fd: second.fd, events: POLLIN }]);
  second.wake();
  assert.equal(set.waitSync(1000), 1);
  assert.deepEqual([set.ready(0), set.ready(1)], [0, POLLIN]);
});

Deno.test("ffi: a socket option that can't be set is named", () => {
  assert.throws(() => setSocketOption(-1, 1, 8, 1, "SO_RCVBUF"), {
    message: "Cannot set SO_RCVBUF: Bad file descriptor (EBADF)",
  });
});

Deno.test("ffi: a worker has an errno of its own", async () => {
  const source = `
    import { errno } from ${JSON.stringify(import.meta.resolve("../../lib/ffi/errno.ts"))};
    import { libc } from ${JSON.stringify(import.meta.resolve("../../lib/ffi/libc.ts"))};
    libc().poll(null, 1n, -1);
    self.postMessage(errno());`;
  libc().close(-1);
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    const theirs = await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
    });
    assert.equal(theirs, 14, "EFAULT");
    libc().close(-1);
    assert.equal(errno(), EBADF);
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
});
