import assert from "node:assert/strict";
import { readStatus } from "../../lib/daemon/status_client.ts";

/** A Unix socket on which every request gets `answer`, byte for byte. */
async function withServer(answer: string, body: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/subnet.sock`;
  const listener = Deno.listen({ transport: "unix", path });
  const serving = (async () => {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(4096));
      await connection.write(new TextEncoder().encode(answer));
      connection.close();
    }
  })();
  try {
    await body(path);
  } finally {
    listener.close();
    await serving.catch(() => {});
    await Deno.remove(folder, { recursive: true });
  }
}

function answer(body: string, status = "200 OK"): string {
  return `HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
}

Deno.test("status: the answer of a daemon", async () => {
  await withServer(answer(`{"ready":true}`), async (path) => {
    assert.deepEqual(await readStatus(path), { ready: true });
  });
});

// Each was a stack trace of JSON.parse.
for (const body of ["internal error\n", "", "<html>", "[]", "null"]) {
  Deno.test(`status: an answer that isn't a status is one sentence: ${JSON.stringify(body)}`, async () => {
    await withServer(answer(body, "500 Internal Server Error"), async (path) => {
      await assert.rejects(readStatus(path), {
        message: `Cannot ask flanneld on ${path}: its answer isn't JSON (status 500): is that a flanneld?`,
      });
    });
  });
}

Deno.test("status: no HTTP at all, and an answer that breaks off, are one sentence too", async () => {
  for (const text of ["hello\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"]) {
    await withServer(text, async (path) => {
      await assert.rejects(readStatus(path), (error: Error) => {
        assert.match(error.message, /^Cannot ask flanneld on .*subnet\.sock: \S/);
        assert(!(error instanceof SyntaxError));
        return true;
      });
    });
  }
});

Deno.test("status: without a daemon it says so", async () => {
  await assert.rejects(readStatus("/nowhere/subnet.sock"), {
    message: "Cannot ask flanneld on /nowhere/subnet.sock: no flanneld is running with this -subnet-file",
  });
});
