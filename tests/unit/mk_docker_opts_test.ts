import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("../../packaging/mk-docker-opts.sh", import.meta.url));

const SUBNET = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.74.1/24
FLANNEL_MTU=1472
FLANNEL_IPMASQ=false
`;

interface Outcome {
  readonly code: number;
  readonly stderr: string;
  /** What was written, or undefined. */
  readonly written: string | undefined;
}

interface Run {
  readonly subnet?: string | undefined;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly shell?: readonly string[];
  /** Put in front of PATH, by name. */
  readonly tools?: Readonly<Record<string, string>>;
}

/** The environment is this and nothing else: variables of the test run must not change the output. */
async function mkDockerOpts(
  { subnet, args = [], env = {}, shell = ["dash"], tools = {} }: Run,
): Promise<Outcome> {
  const folder = await Deno.makeTempDir({ prefix: "mk docker opts-" });
  try {
    const file = `${folder}/subnet.env`;
    const out = `${folder}/docker opts.env`;
    if (subnet !== undefined) await Deno.writeTextFile(file, subnet);
    await Deno.mkdir(`${folder}/bin`);
    for (const [name, text] of Object.entries(tools)) {
      await Deno.writeTextFile(`${folder}/bin/${name}`, text, { mode: 0o755 });
    }
    const [program = "dash", ...options] = shell;
    const { code, stderr } = await new Deno.Command(program, {
      args: [...options, SCRIPT, "-f", file, "-d", out, ...args],
      clearEnv: true,
      env: { PATH: `${folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin`, ...env },
    }).output();
    return { code, stderr: new TextDecoder().decode(stderr), written: await read(out) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const SINGLE = `DOCKER_OPT_BIP="--bip=10.1.74.1/24"
DOCKER_OPT_IPMASQ="--ip-masq=true"
DOCKER_OPT_MTU="--mtu=1472"
`;
const COMBINED = `DOCKER_OPTS=" --bip=10.1.74.1/24 --ip-masq=true --mtu=1472"
`;

for (const shell of [["dash"], ["bash", "--posix"], ["bash"]]) {
  Deno.test(`mk-docker-opts: the documented output, byte by byte, under ${shell.join(" ")}`, async () => {
    const { code, stderr, written } = await mkDockerOpts({ subnet: SUBNET, shell });
    assert.deepEqual({ code, stderr, written }, { code: 0, stderr: "", written: SINGLE + COMBINED });
  });
}

Deno.test("mk-docker-opts: -i gives the single variables, -c the combined one, both give both", async () => {
  assert.equal((await mkDockerOpts({ subnet: SUBNET, args: ["-i"] })).written, SINGLE);
  assert.equal((await mkDockerOpts({ subnet: SUBNET, args: ["-c"] })).written, COMBINED);
  assert.equal((await mkDockerOpts({ subnet: SUBNET, args: ["-ic"] })).written, SINGLE + COMBINED);
});

Deno.test("mk-docker-opts: -k names the combined variable", async () => {
  const { written } = await mkDockerOpts({ subnet: SUBNET, args: ["-c", "-k", "DOCKER_NETWORK_OPTIONS"] });
  assert.equal(written, COMBINED.replace("DOCKER_OPTS", "DOCKER_NETWORK_OPTIONS"));
});

Deno.test("mk-docker-opts: Docker masquerades where flannel doesn't, and -m leaves it out", async () => {
  const masquerading = SUBNET.replace("IPMASQ=false", "IPMASQ=true");
  assert.match((await mkDockerOpts({ subnet: masquerading })).written ?? "", /IPMASQ="--ip-masq=false"/);
  const { written } = await mkDockerOpts({ subnet: masquerading, args: ["-m"] });
  assert.equal(
    written,
    (SINGLE + COMBINED).replace(/DOCKER_OPT_IPMASQ.*\n/, "").replace(" --ip-masq=true", ""),
  );
});

Deno.test("mk-docker-opts: options that are there already stay in front, two blanks before ours", async () => {
  const { written } = await mkDockerOpts({
    subnet: SUBNET,
    args: ["-c"],
    env: { DOCKER_OPTS: "--debug --log-level=info" },
  });
  assert.equal(
    written,
    `DOCKER_OPTS="--debug --log-level=info  --bip=10.1.74.1/24 --ip-masq=true --mtu=1472"\n`,
  );
});

Deno.test("mk-docker-opts: DOCKER_OPT_* of the environment is passed on in order of names, with its blanks", async () => {
  const env = { DOCKER_OPT_DNS: "--dns=10.0.0.1  --dns=10.0.0.2", DOCKER_OPT_ZONE: "--label=zone=a b" };
  assert.equal(
    (await mkDockerOpts({ subnet: SUBNET, env })).written,
    `DOCKER_OPT_BIP="--bip=10.1.74.1/24"
DOCKER_OPT_DNS="--dns=10.0.0.1  --dns=10.0.0.2"
DOCKER_OPT_IPMASQ="--ip-masq=true"
DOCKER_OPT_MTU="--mtu=1472"
DOCKER_OPT_ZONE="--label=zone=a b"
DOCKER_OPTS=" --bip=10.1.74.1/24 --dns=10.0.0.1  --dns=10.0.0.2 --ip-masq=true --mtu=1472 --label=zone=a b"
`,
  );
});

Deno.test("mk-docker-opts: quotes, dollars and backslashes read back as they were", async () => {
  const value = `--label="a $HOME \\ \`id\`"`;
  const { written = "" } = await mkDockerOpts({ args: ["-i"], env: { DOCKER_OPT_LABEL: value } });
  const { stdout } = await new Deno.Command("dash", {
    args: ["-c", `${written}printf %s "$DOCKER_OPT_LABEL"`],
  }).output();
  assert.equal(new TextDecoder().decode(stdout), value);
});

Deno.test("mk-docker-opts: without a subnet file the combined variable is empty, as the original has it", async () => {
  const { code, written } = await mkDockerOpts({});
  assert.deepEqual({ code, written }, { code: 0, written: `DOCKER_OPTS=""\n` });
});

Deno.test("mk-docker-opts: an IPv6-only subnet file gives an MTU and no bridge address", async () => {
  const subnet = "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00::1/64\nFLANNEL_MTU=1430\n";
  assert.equal((await mkDockerOpts({ subnet, args: ["-i"] })).written, `DOCKER_OPT_MTU="--mtu=1430"\n`);
});

Deno.test("mk-docker-opts: faults end with status 1, a sentence, and nothing written", async () => {
  const cases: readonly (readonly [Run, RegExp])[] = [
    [{ subnet: "FLANNEL_IPMASQ=maybe\n" }, /FLANNEL_IPMASQ=maybe in .*: must be true or false/],
    [{ args: ["-x"] }, /usage: mk-docker-opts\.sh/],
    [{ args: ["-h"] }, /-k KEY/],
    [{ args: ["-k", "A;reboot"] }, /-k A;reboot: must be a name/],
    [{ args: ["-d", "/nonexistent/docker.env"] }, /\/nonexistent\/docker\.env: cannot be written/],
  ];
  for (const [run, message] of cases) {
    const { code, stderr, written } = await mkDockerOpts(run);
    assert.equal(code, 1);
    assert.match(stderr, message);
    assert.equal(written, undefined);
  }
});

Deno.test("mk-docker-opts: a subnet that is routed elsewhere is an error, after the file is written", async () => {
  const ip =
    `#!/bin/sh\n[ "$*" = "-4 route show exact 10.1.74.0/24" ] && echo "10.1.74.0/24 via 192.0.2.1 dev eth0"\n`;
  const { code, stderr, written } = await mkDockerOpts({ subnet: SUBNET, tools: { ip } });
  assert.equal(code, 1);
  assert.match(stderr, /10\.1\.74\.0\/24 is routed elsewhere: .*via 192\.0\.2\.1/);
  assert.equal(written, SINGLE + COMBINED);
});
