/** Sessions that end while a store is in use: against a real etcd with simple tokens and with JWTs. */
import assert from "node:assert/strict";
import type { EtcdStore } from "../../lib/leases/etcd/store.ts";
import { openEtcdStore } from "../../lib/leases/etcd_store.ts";
import { StoreError } from "../../lib/leases/types.ts";
import { Etcd } from "../../scripts/lab/etcd.ts";
import { etcdTests, follow, PREFIX, until, value } from "./etcd_client.ts";
import { TcpProxy } from "./tcp_proxy.ts";

const test = etcdTests("etcd session");
const PASSWORD = "s3cret";

function openAs(username: string, endpoint: string): EtcdStore {
  return openEtcdStore({ endpoints: endpoint, prefix: PREFIX, username, password: PASSWORD });
}

function pem(label: string, der: ArrayBuffer): string {
  const base64 = btoa(String.fromCharCode(...new Uint8Array(der))).match(/.{1,64}/g)!.join("\n");
  return `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n`;
}

/** Runs with an etcd that hands out JWTs which live for `ttl`. */
async function withJwt(ttl: string, run: (etcd: Etcd) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "flanneld-jwt-" });
  try {
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048 };
    const publicExponent = Uint8Array.of(1, 0, 1);
    const pair = await crypto.subtle.generateKey({ ...algorithm, publicExponent }, true, ["sign", "verify"]);
    const [own, open] = [`${folder}/private.pem`, `${folder}/public.pem`];
    await Deno.writeTextFile(
      own,
      pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", pair.privateKey)),
    );
    await Deno.writeTextFile(open, pem("PUBLIC KEY", await crypto.subtle.exportKey("spki", pair.publicKey)));
    const token = `jwt,pub-key=${open},priv-key=${own},sign-method=RS256,ttl=${ttl}`;
    await using etcd = await Etcd.start({ rootPassword: PASSWORD, args: ["--auth-token", token] });
    await run(etcd);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A user who may do what flanneld does, and nothing else. */
async function addFlannel(etcd: Etcd): Promise<void> {
  await etcd.ctl("user", "add", `flannel:${PASSWORD}`);
  await etcd.ctl("role", "add", "flannel");
  await etcd.ctl("role", "grant-permission", "flannel", "read", `${PREFIX}/config`);
  await etcd.ctl("role", "grant-permission", "flannel", "readwrite", "--prefix=true", `${PREFIX}/subnets/`);
  await etcd.ctl("user", "grant-role", "flannel", "flannel");
}

/** Every kind of call, and the watch, through a line that is cut once more. */
async function useAll(store: EtcdStore, proxy: TcpProxy, host: number, changed: () => Promise<unknown>) {
  await using following = follow(store);
  await until("connected", () => following.sync.health().connected, 5000);
  const held = (await store.createLease(`10.5.${host}.0-24`, value(host), 600))!;
  await until("the peer", () => following.peers.peers.has(held.key), 5000);
  await changed();
  const renewed = (await store.renewLease(held, 600))!;
  assert.deepEqual(renewed, held);
  const updated = (await store.updateLease(held, value(host, "aa:bb:cc:dd:ee:ff"), 600))!;
  await store.readConfig();
  proxy.dropLines();
  await until("cut", () => !following.sync.health().connected, 5000);
  await until("connected again", () => following.sync.health().connected, 5000);
  assert.equal(await store.deleteLease(updated), true);
  await until("the peer to go", () => !following.peers.peers.has(held.key), 5000);
  assert.doesNotMatch(following.sync.health().lastError ?? "", /denied|token|auth/);
}

// "revision of auth store is old" was no reason to log in again: nothing worked until a restart.
test("a JWT outlives no change of users: a new login, and everything goes on", () =>
  withJwt("10m", async (etcd) => {
    await addFlannel(etcd);
    await using proxy = new TcpProxy(etcd.endpoint);
    await using store = openAs("flannel", proxy.endpoint);
    await useAll(store, proxy, 1, () => etcd.ctl("user", "add", "guest:guest"));
    await useAll(store, proxy, 2, () => etcd.ctl("role", "add", "other"));
  }));

test("a JWT that expires, before each call and each watch", () =>
  withJwt("1s", async (etcd) => {
    await using proxy = new TcpProxy(etcd.endpoint);
    await using store = openAs("root", proxy.endpoint);
    for (const host of [1, 2]) {
      await useAll(store, proxy, host, () => new Promise((resolve) => setTimeout(resolve, 1500)));
    }
  }));

test("simple tokens that expire after a second", async () => {
  await using etcd = await Etcd.start({ rootPassword: PASSWORD, args: ["--auth-token-ttl", "1"] });
  await using proxy = new TcpProxy(etcd.endpoint);
  await using store = openAs("root", proxy.endpoint);
  await useAll(store, proxy, 1, () => new Promise((resolve) => setTimeout(resolve, 2500)));
});

// A server without users was remembered as one until the next start.
test("authentication that is enabled later, and disabled again", async () => {
  await using etcd = await Etcd.start();
  await using proxy = new TcpProxy(etcd.endpoint);
  await using store = openAs("root", proxy.endpoint);
  await using stranger = openEtcdStore({ endpoints: etcd.endpoint, prefix: PREFIX });
  await stranger.readConfig();
  await useAll(store, proxy, 1, () => etcd.enableAuth(PASSWORD));
  await assert.rejects(stranger.readConfig(), (error: Error) => {
    return error instanceof StoreError && /set -etcd-username and -etcd-password/.test(error.message);
  });
  await useAll(store, proxy, 2, () => etcd.disableAuth());
  await stranger.readConfig();
});

// A watch that etcd refuses for its session looks as one for its permissions; it must not end for good.
test("permissions that are taken away and given back, without a restart", async () => {
  await using etcd = await Etcd.start({ rootPassword: PASSWORD });
  await addFlannel(etcd);
  await using proxy = new TcpProxy(etcd.endpoint);
  await using store = openAs("flannel", proxy.endpoint);
  await using following = follow(store);
  await until("connected", () => following.sync.health().connected, 5000);
  await etcd.ctl("user", "revoke-role", "flannel", "flannel");
  proxy.dropLines();
  const isDenied = () => /permission denied.*-etcd-prefix/.test(following.sync.health().lastError ?? "");
  await until("permission denied", isDenied, 5000);
  assert.ok(following.sync.health().lastError!.includes(proxy.endpoint));
  await etcd.ctl("user", "grant-role", "flannel", "flannel");
  await until("connected again", () => following.sync.health().connected, 10_000);
});
