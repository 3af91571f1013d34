import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { FakeAws } from "../fakes/aws.ts";
import { FakeImds } from "../fakes/aws_imds.ts";
import { FakeServer, json } from "../fakes/http.ts";

/** Asks EC2 who this host is, as the backend does, with nothing but the process's real environment. */
const IDENTIFY = `
  import { systemEdges } from "${new URL("../../backends/cloud/backend.ts", import.meta.url)}";
  import { AwsRouteTable } from "${new URL("../../backends/aws_vpc/route_table.ts", import.meta.url)}";
  import { silentLog, noMetrics } from "${new URL("../../lib/observe/types.ts", import.meta.url)}";
  import { testInterface } from "${new URL("../fakes/session.ts", import.meta.url)}";
  const table = new AwsRouteTable({ routeTableIds: [] }, systemEdges, { log: silentLog, metrics: noMetrics });
  console.log((await table.identify(testInterface("10.0.1.10"), AbortSignal.timeout(20_000))).hop);
  Deno.exit(0);
`;

/** Runs {@link IDENTIFY} in a home of its own. */
async function identify(home: string, env: Record<string, string>): Promise<string> {
  const config = fileURLToPath(new URL("../../deno.json", import.meta.url));
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--config", config, IDENTIFY],
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", HOME: home, ...env },
  }).output();
  const text = new TextDecoder();
  return text.decode(output.success ? output.stdout : output.stderr).trim();
}

/** A VPC with one instance, and an empty home. */
async function withCloud(
  body: (aws: FakeAws, home: string, env: Record<string, string>) => Promise<void>,
): Promise<void> {
  const home = await Deno.makeTempDir();
  try {
    await using aws = new FakeAws();
    aws.addInstance("i-0a", "10.0.1.10");
    await using imds = new FakeImds(aws, "i-0a");
    await body(aws, home, {
      DENO_DIR: await denoDir(),
      AWS_ENDPOINT_URL_EC2: aws.server.url,
      AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.server.url,
    });
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

/** Where this Deno keeps its packages: the home of the test's processes is another one. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

Deno.test("aws-vpc credentials: the instance's role, with nothing in the environment", async () => {
  await withCloud(async (_aws, home, env) => {
    assert.equal(await identify(home, env), "eni-0a of i-0a");
  });
});

Deno.test("aws-vpc credentials: keys from the environment", async () => {
  await withCloud(async (aws, home, env) => {
    aws.keys.set("AKIDENV", { secret: "env-secret", token: "env-token", since: Infinity });
    const keys = { AWS_ACCESS_KEY_ID: "AKIDENV", AWS_SECRET_ACCESS_KEY: "env-secret" };
    assert.equal(await identify(home, { ...env, ...keys, AWS_SESSION_TOKEN: "env-token" }), "eni-0a of i-0a");
    assert.equal(
      await identify(home, { ...env, ...keys, AWS_SECURITY_TOKEN: "env-token" }),
      "eni-0a of i-0a",
    );
    const refused = await identify(home, { ...env, ...keys });
    assert.match(refused, /AuthFailure/);
    assert.doesNotMatch(refused, /env-secret/);
  });
});

Deno.test("aws-vpc credentials: a profile of the shared files", async () => {
  await withCloud(async (aws, home, env) => {
    aws.keys.set("AKIDFILE", { secret: "file-secret", since: Infinity });
    await Deno.mkdir(`${home}/.aws`);
    await Deno.writeTextFile(
      `${home}/.aws/credentials`,
      "[flannel]\naws_access_key_id = AKIDFILE\naws_secret_access_key = file-secret\n",
    );
    assert.equal(await identify(home, { ...env, AWS_PROFILE: "flannel" }), "eni-0a of i-0a");
  });
});

Deno.test("aws-vpc credentials: an SSO profile with its cached token", async () => {
  await withCloud(async (aws, home, env) => {
    aws.keys.set("ASIASSO", { secret: "sso-secret", token: "sso-session", since: Infinity });
    await using portal = new FakeServer(({ url, headers }) => {
      const allowed = headers.get("x-amz-sso_bearer_token") === "sso-access" &&
        url.pathname === "/federation/credentials" && url.searchParams.get("role_name") === "flannel";
      if (!allowed) return json({ message: "Session token not found or invalid" }, 401);
      const keys = { accessKeyId: "ASIASSO", secretAccessKey: "sso-secret", sessionToken: "sso-session" };
      return json({ roleCredentials: { ...keys, expiration: Date.now() + 3600_000 } });
    });
    const start = "https://example.awsapps.com/start";
    const cache = `${home}/.aws/sso/cache`;
    await Deno.mkdir(cache, { recursive: true });
    const token = { accessToken: "sso-access", expiresAt: new Date(Date.now() + 3600_000).toISOString() };
    const name = createHash("sha1").update(start).digest("hex");
    await Deno.writeTextFile(
      `${cache}/${name}.json`,
      JSON.stringify({ ...token, startUrl: start, region: "eu-test-1" }),
    );
    await Deno.writeTextFile(
      `${home}/.aws/config`,
      `[profile flannel]\nsso_start_url = ${start}\nsso_region = eu-test-1\nsso_account_id = 123456789012\n` +
        "sso_role_name = flannel\n",
    );
    const hop = await identify(home, { ...env, AWS_PROFILE: "flannel", AWS_ENDPOINT_URL_SSO: portal.url });
    assert.equal(hop, "eni-0a of i-0a");
  });
});
