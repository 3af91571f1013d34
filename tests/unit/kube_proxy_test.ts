/** The API server behind a proxy: which one, and the way through it. */
import assert from "node:assert/strict";
import { AccessError, type ApiAccess } from "../../lib/kube/access.ts";
import { ApiClient } from "../../lib/kube/client.ts";
import { describeProxy, parseProxy, proxyFromEnvironment } from "../../lib/kube/proxy.ts";
import { currentVersion } from "../../lib/kube/nodes.ts";
import { makeCertificates } from "../../scripts/lab/certificates.ts";
import { ADMIN_RULES } from "../fakes/kube/access.ts";
import { FakeApiServer } from "../fakes/kube/server.ts";
import { FakeProxy } from "../fakes/proxy.ts";

function chosen(server: string, env: Record<string, string>): string | undefined {
  return proxyFromEnvironment(new URL(server), (name) => env[name])?.href;
}

// The API server behind a proxy could not be reached: what client-go takes from the environment was ignored.
Deno.test("kube proxy: the environment names it by the server's scheme, upper case first", () => {
  const env = { HTTPS_PROXY: "http://a:1", https_proxy: "http://b:1", http_proxy: "c:1" };
  assert.equal(chosen("https://192.0.2.1", env), "http://a:1/");
  assert.equal(chosen("https://192.0.2.1", { ...env, HTTPS_PROXY: "" }), "http://b:1/");
  assert.equal(chosen("http://192.0.2.1", env), "http://c:1/");
  assert.equal(chosen("http://192.0.2.1", { HTTPS_PROXY: "http://a" }), undefined);
  assert.equal(chosen("https://192.0.2.1", {}), undefined);
  for (const local of ["https://localhost:6443", "https://127.9.9.9", "https://[::1]:6443"]) {
    assert.equal(chosen(local, env), undefined, local);
  }
});

Deno.test("kube proxy: NO_PROXY as Go reads it", () => {
  const cases: readonly [string, string, boolean][] = [
    ["https://10.96.0.1", "10.96.0.0/12", true],
    ["https://10.96.0.1", "10.0.0.0/16,10.96.0.9/12", true],
    ["https://10.96.0.1", "10.112.0.0/12", false],
    ["https://10.96.0.1:6443", "10.96.0.1", true],
    ["https://10.96.0.1:6443", "10.96.0.1:6443", true],
    ["https://10.96.0.1", "10.96.0.1:443", true],
    ["https://10.96.0.1:6443", "10.96.0.1:443", false],
    ["https://[fd00::1]:6443", "fd00::/8", true],
    ["https://[fd00::1]:6443", "fd00:0::1", true],
    ["https://[fd00::1]:6443", "[fd00::1]:6443", true],
    ["https://[fd00::1]:6443", "[fd00::1]:443", false],
    ["https://API.example.com", "Example.com", true],
    ["https://example.com", "example.com", true],
    ["https://api.example.com", " .example.com ,", true],
    ["https://api.example.com", "*.example.com", true],
    ["https://example.com", ".example.com", false],
    ["https://example.com", "*.example.com", false],
    ["https://badexample.com", "example.com", false],
    ["https://api.example.com:6443", "example.com:6443", true],
    ["https://api.example.com:6443", "example.com:443", false],
    ["https://example.com", "*", true],
    ["https://example.com", "", false],
    ["https://example.com", ":443", false],
    ["https://10.96.0.1", "96.0.1.example.com", false],
  ];
  for (const [server, noProxy, isDirect] of cases) {
    for (const name of ["NO_PROXY", "no_proxy"]) {
      const env = { HTTPS_PROXY: "http://proxy:3128", [name]: noProxy };
      assert.equal(chosen(server, env) === undefined, isDirect, `${server} with ${name}=${noProxy}`);
    }
  }
});

Deno.test("kube proxy: its URL, and one that can't be used", () => {
  const port = (text: string) => describeProxy(parseProxy(text, "HTTPS_PROXY"));
  assert.equal(port("p"), "http://p:80");
  assert.equal(port("p:3128"), "http://p:3128");
  assert.equal(port("http://u:secret@p:80"), "http://p:80");
  assert.equal(port("https://[2001:db8::1]"), "https://[2001:db8::1]:443");
  assert.equal(port("socks5://p"), "socks5://p:1080");
  for (
    const text of [
      "ftp://u:s3cret@p",
      "http://",
      "http://u:s3cret@p:99999",
      "socks4://p",
      "http://u:s3cret%@p",
    ]
  ) {
    const refused = (error: unknown) =>
      error instanceof AccessError && /^HTTPS_PROXY: the proxy .*http, https or socks5/.test(error.message) &&
      !error.message.includes("s3cret");
    assert.throws(() => parseProxy(text, "HTTPS_PROXY"), refused, text);
  }
});

interface Scene {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

async function scene(): Promise<Scene> {
  const folder = await Deno.makeTempDir();
  try {
    const files = await makeCertificates(folder);
    const [key, cert, ca] = await Promise.all(
      [files.serverKey, files.serverCert, files.ca].map((path) => Deno.readTextFile(path)),
    );
    return { key: key!, cert: cert!, ca: ca! };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function accessThrough(proxy: string, server: URL, ca: string): ApiAccess {
  return {
    server,
    source: "test",
    insecure: false,
    serverName: "localhost",
    proxy: new URL(proxy),
    tls: () => Promise.resolve({ ca }),
    authorization: () => Promise.resolve("Bearer secret"),
  };
}

async function version(access: ApiAccess): Promise<string> {
  using client = new ApiClient(access);
  return await currentVersion({ client, annotationPrefix: "x/" }, AbortSignal.timeout(5_000));
}

// The name of the server is the proxy's to resolve: a host behind one may know no such name.
Deno.test("kube proxy: requests go through HTTP, HTTPS and SOCKS 5 proxies, over HTTP/2, HTTP/1.1 and without TLS", async () => {
  const { key, cert, ca } = await scene();
  for (
    const [wire, options] of Object.entries({
      h2: { tls: { key, cert } },
      h1: { tls: { key, cert }, http1Only: true },
      plain: {},
    })
  ) {
    await using server = await FakeApiServer.start(options);
    server.access.addToken("secret", "admin");
    server.access.setRules("admin", ADMIN_RULES);
    for (const kind of ["http", "https", "socks5"] as const) {
      // Without TLS to the server there is no CA but the system's, and none for the proxy.
      if (wire === "plain" && kind === "https") continue;
      for (const login of [undefined, "user:p%40ss"]) {
        const tls = kind === "https" ? { tls: { key, cert } } : {};
        await using proxy = await FakeProxy.start({ kind, ...tls, ...(login ? { login: "user:p@ss" } : {}) });
        const url = new URL(proxy.url);
        const through = `${url.protocol}//${login ? `${login}@` : ""}${url.host}`;
        const what = `${wire} through ${kind}, login ${login}`;
        const host = `server.test:${server.port}`;
        const to = new URL(`${wire === "plain" ? "http" : "https"}://${host}`);
        if (wire === "plain" && kind === "http") {
          to.hostname = "127.0.0.1";
          assert.equal(await version(accessThrough(through, to, ca)), String(server.store.version), what);
          assert.deepEqual(proxy.log, [`GET http://127.0.0.1:${server.port}/api/v1/nodes?limit=1`], what);
        } else {
          assert.equal(await version(accessThrough(through, to, ca)), String(server.store.version), what);
          assert.deepEqual(proxy.log, [`${kind === "socks5" ? "SOCKS" : "CONNECT"} ${host}`], what);
        }
      }
    }
  }
});

Deno.test("kube proxy: one that refuses, or is none, is named in the error, without its password", async () => {
  const { key, cert, ca } = await scene();
  await using server = await FakeApiServer.start({ tls: { key, cert } });
  const to = new URL(server.url);
  for (
    const [kind, message] of [["http", /it refuses a way to 127\.0\.0\.1:\d+: 407/], [
      "socks5",
      /it refuses the user/,
    ]] as const
  ) {
    await using proxy = await FakeProxy.start({ kind, login: "user:right" });
    const wrong = proxy.url.replace("right", "wr0ng");
    await assert.rejects(version(accessThrough(wrong, to, ca)), (error: Error) => {
      assert.match(error.message, message);
      assert.match(error.message, new RegExp(`proxy ${kind}://127.0.0.1:`));
      return !error.message.includes("wr0ng");
    });
  }
  const other = `http://127.0.0.1:${server.port}`;
  await assert.rejects(version(accessThrough(other, to, ca)), /proxy http:\/\/127\.0\.0\.1:\d+: /);
});
