/** TLS, client certificates, users: against a real etcd. */
import assert from "node:assert/strict";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { StoreError } from "../../lib/leases/types.ts";
import {
  type CertificateOptions,
  type Certificates,
  makeCertificates,
} from "../../scripts/lab/certificates.ts";
import { Etcd, type EtcdOptions, hasEtcd } from "../../scripts/lab/etcd.ts";

const PREFIX = "/coreos.com/network";

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: `etcd access: ${name}`,
    ignore: !hasEtcd(),
    sanitizeOps: false,
    sanitizeResources: false,
    fn,
  });
}

async function withCertificates(
  options: CertificateOptions,
  run: (certificates: Certificates) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-tls-" });
  try {
    await run(await makeCertificates(folder, options));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function withTls(
  run: (etcd: Etcd, certificates: Certificates) => Promise<void>,
  options: CertificateOptions & { clientAuth?: boolean } & EtcdOptions = {},
): Promise<void> {
  await withCertificates(options, async (certificates) => {
    const tls = { certificates, clientAuth: options.clientAuth ?? false };
    await using etcd = await Etcd.start({ ...options, tls });
    await run(etcd, certificates);
  });
}

/** Opens, writes, reads and watches once. */
async function use(options: Parameters<typeof openEtcdStore>[0]): Promise<void> {
  await using store = openEtcdStore(options);
  await store.writeConfig("{}");
  const config = (await store.readConfig())!;
  assert.equal(config.text, "{}");
  for await (const batch of store.watchLeases(config.revision)) {
    assert.deepEqual(batch.events, []);
    break;
  }
}

async function refuses(
  options: Parameters<typeof openEtcdStore>[0],
  message: RegExp,
  fatal = true,
): Promise<void> {
  await assert.rejects(use(options), (error: Error) => {
    assert.match(error.message, message);
    assert.equal(error instanceof StoreError, fatal, `${error.name}: ${error.message}`);
    return true;
  });
}

test("a CA alone is enough, by address and by name", () =>
  withTls(async (etcd, { ca }) => {
    await use({ endpoints: etcd.endpoint, prefix: PREFIX, caFile: ca });
    await use({ endpoints: etcd.endpoint.replace("127.0.0.1", "localhost"), prefix: PREFIX, caFile: ca });
  }));

test("http and https endpoints in one list", () =>
  withTls(async (etcd, { ca }) => {
    await use({ endpoints: `http://127.0.0.1:1,${etcd.endpoint}`, prefix: PREFIX, caFile: ca });
  }));

test("an unknown authority is named, with the endpoint", () =>
  withTls((etcd) =>
    withCertificates({}, async ({ ca }) => {
      const named = new RegExp(`${etcd.endpoint}: .*unknown authority.*-etcd-cafile`);
      await refuses({ endpoints: etcd.endpoint, prefix: PREFIX, caFile: ca }, named);
      await refuses({ endpoints: etcd.endpoint, prefix: PREFIX }, named);
    })
  ));

test("a certificate for another address or name is named", () =>
  withTls(async (etcd, { ca }) => {
    const options = { prefix: PREFIX, caFile: ca };
    await refuses(
      { ...options, endpoints: etcd.endpoint },
      /for other names: IP: 127\.0\.0\.1 .*10\.9\.9\.9/,
    );
    const byName = etcd.endpoint.replace("127.0.0.1", "localhost");
    await refuses({ ...options, endpoints: byName }, /for other names: .*localhost.*other\.example/);
  }, { addresses: ["10.9.9.9"], dnsNames: ["other.example"] }));

test("a client certificate, where the server wants one", () =>
  withTls(async (etcd, { ca, clientCert, clientKey }) => {
    const options = { endpoints: etcd.endpoint, prefix: PREFIX, caFile: ca };
    await use({ ...options, certFile: clientCert, keyFile: clientKey });
    // Whether the server's reason or its hang-up is seen first is chance.
    await assert.rejects(use(options), new RegExp(`${etcd.endpoint}: .*client certificate`));
  }, { clientAuth: true }));

test("http to a TLS server, and TLS to an http server", () =>
  withTls(async (etcd, { ca }) => {
    const plain = { endpoints: etcd.endpoint.replace("https", "http"), prefix: PREFIX };
    await refuses(plain, /does it want https/, false);
    await using other = await Etcd.start();
    const secure = { endpoints: other.endpoint.replace("http", "https"), prefix: PREFIX, caFile: ca };
    await refuses(secure, /is this an http:\/\/ endpoint/);
  }));

test("user and password; wrong and missing ones are named, and never shown", async () => {
  await using etcd = await Etcd.start({ rootPassword: "s3cret" });
  const options = { endpoints: etcd.endpoint, prefix: PREFIX };
  await use({ ...options, username: "root", password: "s3cret" });
  await refuses(
    { ...options, username: "root", password: "wr0ng" },
    /authentication failed: wrong user or password/,
  );
  await refuses({ ...options, username: "root", password: "wr0ng" }, /^(?!.*wr0ng)/);
  await refuses(options, /set -etcd-username and -etcd-password/);
});

test("a user without the right to the prefix", async () => {
  await using etcd = await Etcd.start({ rootPassword: "s3cret" });
  await etcd.ctl("user", "add", "guest:guest");
  const options = { endpoints: etcd.endpoint, prefix: PREFIX, username: "guest", password: "guest" };
  await refuses(options, /permission denied.*-etcd-prefix/);
  await etcd.ctl("role", "add", "flannel");
  await etcd.ctl("role", "grant-permission", "flannel", "readwrite", "--prefix=true", `${PREFIX}/`);
  await etcd.ctl("user", "grant-role", "guest", "flannel");
  await use(options);
});

test("a user where etcd has none is no error", async () => {
  await using etcd = await Etcd.start();
  await use({ endpoints: etcd.endpoint, prefix: PREFIX, username: "root", password: "x" });
});

test("a session that ended is begun again", async () => {
  await using etcd = await Etcd.start({ rootPassword: "s3cret" });
  await using store = openEtcdStore({
    endpoints: etcd.endpoint,
    prefix: PREFIX,
    username: "root",
    password: "s3cret",
  });
  await store.writeConfig("1");
  await etcd.stop();
  // etcd forgets its simple tokens with its memory.
  await etcd.start();
  await store.writeConfig("2");
  assert.equal((await store.readConfig())?.text, "2");
  await etcd.stop();
  await etcd.start();
  const { revision } = await store.listLeases();
  await etcd.stop();
  await etcd.start();
  for await (const batch of store.watchLeases(revision)) {
    assert.deepEqual(batch.events, []);
    break;
  }
});
