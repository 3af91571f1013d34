/**
 * The fake API server as a process of its own, for labs: in the namespace where the hosts look for it.
 *
 *     deno run -A tests/fakes/kube/main.ts ADDRESS FOLDER [http1]
 *
 * It takes commands on FOLDER/control.sock, one JSON array `[name, ...arguments]` a line, and answers each with a line:
 * `{"value": …}` or `{"error": "…"}`. A Unix socket works across network namespaces.
 *
 * @module
 */
import { ADMIN_RULES, FLANNEL_RULES, type Rule } from "./access.ts";
import type { KubeObject } from "./objects.ts";
import { churn, fill } from "./scale.ts";
import { FakeApiServer, type Faults } from "./server.ts";

/** The user that flanneld is, as its manifest makes it. */
export const FLANNEL_USER = "system:serviceaccount:kube-flannel:flannel";

/** What can be asked of it. */
export type Command =
  | readonly ["create" | "update", string, KubeObject]
  | readonly ["get" | "delete", string, string]
  | readonly ["annotate", string, Record<string, string | null>]
  | readonly ["list", string]
  | readonly ["faults", Partial<Omit<Faults, "failing">> & { failing?: [string, number][] }]
  | readonly ["rules", string, readonly Rule[]]
  | readonly ["rewind", number]
  | readonly ["addToken", string, string, number?]
  | readonly ["revokeToken", string]
  | readonly ["fill" | "churn", number, number]
  | readonly [
    "cut" | "endWatches" | "silenceWatches" | "compact" | "stop" | "listen" | "requests" | "port" | "pid",
  ];

class Control {
  readonly #server: FakeApiServer;
  readonly #port: number;

  constructor(server: FakeApiServer) {
    this.#server = server;
    this.#port = server.port;
  }

  async carryOut(command: Command): Promise<unknown> {
    const server = this.#server, { store } = server;
    switch (command[0]) {
      case "create":
        return store.create(command[1], command[2]);
      case "update":
        return store.update(command[1], command[2]);
      case "get":
        return store.get(command[1], command[2]);
      case "delete":
        return store.delete(command[1], command[2]);
      case "annotate":
        return this.#annotate(command[1], command[2]);
      case "list":
        return store.list(command[1]);
      case "faults": {
        const { failing, ...rest } = command[1];
        Object.assign(server.faults, rest);
        if (failing) server.faults.failing = new Map(failing);
        return null;
      }
      case "rules":
        return server.access.setRules(command[1], command[2]);
      case "addToken":
        return server.access.addToken(command[1], command[2], command[3]);
      case "revokeToken":
        return server.access.revokeToken(command[1]);
      case "rewind":
        return store.rewind(command[1]);
      case "fill":
        return fill(store, command[1], command[2]);
      case "churn":
        return await churn(store, command[1], command[2]);
      case "cut":
        return server.cut();
      case "endWatches":
        return server.endWatches();
      case "silenceWatches":
        return server.silenceWatches();
      case "compact":
        return store.compact();
      case "stop":
        return await server.stop();
      case "listen":
        return await server.listen(this.#port);
      case "requests":
        return server.requests.splice(0);
      case "pid":
        return Deno.pid;
      case "port":
        return this.#port;
    }
  }

  #annotate(name: string, changes: Record<string, string | null>): KubeObject {
    const node = this.#server.store.get("nodes", name);
    const all = Object.entries({ ...node.metadata.annotations, ...changes });
    const annotations = Object.fromEntries(all.filter(([, value]) => value !== null)) as Record<
      string,
      string
    >;
    return this.#server.store.update("nodes", { ...node, metadata: { ...node.metadata, annotations } });
  }

  async serve(connection: Deno.Conn): Promise<void> {
    const encoder = new TextEncoder();
    let rest = "";
    for await (const text of connection.readable.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const answer = await this.#answer(line);
        await connection.write(encoder.encode(`${JSON.stringify(answer)}\n`));
      }
    }
  }

  async #answer(line: string): Promise<object> {
    try {
      return { value: await this.carryOut(JSON.parse(line) as Command) ?? null };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }
}

if (import.meta.main) {
  const [hostname = "127.0.0.1", folder = ".", version] = Deno.args;
  const read = (name: string) => Deno.readTextFileSync(`${folder}/${name}`);
  const tls = { key: read("server.key"), cert: read("server.crt"), ca: read("ca.crt") };
  const server = await FakeApiServer.start({
    hostname,
    tls,
    bookmarkMs: 1_000,
    http1Only: version === "http1",
  });
  server.access.addToken("admin", "admin");
  server.access.setRules("admin", ADMIN_RULES);
  server.access.addToken("flannel", FLANNEL_USER);
  server.access.setRules(FLANNEL_USER, FLANNEL_RULES);
  server.store.create("namespaces", { metadata: { name: "default" } });
  const control = new Control(server);
  const listener = Deno.listen({ transport: "unix", path: `${folder}/control.sock` });
  console.log("ready");
  for await (const connection of listener) void control.serve(connection).catch(() => {});
}
