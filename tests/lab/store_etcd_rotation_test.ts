/** Certificates that are replaced while a store is in use: against a real etcd. */
import assert from "node:assert/strict";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { Problems } from "../../lib/observe/problems.ts";
import { type Certificates, makeCertificates } from "../../scripts/lab/certificates.ts";
import { Etcd } from "../../scripts/lab/etcd.ts";
import { etcdTests, follow, PREFIX, until, value } from "./etcd_client.ts";

const test = etcdTests("etcd certificates");

/** Two folders with an authority each, and one with symbolic links to the files of the first. */
async function withAuthorities(
  run: (
    paths: { first: Certificates; second: Certificates; used: Certificates; folder: string },
  ) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-rotation-" });
  try {
    const made = [];
    for (const name of ["first", "second"]) {
      await Deno.mkdir(`${folder}/${name}`);
      made.push(await makeCertificates(`${folder}/${name}`));
    }
    // As Kubernetes mounts secrets: the files are links through a folder that is exchanged as a whole.
    await Deno.symlink("first", `${folder}/now`);
    const [first, second] = made as [Certificates, Certificates];
    const used = Object.fromEntries(
      Object.entries(first).map(([name, path]) => [name, path.replace("/first", "/now")]),
    ) as unknown as Certificates;
    await run({ first, second, used, folder });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function exchange(folder: string, name: string): Promise<void> {
  await Deno.symlink(name, `${folder}/next`);
  await Deno.rename(`${folder}/next`, `${folder}/now`);
}

// They were read once, at the start.
test("a rotation of authority, server and client into the same paths needs no restart", () =>
  withAuthorities(async ({ used, folder }) => {
    await using etcd = await Etcd.start({ tls: { certificates: used, clientAuth: true } });
    await using store = openEtcdStore({
      ...{ endpoints: etcd.endpoint, prefix: PREFIX },
      ...{ caFile: used.ca, certFile: used.clientCert, keyFile: used.clientKey },
    });
    await using following = follow(store);
    await until("connected", () => following.sync.health().connected, 5000);
    const held = (await store.createLease("10.5.1.0-24", value(1), 600))!;
    await exchange(folder, "second");
    await etcd.stop();
    await etcd.start();
    await until("the old session to end", () => !following.sync.health().connected, 5000);
    await until("connected again", () => following.sync.health().connected, 10_000);
    assert.ok(await store.updateLease(held, value(2), 600));
  }));

test("a rotation that is half done leaves the old ones in use, and is a problem until it is whole", () =>
  withAuthorities(async ({ first, second }) => {
    await using etcd = await Etcd.start({ tls: { certificates: first, clientAuth: true } });
    const problems = new Problems();
    const { ca: caFile, clientCert: certFile, clientKey: keyFile } = first;
    const options = { endpoints: etcd.endpoint, prefix: PREFIX, caFile, certFile, keyFile };
    await using store = openEtcdStore(options, problems);
    await store.readConfig();
    const texts = await Promise.all([certFile, keyFile].map((path) => Deno.readTextFile(path)));

    await Deno.writeTextFile(keyFile, await Deno.readTextFile(second.clientKey));
    await store.readConfig();
    const [problem] = problems.list();
    assert.equal(problem?.key, "etcd certificates");
    assert.match(
      problem.text,
      /-etcd-certfile .*clientCert.pem with -etcd-keyfile .*clientKey.pem: they don't belong together.*the earlier one/,
    );

    await Deno.writeTextFile(certFile, "");
    await store.readConfig();
    assert.match(problems.list()[0]!.text, /-etcd-certfile .*clientCert\.pem: it holds no PEM CERTIFICATE/);

    await Deno.writeTextFile(certFile, texts[0]!);
    await Deno.writeTextFile(keyFile, texts[1]!);
    await store.readConfig();
    assert.deepEqual(problems.list(), []);
  }));
