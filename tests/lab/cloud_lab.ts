/**
 * A lab whose router is a fake cloud: hosts know no route to each other's subnets, the cloud's table does.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import type { CloudCommand, CloudState } from "../fakes/main.ts";
import { type CloudName, METADATA } from "../fakes/lab_cloud.ts";
import type { Host } from "../../scripts/lab/host.ts";
import { Lab } from "../../scripts/lab/lab.ts";
import { until } from "../../scripts/lab/process.ts";

const FAKE = fileURLToPath(new URL("../fakes/main.ts", import.meta.url));
/** Port of the cloud's API on the router. */
const API_PORT = 8700;

/** How a daemon finds the fake API; everything else it learns from the metadata server. */
function environmentFor(cloud: CloudName, api: string): Record<string, string> {
  // Nothing that a developer's machine may hold must decide a test.
  const none = {
    AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
    AWS_CONFIG_FILE: "/nonexistent",
    CLOUDSDK_CONFIG: "/nonexistent",
  };
  switch (cloud) {
    case "aws-vpc":
      return { ...none, AWS_ENDPOINT_URL_EC2: api };
    case "gce":
      return { ...none, CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: `${api}/compute/v1/` };
    case "ali-vpc":
      return { ...none, ALIBABA_CLOUD_VPC_ENDPOINT: api };
    case "tencent-vpc":
      return { ...none, TENCENTCLOUD_VPC_ENDPOINT: api };
  }
}

/** Id of the instance that host `number` is, in its so-many-th life. */
export function instanceId(host: Host, life = 1): string {
  return `i-${host.number}${"abcdef"[life - 1]}`;
}

/** A lab with its cloud. Dispose it before the lab. */
export class CloudLab implements AsyncDisposable {
  readonly #lines: ReadableStreamDefaultReader<string>;

  private constructor(
    readonly lab: Lab,
    readonly name: CloudName,
    readonly env: Readonly<Record<string, string>>,
    readonly connection: Deno.Conn,
  ) {
    this.#lines = connection.readable.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Three hosts, each an instance of the cloud. */
  static async open(lab: Lab, name: CloudName): Promise<CloudLab> {
    const router = lab.switch;
    const address = lab.underlay.switchAddress;
    await router.ip(`address add ${METADATA[name]}/32 dev lo`);
    // A redirect would teach hosts to go around the router.
    await router.sysctl({ "net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/br0/send_redirects": "0" });
    const socket = `${lab.folder}/cloud.sock`;
    const child = router.spawn([Deno.execPath(), "run", "-A", FAKE, name, address, String(API_PORT), socket]);
    const said: Uint8Array[] = [];
    void child.stdout.cancel();
    void (async () => {
      for await (const chunk of child.stderr) said.push(chunk);
    })();
    const connection = await until("the fake cloud to listen", async () => {
      return await Deno.connect({ transport: "unix", path: socket });
    }, 20_000).catch(async (error) => {
      throw new Error(`${error}: ${await new Blob(said as BlobPart[]).text()}`);
    });
    const cloud = new CloudLab(lab, name, environmentFor(name, `http://${address}:${API_PORT}`), connection);
    for (const host of lab.hosts) {
      await cloud.ask({ do: "addInstance", args: [instanceId(host), host.addresses.ipv4!] });
    }
    return cloud;
  }

  /** Has the cloud do something. @returns How it is then. */
  async ask(command: CloudCommand): Promise<CloudState> {
    await this.connection.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
    let text = "";
    while (!text.endsWith("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error("the fake cloud has ended");
      text += value;
    }
    return JSON.parse(text);
  }

  /** How the cloud is. */
  show(): Promise<CloudState> {
    return this.ask({ do: "show" });
  }

  /** Waits until the routes are so. */
  async untilRoutes(what: string, is: (routes: readonly string[]) => boolean, seconds = 15): Promise<void> {
    await until(what, async () => {
      const { routes } = await this.show();
      if (is(routes)) return true;
      throw new Error(routes.join(", "));
    }, seconds * 1000);
  }

  /** Starts a host's daemon, which looks at its route every second. */
  start(host: Host, ...args: string[]) {
    // What survives a reboot is each host's own.
    const env = { ...this.env, STATE_DIRECTORY: `${host.folder}/state` };
    return host.start({ args: ["-cloud-resync=1", ...args], env });
  }

  /** Starts it and waits until it is ready. */
  async startReady(host: Host) {
    this.start(host);
    return await host.waitReady();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lines.cancel().catch(() => {});
  }
}
