/**
 * A backend that the program has never seen: one file and one line in a registry, and everything knows it.
 */
import assert from "node:assert/strict";
import { resolveNetwork } from "../../lib/backend/network.ts";
import { BackendRegistry, erase } from "../../lib/backend/registry.ts";
import { completionScript } from "../../lib/cli/completion.ts";
import { helpText } from "../../lib/cli/help.ts";
import { runCommand } from "../../lib/cli/commands.ts";
import { describeEntry } from "../../lib/kernel/entries.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { parseCommandLine } from "../../lib/options/parse.ts";
import { withBackendOptions } from "../../lib/options/table.ts";
import { context, environment, peer } from "./backend_fixtures.ts";
import { TOY_OPTIONS } from "./toy_backend.ts";

const BACKENDS = new BackendRegistry({
  "toy": { load: async () => erase((await import("./toy_backend.ts")).toy), options: TOY_OPTIONS },
});

const OWN = { subnets: { ipv4: parsePrefix("10.5.72.0/24") } };

function config(backend: object): string {
  return JSON.stringify({ Network: "10.5.0.0/16", Backend: backend });
}

/** Opens the toy as the daemon does: command line, config, context. */
async function openToy(backend: object, args: string[] = []) {
  const network = await resolveNetwork(config(backend), BACKENDS);
  const { options } = parseCommandLine(args, {}, BACKENDS.options);
  return await network.backend.open(
    network.options,
    context({ config: network.config, options: options.backend }),
  );
}

/** What a command prints, and its exit status. */
async function output(...args: string[]): Promise<{ status: number; text: string }> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => void lines.push(line);
  try {
    const status = await runCommand(parseCommandLine(args, {}, BACKENDS.options), BACKENDS);
    return { status, text: lines.join("\n") };
  } finally {
    console.log = log;
  }
}

Deno.test("toy backend: a peer of its type gets its route, another one a reason", async () => {
  const plan = (await openToy({ Type: "toy", Device: "toy7" })).plan(environment(), OWN);
  const near = peer("10.5.88.0-24", { PublicIP: "172.30.0.3", BackendType: "toy" });
  assert.deepEqual(plan.forPeer(near).entries.map(describeEntry), ["route 10.5.88.0/24 dev toy7"]);
  const other = peer("10.5.89.0-24", { PublicIP: "172.30.0.4", BackendType: "vxlan" });
  assert.deepEqual(plan.forPeer(other), {
    entries: [],
    paths: [],
    problem: 'its lease has backend type "vxlan", not toy',
  });
});

Deno.test("toy backend: its daemon option stands in the command line, the help and the completion", async () => {
  const backend = await openToy({ Type: "toy" }, ["-toy-speed=42"]);
  assert.deepEqual(backend.attributes, { backendType: "toy", backendData: { ipv4: { Speed: 42 } } });
  const usual = await openToy({ Type: "toy" });
  assert.deepEqual(usual.attributes.backendData, { ipv4: { Speed: 3 } });
  const fromVariable = parseCommandLine([], { FLANNELD_TOY_SPEED: "5" }, BACKENDS.options).options.backend;
  assert.equal(fromVariable.get(TOY_OPTIONS["toy-speed"]), 5);
  assert.throws(() => parseCommandLine(["-toy-speed=101"], {}, BACKENDS.options), {
    message: /^-toy-speed "101": must be a whole number between 1 and 100/,
  });
  assert.throws(() => parseCommandLine(["-udp-port=1"], {}, BACKENDS.options), { message: /unknown option/ });
  const table = withBackendOptions(BACKENDS.options);
  assert.match(helpText(table), /-toy-speed SPEED +Speed of this host's toy/);
  assert.match(completionScript("bash", table), /-toy-speed/);
});

Deno.test("toy backend: config check fills in its defaults and names its faults", async () => {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(file, config({ Type: "toy", mtu: 1400 }));
    const { status, text } = await output("config", "check", file);
    assert.equal(status, 0);
    assert.deepEqual(JSON.parse(text).Backend, { Type: "toy", Device: "toy0", MTU: 1400 });
  } finally {
    await Deno.remove(file);
  }
  await assert.rejects(resolveNetwork(config({ Type: "toy", MTU: 1, Device: 5 }), BACKENDS), {
    name: "ConfigError",
    message: /Backend\.Device[^]*Backend\.MTU/,
  });
  const { warnings } = await resolveNetwork(config({ Type: "toy", Devise: "toy1" }), BACKENDS);
  assert.match(warnings.join(), /Backend\.Devise.*Device/);
});

Deno.test("toy backend: the message about an unknown type names it", async () => {
  await assert.rejects(resolveNetwork(config({ Type: "toys" }), BACKENDS), {
    message: /Backend\.Type "toys": must be one of toy\b.*did you mean toy/,
  });
});
