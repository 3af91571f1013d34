import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { parseEndpoints } from "../../lib/leases/etcd/endpoints.ts";
import { CallError, classify } from "../../lib/leases/etcd/faults.ts";
import type { WatchResponse } from "../../lib/leases/etcd/messages.ts";
import { WatchCursor } from "../../lib/leases/etcd/watch.ts";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { CompactedError, StoreError } from "../../lib/leases/types.ts";

Deno.test("etcd endpoints as people write them", () => {
  const endpoints = parseEndpoints(
    " http://10.0.0.1:2379/ ,https://etcd.example:4001,,[fd00::1]:2379, HTTPS://[::1]//,b",
  );
  assert.deepEqual(endpoints.map(({ url, secure }) => [url, secure]), [
    ["http://10.0.0.1:2379", false],
    ["https://etcd.example:4001", true],
    ["http://[fd00::1]:2379", false],
    ["https://[::1]:2379", true],
    ["http://b:2379", false],
  ]);
  assert.equal(parseEndpoints(["http://a:1"])[0]?.target, "a:1");
});

Deno.test("what isn't an etcd endpoint is named, with the form that is right", () => {
  for (
    const text of ["ftp://a:1", "http://a:99999", "http://a:1/path", "a b", "fd00::1"]
  ) {
    assert.throws(() => parseEndpoints(text), (error: Error) => {
      assert.ok(error.message.includes(JSON.stringify(text)), error.message);
      assert.match(error.message, /http:\/\/10\.0\.0\.1:2379/);
      return error instanceof StoreError;
    });
  }
  assert.throws(() => parseEndpoints(" , "), /No etcd endpoint/);
});

Deno.test("the password in an etcd endpoint is never shown", () => {
  for (const text of ["http://root:s3cret@a", "root:s3cret@a:2379", "https://root:s3c/@,r3t@a/x"]) {
    assert.throws(() => parseEndpoints([text]), (error: Error) => {
      assert.doesNotMatch(error.message, /s3c|r3t/);
      return /\*\*\*@a/.test(error.message);
    });
  }
});

Deno.test("etcd errors: which may pass by waiting, and which don't", () => {
  const cases: [number, string, string, RegExp][] = [
    [14, "connect ECONNREFUSED 10.0.0.1:2379", "endpoint", /^connection refused$/],
    [4, "Deadline exceeded", "endpoint", /^no answer in time$/],
    [14, "etcdserver: no leader", "endpoint", /no leader/],
    [14, "getaddrinfo ENOTFOUND nowhere", "endpoint", /ENOTFOUND nowhere/],
    [12, "Received HTTP status code 404", "endpoint", /404/],
    [14, "unable to verify the first certificate", "fatal", /unknown authority.*-etcd-cafile/],
    [
      14,
      "ERR_TLS_CERT_ALTNAME_INVALID: Hostname/IP does not match certificate's altnames: IP: 127.0.0.2 is not in the cert's list: 127.0.0.1",
      "fatal",
      /^the server's certificate is for other names: IP: 127\.0\.0\.2 is not in the cert's list: 127\.0\.0\.1$/,
    ],
    [14, "write EPIPE", "endpoint", /EPIPE: the server closed.*client certificate/],
    [
      14,
      "received fatal alert: BadCertificate",
      "fatal",
      /refuses our client certificate \(BadCertificate\)/,
    ],
    [3, "etcdserver: authentication failed, invalid user ID or password", "fatal", /wrong user or password/],
    [3, "etcdserver: user name is empty", "anonymous", /set -etcd-username/],
    [11, "etcdserver: mvcc: required revision is a future revision", "future", /future/],
    [7, "etcdserver: permission denied", "fatal", /-etcd-prefix/],
    [16, "etcdserver: invalid auth token", "token", /invalid auth token/],
    [3, "etcdserver: revision of auth store is old", "token", /old/],
    [2, "auth: revision in header is old", "token", /old/],
    [11, "etcdserver: mvcc: required revision has been compacted", "compacted", /compacted/],
    [8, "etcdserver: mvcc: database space exceeded", "request", /space exceeded/],
  ];
  for (const [code, details, kind, cause] of cases) {
    const fault = classify({ code, details });
    assert.equal(fault.kind, kind, details);
    assert.match(fault.cause, cause);
  }
});

const event = (key: string, revision: number): WatchResponse["events"][number] => ({
  type: "Put",
  kv: {
    key: Buffer.from(key),
    value: Buffer.from(""),
    create_revision: String(revision),
    mod_revision: String(revision),
    lease: "0",
  },
});

function response(header: number, change: Partial<WatchResponse> = {}): WatchResponse {
  return {
    header: { cluster_id: "1", raft_term: "2", revision: String(header) },
    ...{ watch_id: "0", created: false, canceled: false, compact_revision: "0", cancel_reason: "" },
    ...{ fragment: false, events: [], ...change },
  };
}

// While a watcher catches up, etcd sends the events in parts under the header of the newest revision. A cursor
// that takes the header's revision loses the parts that were still to come when the connection ends.
Deno.test("etcd watch: the cursor goes by the events, not by the header", () => {
  const cursor = new WatchCursor(10n);
  assert.equal(cursor.take(response(5000, { created: true })), undefined);
  const first = cursor.take(response(5000, { events: [event("a", 11), event("b", 1010)] }));
  assert.equal(first?.revision, 1010n);
  assert.equal(cursor.revision, 1010n);
});

Deno.test("etcd watch: progress moves the cursor, without events", () => {
  const cursor = new WatchCursor(10n);
  cursor.take(response(10, { created: true }));
  assert.deepEqual(cursor.take(response(70)), { revision: 70n, events: [] });
  assert.equal(cursor.revision, 70n);
});

Deno.test("etcd watch: fragments become one batch when the last one is there", () => {
  const cursor = new WatchCursor(10n);
  assert.equal(cursor.take(response(11, { fragment: true, events: [event("a", 11)] })), undefined);
  assert.equal(cursor.revision, 10n);
  assert.equal(cursor.take(response(11, { fragment: true, events: [event("b", 11)] })), undefined);
  assert.equal(cursor.take(response(11, { events: [event("c", 11)] }))?.events.length, 3);
  assert.equal(cursor.revision, 11n);
});

Deno.test("etcd watch: compacted, cancelled", () => {
  const start = () => new WatchCursor(10n);
  assert.throws(() => start().take(response(99, { canceled: true, compact_revision: "50" })), CompactedError);
  // A member that is behind, or has another history: the proof that comes before each watch distinguishes them.
  assert.equal(start().take(response(4, { created: true })), undefined);
  const denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
  assert.throws(
    () => start().take(response(99, { canceled: true, cancel_reason: denied })),
    (error: Error) => {
      return error instanceof CallError && classify(error).kind === "token";
    },
  );
});

Deno.test("etcd store: files and options that can't be used are named", async () => {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-lease-" });
  try {
    await Deno.writeTextFile(`${folder}/empty.pem`, "");
    const base = { endpoints: "https://127.0.0.1:1", prefix: "/x" };
    assert.throws(() => openEtcdStore({ ...base, caFile: `${folder}/none.pem` }), /-etcd-cafile .*none\.pem/);
    assert.throws(
      () => openEtcdStore({ ...base, caFile: `${folder}/empty.pem` }),
      /-etcd-cafile .*no PEM CERTIFICATE/,
    );
    assert.throws(() => openEtcdStore({ ...base, certFile: `${folder}/empty.pem` }), /needs both/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("etcd store: its description holds no secret", async () => {
  await using store = openEtcdStore({
    endpoints: "http://a:1,http://b:2",
    prefix: "/x",
    username: "u",
    password: "s3cret",
  });
  assert.equal(store.description, "etcd http://a:1,http://b:2");
});
