/**
 * `flanneld capture` in a real network; its files are read by tcpdump and tshark.
 */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { type Lab, networkConfig } from "../../scripts/lab/lab.ts";
import { run, until } from "../../scripts/lab/process.ts";
import { labTest } from "./lab_test_case.ts";

/** What a capture left. */
interface Captured {
  readonly code: number;
  readonly messages: string;
  readonly file: string;
}

/** Captures on a host while `during` runs, then interrupts it. */
async function capture(
  host: Host,
  words: readonly string[],
  during: () => Promise<unknown>,
): Promise<Captured> {
  const file = `${host.folder}/${crypto.randomUUID()}.pcapng`;
  const child = host.spawn([...flanneldCommand(), "capture", ...words, "-o", file, ...host.commonArgs]);
  let messages = "";
  const reading = (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) messages += text;
  })();
  await until("the capture to begin", () => Promise.resolve(/Ctrl-C ends it/.test(messages)), 10_000);
  await during();
  child.kill("SIGINT");
  const { code } = await child.status;
  await reading;
  return { code, messages, file };
}

/** A row for each packet: interface, addresses (outer before inner), protocols. */
async function tshark(file: string, ...fields: string[]): Promise<string[][]> {
  const words = fields.flatMap((field) => ["-e", field]);
  const { stdout } = await run([
    "tshark",
    "-r",
    file,
    "-d",
    "udp.port==8472,vxlan",
    "-T",
    "fields",
    "-E",
    "separator=|",
    ...words,
  ]);
  return stdout.trim() === "" ? [] : stdout.trim().split("\n").map((line) => line.split("|"));
}

function ping(host: Host, address: string, count: number): Promise<unknown> {
  return host.exec(["ping", "-q", "-n", "-c", String(count), "-i", "0.05", "-W", "5", address], {
    mayFail: true,
  });
}

async function peerAddress(lab: Lab, number: number): Promise<string> {
  const { subnets } = JSON.parse(
    (await lab.host(number).exec([...flanneldCommand(), "status", "-json", ...lab.host(number).commonArgs]))
      .stdout,
  ).lease;
  return subnets[0].replace(/\/\d+$/, "");
}

labTest("capture: a peer's packets, outer and inner, and nobody else's", {}, async (lab) => {
  await lab.startAll();
  const [second, third] = [await peerAddress(lab, 2), await peerAddress(lab, 3)];
  const here = lab.host(1);
  await ping(here, second, 1);
  const { code, messages, file } = await capture(here, [lab.host(2).addresses.ipv4!], async () => {
    // Foreign traffic: another peer's, and the underlay's own to the same peer.
    await Promise.all([
      ping(here, third, 10),
      ping(here, lab.host(2).addresses.ipv4!, 10),
      ping(here, second, 10),
    ]);
  });
  assert.equal(code, 0, messages);
  assert.match(messages, /eth0: 20 packets, \d+ bytes, 0 dropped/);
  assert.match(messages, /flannel\.1: 20 packets, \d+ bytes, 0 dropped/);
  assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
  const rows = await tshark(file, "frame.interface_name", "ip.dst", "frame.packet_flags_direction");
  assert.equal(rows.length, 40);
  for (const [name, destinations] of rows) {
    const all = destinations!.split(",");
    if (name === "eth0") assert.equal(all.length, 2, destinations);
    assert(!all.includes(third), destinations);
    assert(all.some((ip) => ip === second || ip.endsWith(".0")), destinations);
  }
  const outgoing = rows.filter(([, , direction]) => Number(direction) === 2).length;
  assert.equal(outgoing, 20);
  // Times rise over both interfaces.
  const times = (await tshark(file, "frame.time_epoch")).map(([time]) => Number(time));
  assert.deepEqual(times, [...times].sort((a, b) => a - b));
  const { stdout } = await run(["tcpdump", "-n", "-r", file, "icmp"]);
  assert.match(stdout, /ICMP echo request/);
  const { stdout: info } = await run(["capinfos", "-M", file]);
  assert.match(info, /Capture application:\s+flanneld/);
  assert.match(info, /Number of interfaces in file:\s*2/);
});

labTest("capture: dual stack host-gw, stdout, limits, an existing file", {
  hosts: 2,
  families: ["ipv4", "ipv6"],
  config: networkConfig(["ipv4", "ipv6"], { Type: "host-gw" }),
}, async (lab) => {
  await lab.startAll();
  const containers = await lab.connect();
  await lab.pingAll();
  const [here] = lab.hosts;
  const peer = containers[1]!.addresses;
  const { code, messages, file } = await capture(here!, [peer.ipv4!], async () => {
    await Promise.all([
      ping(here!, lab.host(2).addresses.ipv4!, 5),
      ...[peer.ipv4!, peer.ipv6!].map((address) => ping(here!, address, 5)),
    ]);
  });
  assert.equal(code, 0, messages);
  const rows = await tshark(file, "frame.interface_name", "ip.addr", "ipv6.addr");
  assert.equal(rows.length, 20, messages);
  assert(rows.every(([name]) => name === "eth0"));
  const again = await here!.exec(
    [...flanneldCommand(), "capture", "-o", file, "-seconds", "1", ...here!.commonArgs],
    { mayFail: true },
  );
  assert.equal(again.code, 2);
  assert.match(again.stderr, /is there already; -force overwrites it/);
  const command = [...flanneldCommand(), "capture", "-o", "-", "-seconds", "1", ...here!.commonArgs].join(
    " ",
  );
  const piped = await here!.exec(["sh", "-c", `${command} | tcpdump -n -r - 2>&1`]);
  assert.match(piped.stderr, /ended: -seconds are over/);
  const forced = await here!.exec(
    [...flanneldCommand(), "capture", "-o", file, "-force", "-seconds", "1", ...here!.commonArgs],
  );
  assert.match(forced.stderr, /written/);
});

labTest("capture: all tunnel traffic of udp", {
  hosts: 2,
  config: networkConfig(["ipv4"], { Type: "udp" }),
}, async (lab) => {
  await lab.startAll();
  const second = await peerAddress(lab, 2);
  const here = lab.host(1);
  await ping(here, second, 1);
  const { code, messages, file } = await capture(here, [], async () => {
    await Promise.all([ping(here, lab.host(2).addresses.ipv4!, 5), ping(here, second, 5)]);
  });
  assert.equal(code, 0, messages);
  const rows = await tshark(file, "frame.interface_name", "udp.dstport", "icmp.type");
  // The forwarder may send several packets as one, which the kernel cuts up later (UDP_SEGMENT).
  const outer = rows.filter(([name]) => name === "eth0");
  assert(outer.length > 0 && outer.every(([, port]) => port === "8285"), JSON.stringify(outer));
  // The device also carries what the kernel sends by itself (multicast reports, router solicitations).
  const echoes = rows.filter(([name, , type]) => name !== "eth0" && (type === "8" || type === "0"));
  assert.equal(echoes.length, 10, JSON.stringify(rows));
});
