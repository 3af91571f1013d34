import assert from "node:assert/strict";
import { join } from "node:path";
import {
  formatSubnetFile,
  parseSubnetFile,
  readSubnetFile,
  type SubnetFile,
  SubnetFileError,
  writeSubnetFile,
} from "../../lib/config/subnet_file.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";

const V4: SubnetFile = {
  networks: { ipv4: parsePrefix("10.5.0.0/16") },
  subnets: { ipv4: parsePrefix("10.5.72.0/24") },
  mtu: 1450,
  ipMasq: false,
};

const DUAL: SubnetFile = {
  networks: { ipv4: parsePrefix("10.5.0.0/16"), ipv6: parsePrefix("fc00::/48") },
  subnets: { ipv4: parsePrefix("10.5.72.0/24"), ipv6: parsePrefix("fc00:0:0:1::/64") },
  mtu: 1430,
  ipMasq: true,
};

const V6: SubnetFile = {
  networks: { ipv6: parsePrefix("fc00::/48") },
  subnets: { ipv6: parsePrefix("fc00:0:0:1::/64") },
  mtu: 1430,
  ipMasq: false,
};

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "subnet_file_" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("subnet file: exact bytes for IPv4, both families, IPv6 alone", () => {
  assert.equal(
    formatSubnetFile(V4),
    "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
  );
  assert.equal(
    formatSubnetFile(DUAL),
    "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\n" +
      "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00:0:0:1::1/64\n" +
      "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=true\n",
  );
  assert.equal(
    formatSubnetFile(V6),
    "FLANNEL_IPV6_NETWORK=fc00::/48\nFLANNEL_IPV6_SUBNET=fc00:0:0:1::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
  );
});

Deno.test("subnet file: what was written is what is read", () => {
  for (const file of [V4, DUAL, V6]) {
    assert.deepEqual(parseSubnetFile(formatSubnetFile(file)), { ...file, faults: [] });
  }
});

Deno.test("subnet file: a corrupt line is skipped and reported, never read as 0.0.0.0/0", () => {
  const table: [string, string][] = [
    ["FLANNEL_SUBNET=", "FLANNEL_SUBNET= isn't an IPv4 address with a length, like 10.5.72.1/24"],
    [
      "FLANNEL_SUBNET=10.5.72.1",
      "FLANNEL_SUBNET=10.5.72.1 isn't an IPv4 address with a length, like 10.5.72.1/24",
    ],
    [
      "FLANNEL_SUBNET=0.0.0.0/0",
      "FLANNEL_SUBNET=0.0.0.0/0 isn't an IPv4 address with a length, like 10.5.72.1/24",
    ],
    [
      "FLANNEL_SUBNET=fc00::1/64",
      "FLANNEL_SUBNET=fc00::1/64 isn't an IPv4 address with a length, like 10.5.72.1/24",
    ],
    ["FLANNEL_MTU=x", "FLANNEL_MTU=x isn't an MTU"],
    ["FLANNEL_MTU=0", "FLANNEL_MTU=0 isn't an MTU"],
    ["FLANNEL_IPMASQ=yes", "FLANNEL_IPMASQ=yes is neither true nor false"],
    ["FLANNEL_SUB", `"FLANNEL_SUB" isn't VARIABLE=value`],
    ["\u0000\u0000", `"\\u0000\\u0000" isn't VARIABLE=value`],
  ];
  for (const [line, fault] of table) {
    const read = parseSubnetFile(`FLANNEL_NETWORK=10.5.0.0/16\n${line}\n# comment\n\nOTHER=x\n`);
    assert.deepEqual(read, {
      networks: { ipv4: parsePrefix("10.5.0.0/16") },
      subnets: {},
      faults: [`line 2: ${fault}`],
    });
  }
  assert.deepEqual(parseSubnetFile('FLANNEL_SUBNET="10.5.72.1/24"\r\n').subnets, V4.subnets);
});

Deno.test("subnet file: written whole, mode 0644, in a folder that is made, nothing left behind", () =>
  withFolder(async (folder) => {
    const path = join(folder, "a", "b", "subnet.env");
    await writeSubnetFile(path, V4);
    await writeSubnetFile(path, DUAL);
    assert.equal(await Deno.readTextFile(path), formatSubnetFile(DUAL));
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o644);
    assert.deepEqual([...Deno.readDirSync(join(folder, "a", "b"))].map((entry) => entry.name), [
      "subnet.env",
    ]);
    assert.deepEqual(await readSubnetFile(path), { ...DUAL, faults: [] });
  }));

Deno.test("subnet file: readers never see a part of it", () =>
  withFolder(async (folder) => {
    const path = join(folder, "subnet.env");
    await writeSubnetFile(path, V4);
    const texts = new Set([formatSubnetFile(V4), formatSubnetFile(DUAL)]);
    let writing = true;
    const writer = (async () => {
      for (let i = 0; i < 30; i++) await writeSubnetFile(path, i % 2 ? V4 : DUAL);
      writing = false;
    })();
    let reads = 0;
    while (writing) {
      assert(texts.has(await Deno.readTextFile(path)));
      reads++;
    }
    await writer;
    assert(reads > 1);
  }));

Deno.test("subnet file: what killed writes left is taken away, a write in progress is not", () =>
  withFolder(async (folder) => {
    const stale = join(folder, ".subnet.env.dead.tmp");
    const young = join(folder, ".subnet.env.live.tmp");
    await Deno.writeTextFile(stale, "FLANNEL_NET");
    await Deno.writeTextFile(young, "FLANNEL_NET");
    await Deno.utime(stale, 1, 1);
    await writeSubnetFile(join(folder, "subnet.env"), V4);
    const names = [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
    assert.deepEqual(names, [".subnet.env.live.tmp", "subnet.env"]);
  }));

Deno.test("subnet file: absent is undefined; what can't be read or written is named", () =>
  withFolder(async (folder) => {
    assert.equal(await readSubnetFile(join(folder, "none", "subnet.env")), undefined);
    await assert.rejects(
      readSubnetFile(folder),
      (error: Error) => error instanceof SubnetFileError && error.message.includes(folder),
    );
    await Deno.mkdir(join(folder, "subnet.env"));
    await assert.rejects(writeSubnetFile(join(folder, "subnet.env"), V4), SubnetFileError);
    assert.deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["subnet.env"]);
  }));
