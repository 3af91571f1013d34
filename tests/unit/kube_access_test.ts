import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { AccessError } from "../../lib/kube/access.ts";
import { ApiClient } from "../../lib/kube/client.ts";
import { inClusterAccess } from "../../lib/kube/in_cluster.ts";
import { kubeconfigAccess } from "../../lib/kube/kubeconfig.ts";
import { currentVersion } from "../../lib/kube/nodes.ts";
import { makeCertificates } from "../../scripts/lab/certificates.ts";
import { ADMIN_RULES } from "../fakes/kube/access.ts";
import { FakeApiServer } from "../fakes/kube/server.ts";

const PREFIX = "flannel.alpha.coreos.com/";
const NEVER = new AbortController().signal;

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

interface Parts {
  readonly cluster: object;
  readonly user: object;
  readonly current?: string;
}

async function writeConfig(folder: string, { cluster, user, current = "b" }: Parts): Promise<string> {
  const path = `${folder}/config`;
  await Deno.writeTextFile(
    path,
    JSON.stringify({
      "current-context": current,
      contexts: [
        { name: "a", context: { cluster: "other", user: "other" } },
        { name: "b", context: { cluster: "mine", user: "me" } },
        { name: "c", context: { cluster: "absent", user: "me" } },
      ],
      clusters: [
        { name: "other", cluster: { server: "https://192.0.2.1:6443" } },
        { name: "mine", cluster },
      ],
      users: [{ name: "me", user }, { name: "other", user: { token: "wrong" } }],
    }),
  );
  return path;
}

/** A server that lets in the token `good` and the certificate of this name. */
async function openServer(folder: string, certificateName = "") {
  const files = await makeCertificates(folder);
  const read = (path: string) => Deno.readTextFile(path);
  const [key, cert, ca] = await Promise.all([files.serverKey, files.serverCert, files.ca].map(read));
  const server = await FakeApiServer.start({ tls: { key: key!, cert: cert!, ca: ca! } });
  server.access.addToken("good", "admin");
  for (const user of ["admin", certificateName]) server.access.setRules(user, ADMIN_RULES);
  return { server, files, ca: ca! };
}

async function version(access: ConstructorParameters<typeof ApiClient>[0]): Promise<string> {
  using client = new ApiClient(access);
  return await currentVersion({ client, annotationPrefix: PREFIX }, AbortSignal.timeout(5_000));
}

Deno.test("kubeconfig: token, token file, CA as data or file, and the current one of several contexts", () =>
  withFolder(async (folder) => {
    const { server, files, ca } = await openServer(folder);
    await using _server = server;
    await Deno.writeTextFile(`${folder}/token`, "good\n");
    const relative = files.ca.slice(folder.length + 1);
    const clusters = [
      { "certificate-authority": relative },
      { "certificate-authority-data": btoa(ca) },
      { "insecure-skip-tls-verify": true },
    ];
    for (const trust of clusters) {
      for (const user of [{ token: "good" }, { tokenFile: "token", token: "stale" }]) {
        const path = await writeConfig(folder, { cluster: { server: server.url, ...trust }, user });
        assert.equal(await version(await kubeconfigAccess(path)), String(server.store.version));
      }
    }
    const path = await writeConfig(folder, {
      cluster: { server: "https://192.0.2.9:1", "insecure-skip-tls-verify": true },
      user: { token: "good" },
    });
    assert.equal(await version(await kubeconfigAccess(path, server.url)), String(server.store.version));
  }));

// Without a scheme the token went over plain HTTP, whatever the kubeconfig said of certificates.
Deno.test("kubeconfig: a server without a scheme is one with TLS if anything of TLS is given", () =>
  withFolder(async (folder) => {
    for (
      const [cluster, user, scheme] of [
        [{}, {}, "http:"],
        [{ "certificate-authority": "ca" }, {}, "https:"],
        [{ "insecure-skip-tls-verify": true }, {}, "https:"],
        [{}, { "client-certificate-data": "x" }, "https:"],
      ] as const
    ) {
      const path = await writeConfig(folder, { cluster: { server: "192.0.2.1:6443", ...cluster }, user });
      assert.equal((await kubeconfigAccess(path)).server.href, `${scheme}//192.0.2.1:6443/`);
    }
  }));

Deno.test("kubeconfig: base64 with line breaks, and a password beyond Latin-1", () =>
  withFolder(async (folder) => {
    const ca = "-----BEGIN CERTIFICATE-----\nMII=\n";
    const data = btoa(ca).replace(/.{4}/g, "$&\n");
    const cluster = { server: "https://192.0.2.1", "certificate-authority-data": data };
    const access = await kubeconfigAccess(
      await writeConfig(folder, { cluster, user: { username: "u", password: "€" } }),
    );
    assert.deepEqual(await access.tls(), { ca });
    assert.equal(await access.authorization(), "Basic dTrigqw=");
  }));

Deno.test("kubeconfig: a client certificate is who we are", () =>
  withFolder(async (folder) => {
    const { server, files } = await openServer(folder, "flanneld");
    await using _server = server;
    const [cert, key] = await Promise.all(
      [files.clientCert, files.clientKey].map((path) => Deno.readTextFile(path!)),
    );
    const path = await writeConfig(folder, {
      cluster: { server: server.url, "certificate-authority": files.ca },
      user: { "client-certificate-data": btoa(cert!), "client-key-data": btoa(key!) },
    });
    await version(await kubeconfigAccess(path));
    assert.deepEqual(server.requests.map(({ user }) => user), ["flanneld"]);
  }));

Deno.test("kubeconfig: what flanneld can't do is refused, with the way out", () =>
  withFolder(async (folder) => {
    const cluster = { server: "https://192.0.2.1" };
    const cases: readonly [Parts, RegExp][] = [
      [{ cluster, user: { exec: { command: "aws" } } }, /exec plugin.*use a token file/],
      [{ cluster, user: { "auth-provider": { name: "gcp" } } }, /auth-provider/],
      [{ cluster: {}, user: {} }, /its cluster has no server; add one, or set -kube-api-url/],
      [{ cluster, user: {}, current: "" }, /no current-context; contexts: a, b, c/],
      [{ cluster, user: {}, current: "z" }, /current-context z isn't in it; contexts: a, b, c/],
      [{ cluster, user: {}, current: "c" }, /context c names the cluster absent/],
      [
        { cluster: { ...cluster, "proxy-url": "ftp://u:s3cret@p" }, user: {} },
        /proxy-url of its cluster: the proxy of scheme "ftp" can't be used; (?!.*s3cret).*http, https or socks5/,
      ],
      [
        {
          cluster: { ...cluster, "insecure-skip-tls-verify": true, "certificate-authority": "ca.crt" },
          user: {},
        },
        /has a certificate-authority and insecure-skip-tls-verify: remove one of them/,
      ],
      [
        { cluster: { ...cluster, "insecure-skip-tls-verify": "true" }, user: {} },
        /in cluster mine: insecure-skip-tls-verify must be true or false, without quotes/,
      ],
    ];
    for (const [parts, message] of cases) {
      const path = await writeConfig(folder, parts);
      const refused = (error: unknown) => error instanceof AccessError && message.test(error.message);
      await assert.rejects(kubeconfigAccess(path), refused, String(message));
    }
  }));

// kubectl reads both; here they were "neither YAML nor JSON".
Deno.test("kubeconfig: of several documents the first counts, of a key that stands twice the last", () =>
  withFolder(async (folder) => {
    const text = [
      "---",
      "current-context: a",
      "contexts: [{name: a, context: {cluster: c, user: u}}]",
      "clusters: [{name: c, cluster: {server: https://192.0.2.1, server: https://192.0.2.2}}]",
      "users: [{name: u, user: {token: t}}]",
      "---",
      "current-context: b",
    ];
    await Deno.writeTextFile(`${folder}/config`, text.join("\n"));
    assert.equal((await kubeconfigAccess(`${folder}/config`)).server.href, "https://192.0.2.2/");
  }));

// A token beside a token file was of no use while the file couldn't be read.
Deno.test("kubeconfig: a token stands in for a token file that can't be read", () =>
  withFolder(async (folder) => {
    const cluster = { server: "https://192.0.2.1" };
    const file = { tokenFile: "absent" };
    const both = await kubeconfigAccess(
      await writeConfig(folder, { cluster, user: { ...file, token: "t" } }),
    );
    assert.equal(await both.authorization(), "Bearer t");
    await Deno.writeTextFile(`${folder}/absent`, "from the file\n");
    assert.equal(await both.authorization(), "Bearer from the file");
    await Deno.remove(`${folder}/absent`);
    const alone = await kubeconfigAccess(await writeConfig(folder, { cluster, user: file }));
    await assert.rejects(alone.authorization(), /Cannot read .*absent/);
  }));

// "unable to verify the first certificate" said nothing of a file that held none.
Deno.test("kubeconfig: a CA with a byte order mark is read, one without a certificate is named", () =>
  withFolder(async (folder) => {
    const { server, files, ca } = await openServer(folder);
    await using _server = server;
    const cluster = { server: server.url, "certificate-authority": files.ca };
    await Deno.writeTextFile(files.ca, `\uFEFF${ca}`);
    const access = async () =>
      await kubeconfigAccess(await writeConfig(folder, { cluster, user: { token: "good" } }));
    assert.equal(await version(await access()), String(server.store.version));
    for (const text of ["", "not a certificate"]) {
      await Deno.writeTextFile(files.ca, text);
      await assert.rejects(version(await access()), /certificate-authority holds no certificate in PEM/);
    }
  }));

// Deno's own list of authorities was taken, in which a company's is not.
Deno.test("kubeconfig: without a CA the host's authorities are trusted, also by a Pod that was given none", () =>
  withFolder(async (folder) => {
    const { server, files } = await openServer(folder);
    await using _server = server;
    await Deno.writeTextFile(`${folder}/token`, "good");
    const path = await writeConfig(folder, { cluster: { server: server.url }, user: { token: "good" } });
    const { hostname, port } = new URL(server.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const ways = [
      () => kubeconfigAccess(path),
      () => inClusterAccess((name) => env[name as keyof typeof env], folder)!,
    ];
    const before = Deno.env.get("SSL_CERT_FILE");
    try {
      for (const way of ways) {
        Deno.env.delete("SSL_CERT_FILE");
        await assert.rejects(version(await way()), /certificate/);
        Deno.env.set("SSL_CERT_FILE", files.ca);
        assert.equal(await version(await way()), String(server.store.version));
        // It was passed over, and the server's certificate called unknown.
        Deno.env.set("SSL_CERT_FILE", `${folder}/nowhere.pem`);
        await assert.rejects(version(await way()), /Cannot read .*nowhere\.pem/);
      }
    } finally {
      if (before === undefined) Deno.env.delete("SSL_CERT_FILE");
      else Deno.env.set("SSL_CERT_FILE", before);
    }
  }));

Deno.test("kubeconfig: one without a context serves where the server is given", () =>
  withFolder(async (folder) => {
    const path = await writeConfig(folder, {
      cluster: { server: "https://192.0.2.1" },
      user: {},
      current: "",
    });
    const access = await kubeconfigAccess(path, "http://192.0.2.7:8080");
    assert.deepEqual([access.server.href, await access.authorization()], [
      "http://192.0.2.7:8080/",
      undefined,
    ]);
  }));

// The parser's message quoted the text around the fault: a token in the log.
Deno.test("kubeconfig: the error about a file that isn't JSON or YAML quotes nothing of it", () =>
  withFolder(async (folder) => {
    const path = `${folder}/config`;
    for (const text of ['{"users": "s3cret" x', 'a: b: "s3cret"\n  - c', '{"s3cret', "users: [s3cret"]) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(
        kubeconfigAccess(path),
        (error) => error instanceof AccessError && !/s3c/.test(Deno.inspect(error)),
      );
    }
  }));

Deno.test("in the cluster: a token that is refused is read again from its file, and the request goes on", () =>
  withFolder(async (folder) => {
    const { server, files } = await openServer(folder);
    await using _server = server;
    await Deno.copyFile(files.ca, `${folder}/ca.crt`).catch(() => {});
    await Deno.writeTextFile(`${folder}/token`, "old");
    server.access.addToken("old", "admin");
    const { hostname, port } = new URL(server.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const access = inClusterAccess((name) => env[name as keyof typeof env], folder)!;
    using client = new ApiClient(access);
    const source = { client, annotationPrefix: PREFIX };
    await currentVersion(source, NEVER);
    server.access.revokeToken("old");
    await assert.rejects(currentVersion(source, NEVER), /401/);
    await Deno.writeTextFile(`${folder}/token`, "good");
    await currentVersion(source, NEVER);
    assert.equal(inClusterAccess(() => undefined, folder), undefined);
  }));

// Clusters behind a proxy for many have a path in their server's URL; it was dropped.
Deno.test("kubeconfig: the path of the server's URL goes before each request's", async () => {
  const paths: string[] = [];
  const server = http.createServer((request, response) => {
    paths.push(request.url!);
    response.end('{"metadata":{"resourceVersion":"7"}}');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await withFolder(async (folder) => {
      const { port } = server.address() as AddressInfo;
      const cluster = { server: `http://127.0.0.1:${port}/k8s/clusters/c-1/` };
      const path = await writeConfig(folder, { cluster, user: { token: "t" } });
      assert.equal(await version(await kubeconfigAccess(path)), "7");
      assert.deepEqual(paths, ["/k8s/clusters/c-1/api/v1/nodes?limit=1"]);
    });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

// Two requests that found no connection each made one; the first was never asked whether it lives.
Deno.test("kube client: requests that come while it connects share one connection", () =>
  withFolder(async (folder) => {
    const { server, ca } = await openServer(folder);
    await using _server = server;
    let handshakes = 0;
    using client = new ApiClient({
      server: new URL(server.url),
      source: "test",
      insecure: false,
      tls: () => (handshakes++, Promise.resolve({ ca })),
      authorization: () => Promise.resolve("Bearer good"),
    });
    const source = { client, annotationPrefix: PREFIX };
    await Promise.all([1, 2, 3].map(() => currentVersion(source, NEVER)));
    server.cut();
    await Promise.allSettled([1, 2, 3].map(() => currentVersion(source, NEVER)));
    await Promise.all([1, 2, 3].map(() => currentVersion(source, NEVER)));
    assert.ok(handshakes <= 3, `${handshakes} connections`);
  }));
