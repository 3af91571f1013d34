/** Who gets what from the health port. */
import assert from "node:assert/strict";
import { HEALTH_PORT } from "../../scripts/lab/host.ts";
import type { Namespace } from "../../scripts/lab/namespace.ts";
import { labTest } from "./lab_test_case.ts";

const OPEN = ["/healthz", "/readyz", "/metrics"] as const;
const GUARDED = ["/", "/events", "/status"] as const;

/** The status of a request from `from`, with these fields. */
async function status(from: Namespace, address: string, path: string, ...fields: string[]): Promise<number> {
  const authority = address.includes(":") ? `[${address}]` : address;
  const host = fields.some((field) => field.startsWith("Host:")) ? [] : [`Host: ${authority}:${HEALTH_PORT}`];
  const head = [`GET ${path} HTTP/1.1`, ...host, ...fields].map((line) => `${line}\\r\\n`).join("");
  const script = `exec 3<>/dev/tcp/${address}/${HEALTH_PORT} && printf '${head}\\r\\n' >&3 && head -n 1 <&3`;
  const { stdout } = await from.exec(["timeout", "5", "bash", "-c", script], { mayFail: true });
  return Number(stdout.split(" ")[1]);
}

labTest(
  "health port: the page and /status are for the host itself, probes for everybody",
  { hosts: 2 },
  async (lab) => {
    await lab.startAll();
    const [host, other] = [lab.host(1), lab.host(2)];
    const address = host.addresses.ipv4!;
    for (const path of OPEN) {
      assert.equal(await status(other, address, path), 200, path);
      assert.equal(
        await status(other, address, path, "Host: evil.example", "Origin: http://evil.example"),
        200,
      );
    }
    for (const path of GUARDED) {
      assert.equal(await status(other, address, path), 403, path);
      assert.equal(await status(host, address, path), 200, path);
      assert.equal(await status(host, "127.0.0.1", path), 200, path);
      assert.equal(await status(host, "127.0.0.1", path, "Host: evil.example"), 403, path);
      assert.equal(await status(host, "127.0.0.1", path, "Origin: http://evil.example"), 403, path);
    }
  },
);

labTest(
  "health port on both families: containers of the host are others; IPv4 clients count as IPv4",
  { hosts: 2, families: ["ipv4", "ipv6"] },
  async (lab) => {
    const [host, other] = [lab.host(1), lab.host(2)];
    await host.startReady({ args: ["-healthz-ip=::", `-web-allow=::ffff:${other.addresses.ipv4}`] });
    const container = await host.addContainer();
    for (const path of GUARDED) {
      for (const address of [host.addresses.ipv4!, "127.0.0.1", "::1", host.addresses.ipv6!]) {
        assert.equal(await status(host, address, path), 200, `${address} ${path}`);
      }
      assert.equal(await status(other, host.addresses.ipv4!, path), 200, path);
      assert.equal(await status(other, host.addresses.ipv6!, path), 403, path);
      assert.equal(await status(container, host.addresses.ipv4!, path), 403, path);
      assert.equal(await status(container, host.addresses.ipv6!, path), 403, path);
    }
    assert.equal(await status(container, host.addresses.ipv4!, "/healthz"), 200);
  },
);

labTest("-web-allow: networks of clients, and names of the host", { hosts: 2 }, async (lab) => {
  const [host, other] = [lab.host(1), lab.host(2)];
  const address = host.addresses.ipv4!;
  await host.startReady({ args: [`-web-allow=${other.addresses.ipv4},flannel.example`] });
  for (const path of GUARDED) {
    assert.equal(await status(other, address, path), 200, path);
    assert.equal(await status(other, address, path, "Host: flannel.example"), 200, path);
    assert.equal(await status(other, address, path, "Host: evil.example"), 403, path);
  }
});
