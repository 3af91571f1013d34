/** A program that carries WireGuard and can't change a peer, as boringtun: spoken to with its own words and limits. */
import assert from "node:assert/strict";
import { PeerTable } from "../../backends/wireguard/peer_table.ts";
import { parseIp } from "../../lib/net/ip.ts";
import { parsePrefix } from "../../lib/net/prefix.ts";
import { generatePrivateKey, keyFromHex, keyToHex, publicKeyOf } from "../../lib/wireguard/keys.ts";
import { socketPath } from "../../lib/wireguard/socket_path.ts";
import type { WireguardPeer } from "../../lib/wireguard/types.ts";
import { UserspaceWireguard } from "../../lib/wireguard/uapi.ts";
import { IS_ROOT } from "./lab_test_case.ts";

/** boringtun's side of the socket: what it answers, and what it can't do. */
class Boringtun implements Disposable {
  readonly #listener: Deno.UnixListener;
  readonly #path: string;
  #publicKey: string | undefined;
  #port = 0;
  /** By public key, in hexadecimal: the other lines of the peer. */
  readonly peers = new Map<string, Map<string, string>>();
  /** Why it doesn't answer any more. */
  panic: string | undefined;
  sets = 0;

  constructor(device: string) {
    Deno.mkdirSync("/var/run/wireguard", { recursive: true });
    this.#path = socketPath(device);
    this.#listener = Deno.listen({ transport: "unix", path: this.#path });
    this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener) {
      const buffer = new Uint8Array(64 * 1024);
      let request = "";
      while (!request.endsWith("\n\n")) {
        request += new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
      }
      const [verb, ...lines] = request.trim().split("\n");
      if (verb === "set=1") this.#set(lines);
      if (this.panic === undefined) {
        const answer = `${verb === "get=1" ? this.#get() : ""}errno=0\n\n`;
        await connection.write(new TextEncoder().encode(answer));
      }
      connection.close();
    }
  }

  #get(): string {
    const own = this.#publicKey === undefined ? [] : [`own_public_key=${keyToHex(this.#publicKey)}`];
    const peers = [...this.peers].flatMap(([key, lines]) => [
      `public_key=${key}`,
      ...[...lines].flatMap(([name, value]) => value.split(",").map((each) => `${name}=${each}`)),
      ...["rx_bytes=0", "tx_bytes=0"],
    ]);
    return [...own, `listen_port=${this.#port}`, ...peers].map((line) => `${line}\n`).join("");
  }

  #set(lines: readonly string[]): void {
    this.sets++;
    let key: string | undefined, isRemoval = false;
    let said = new Map<string, string>();
    const end = () => {
      if (key === undefined) return;
      if (isRemoval) this.peers.delete(key);
      else if (this.peers.has(key)) this.panic = "Modifying existing peers is not yet supported";
      else this.peers.set(key, new Map(said));
      // All but the allowed IPs goes on to the request's next peer.
      said = new Map([...said].filter(([name]) => name !== "allowed_ip"));
    };
    for (const line of lines) {
      const [name, value] = line.split("=") as [string, string];
      if (name === "private_key") this.#publicKey = publicKeyOf(keyFromHex(value));
      else if (name === "listen_port") this.#port = Number(value);
      else if (name === "remove") isRemoval = true;
      else if (name === "public_key") {
        end();
        key = value;
      } else if (name === "allowed_ip") said.set(name, [said.get(name) ?? [], value].flat().join(","));
      else if (name !== "replace_allowed_ips") said.set(name, value);
    }
    end();
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Gone with the listener.
    }
  }
}

function peer(number: number, change: Partial<WireguardPeer> = {}): WireguardPeer {
  return {
    publicKey: publicKeyOf(generatePrivateKey()),
    endpoint: { ip: parseIp(`192.0.2.${number}`), port: 51820 },
    keepalive: 0,
    allowedIps: [parsePrefix(`10.5.${number}.0/24`), parsePrefix(`fc00:0:0:${number}::/64`)],
    ...change,
  };
}

// The first peer ended it: a greeting sets a peer twice. And each second key and port were set anew.
Deno.test({
  name: "wireguard: boringtun, which can't change a peer, has every peer removed and made again (needs root)",
  ignore: !IS_ROOT,
  fn: async () => {
    const device = `wg${crypto.randomUUID().slice(0, 8)}`;
    using program = new Boringtun(device);
    const control = new UserspaceWireguard();
    const privateKey = generatePrivateKey();
    const table = new PeerTable(device, control, { privateKey, listenPort: 51820 });
    const [one, two] = [peer(1), peer(2)];
    table.set("one", one);
    table.set("two", two);
    assert.deepEqual((await table.pass()).failures, []);
    assert.equal(program.panic, undefined);
    const { peers, publicKey } = await control.read(device);
    assert.equal(publicKey, publicKeyOf(privateKey));
    assert.deepEqual(
      peers.map(({ endpoint, allowedIps }) => [endpoint, allowedIps]),
      [one, two].map((
        { endpoint, allowedIps },
      ) => [endpoint, allowedIps]),
    );
    const before = program.sets;
    const { configured, corrected } = await table.pass();
    assert.deepEqual([configured, corrected, program.sets], [false, 0, before], "all is as wanted");
    // A peer that has roamed keeps its endpoint, though it is made again.
    program.peers.get(keyToHex(one.publicKey))!.set("endpoint", "203.0.113.9:4000");
    await table.pass();
    table.set("one", { ...one, allowedIps: one.allowedIps.slice(0, 1) });
    assert.deepEqual(await table.flush(), []);
    const lines = program.peers.get(keyToHex(one.publicKey))!;
    assert.deepEqual([lines.get("endpoint"), lines.get("allowed_ip")], ["203.0.113.9:4000", "10.5.1.0/24"]);
    table.set("two", undefined);
    await table.flush();
    assert.deepEqual([...program.peers.keys()], [keyToHex(one.publicKey)]);
    assert.equal(program.panic, undefined);
    // It gives the age of a handshake.
    lines.set("last_handshake_time_sec", "7");
    const age = Date.now() / 1000 - (await control.read(device)).peers[0]!.lastHandshake;
    assert.ok(age >= 6.9 && age < 9, `${age} s`);
  },
});
