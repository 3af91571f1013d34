import assert from "node:assert/strict";
import { join } from "node:path";
import { check, SystemError } from "../../lib/ffi/errno.ts";
import { closeFd } from "../../lib/ffi/fd.ts";
import { libc } from "../../lib/ffi/libc.ts";
import { notify, notifyEnvironment } from "../../lib/observe/sd_notify.ts";

/** A Unix datagram socket as the service manager has it; `name` with a zero byte first is abstract. */
class Manager implements Disposable {
  readonly #fd: number;

  constructor(name: string) {
    const text = new TextEncoder().encode(name);
    const address = new Uint8Array(2 + text.length);
    address[0] = 1;
    address.set(text, 2);
    this.#fd = check(libc().socket(1, 2 | 0x80000, 0), "make a socket");
    check(libc().bind(this.#fd, address, address.length), "bind");
  }

  /** The datagram that is there; fails if there is none. */
  receive(): string {
    const buffer = new Uint8Array(4096);
    const length = check(libc().recv(this.#fd, buffer, 4096n, 0x40), "receive");
    return new TextDecoder().decode(buffer.subarray(0, length));
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}

Deno.test("sd_notify: datagrams to a socket in the file system", async () => {
  const folder = await Deno.makeTempDir({ prefix: "sd_notify_" });
  try {
    const path = join(folder, "notify.sock");
    using manager = new Manager(`${path}\0`);
    assert.equal(notify(path, { READY: "1", STATUS: "leased 10.5.72.0/24\nREADY=0" }), true);
    assert.equal(manager.receive(), "READY=1\nSTATUS=leased 10.5.72.0/24 READY=0");
    notify(path, { STOPPING: "1" });
    assert.equal(manager.receive(), "STOPPING=1");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("sd_notify: datagrams to an abstract socket", () => {
  const name = `flanneld-test-${crypto.randomUUID()}`;
  using manager = new Manager(`\0${name}`);
  assert.equal(notify(`@${name}`, { WATCHDOG: "1" }), true);
  assert.equal(manager.receive(), "WATCHDOG=1");
});

Deno.test("sd_notify: no socket is fine, a wrong one is said", () => {
  assert.equal(notify(undefined, { READY: "1" }), false);
  assert.throws(() => notify("/nowhere/there.sock", { READY: "1" }), (error: Error) => {
    assert(error instanceof SystemError);
    assert.equal(error.code, "ENOENT");
    return true;
  });
  assert.throws(() => notify("relative", { READY: "1" }), RangeError);
  assert.throws(() => notify(`/${"x".repeat(108)}`, { READY: "1" }), RangeError);
});

Deno.test("sd_notify: what the environment asks for", () => {
  const table: [Record<string, string>, ReturnType<typeof notifyEnvironment>][] = [
    [{}, { socket: undefined }],
    [{ NOTIFY_SOCKET: "" }, { socket: undefined }],
    [{ NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "30000000" }, { socket: "/s", watchdogInterval: 15_000 }],
    [{ NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "1000", WATCHDOG_PID: "7" }, {
      socket: "/s",
      watchdogInterval: 1,
    }],
    [{ NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "1000", WATCHDOG_PID: "8" }, { socket: "/s" }],
    [{ NOTIFY_SOCKET: "/s", WATCHDOG_USEC: "x" }, { socket: "/s" }],
  ];
  for (const [environment, expected] of table) assert.deepEqual(notifyEnvironment(environment, 7), expected);
});
