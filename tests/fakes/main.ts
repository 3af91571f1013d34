/**
 * A fake cloud as a process of its own, which routes: run in a lab's router, it keeps the kernel's routes there
 * as its route table says. A lab speaks to it over a Unix socket, a JSON line there, a JSON line back.
 *
 *     deno run -A tests/fakes/main.ts CLOUD API_ADDRESS API_PORT SOCKET
 *
 * @module
 */
import type { Faults } from "./http.ts";
import { type CloudName, type LabCloud, makeLabCloud } from "./lab_cloud.ts";

/** What a lab may ask for. */
export type CloudCommand =
  | { readonly do: "addInstance" | "addRoute"; readonly args: [string, string] }
  | { readonly do: "terminate"; readonly args: [string] }
  | { readonly do: "expireCredentials" | "forgetCalls" | "up" | "down" }
  | { readonly do: "deny"; readonly actions: readonly string[] }
  | { readonly do: "set"; readonly limit?: number; readonly faults?: Partial<Faults> }
  | { readonly do: "show" };

/** What it answers. */
export interface CloudState {
  readonly routes: readonly string[];
  readonly changes: readonly string[];
  readonly calls: readonly string[];
  readonly used: number;
}

/** Makes the kernel's routes follow the table, one run of `ip` after the other. */
class Router {
  readonly #cloud: LabCloud;
  #applied = new Map<string, string>();
  #turn: Promise<void> = Promise.resolve();

  constructor(cloud: LabCloud) {
    this.#cloud = cloud;
    cloud.onChange = () => void this.apply();
  }

  apply(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#applyNow());
    return this.#turn;
  }

  async #applyNow(): Promise<void> {
    const wanted = this.#cloud.hops();
    const lines = [
      ...[...this.#applied.keys()].filter((cidr) => !wanted.has(cidr)).map((cidr) => `route del ${cidr}`),
      ...[...wanted].filter(([cidr, via]) => this.#applied.get(cidr) !== via)
        .map(([cidr, via]) => `route replace ${cidr} via ${via}`),
    ];
    this.#applied = wanted;
    if (lines.length === 0) return;
    const child = new Deno.Command("ip", { args: ["-batch", "-"], stdin: "piped" }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
    await writer.close();
    await child.status;
  }
}

async function obey(cloud: LabCloud, router: Router, command: CloudCommand): Promise<CloudState> {
  switch (command.do) {
    case "addInstance":
      cloud.addInstance(...command.args);
      break;
    case "addRoute":
      cloud.addRoute(...command.args);
      break;
    case "terminate":
      cloud.terminate(...command.args);
      break;
    case "expireCredentials":
      cloud.expireCredentials();
      break;
    case "forgetCalls":
      cloud.calls.length = 0;
      break;
    case "up":
      cloud.api.up();
      break;
    case "down":
      await cloud.api.down();
      break;
    case "deny":
      cloud.faults.denied.clear();
      for (const action of command.actions) cloud.faults.denied.add(action);
      break;
    case "set":
      if (command.limit !== undefined) cloud.limit = command.limit;
      Object.assign(cloud.faults, command.faults);
      break;
    case "show":
      break;
  }
  await router.apply();
  return { routes: cloud.routes(), changes: cloud.changes, calls: cloud.calls, used: cloud.used };
}

async function serve(cloud: LabCloud, router: Router, connection: Deno.Conn): Promise<void> {
  let rest = "";
  for await (const text of connection.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const answer = await obey(cloud, router, JSON.parse(line));
      await connection.write(new TextEncoder().encode(`${JSON.stringify(answer)}\n`));
    }
  }
}

if (import.meta.main) {
  const [name, address, port, socket] = Deno.args;
  const cloud = makeLabCloud(name as CloudName, address!, Number(port));
  const router = new Router(cloud);
  for await (const connection of Deno.listen({ transport: "unix", path: socket! })) {
    void serve(cloud, router, connection).catch(() => {});
  }
}
