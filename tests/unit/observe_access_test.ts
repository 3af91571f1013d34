/** Who may see what the daemon knows of its network. */
import assert from "node:assert/strict";
import { refusalOf } from "../../lib/observe/access.ts";
import { parseRequest } from "../../lib/observe/http_request.ts";
import { networksAndNames } from "../../lib/options/values.ts";

/** Why a GET of these header lines is refused. */
function refusal(
  lines: readonly string[],
  { remote = "127.0.0.1", local = "127.0.0.1", allow = "", target = "/" } = {},
): string | undefined {
  const head = [`GET ${target} HTTP/1.${lines.length > 0 ? 1 : 0}`, ...lines, "", ""].join("\r\n");
  return refusalOf(parseRequest(new TextEncoder().encode(head)), { remote, local }, {
    allowed: allow === "" ? [] : networksAndNames(allow),
    ownAddresses: () => ["127.0.0.1", "192.0.2.1", "2001:db8::1", "fe80::1"],
    ownName: () => "node1.example.com",
  });
}

const CLIENT = /answers to the host itself only/, HOST = /the Host field/, PAGE = /another site's page/;

Deno.test("access: the host itself, over loopback and over its own addresses", () => {
  for (
    const remote of [
      "127.0.0.1",
      "127.8.8.8",
      "::1",
      "::ffff:127.0.0.1",
      "192.0.2.1",
      "2001:DB8::1",
      "fe80::1%eth0",
    ]
  ) {
    assert.equal(refusal(["Host: localhost"], { remote }), undefined, remote);
  }
  // An address that came up just now: what the client used is this host's.
  assert.equal(refusal([], { remote: "203.0.113.9", local: "203.0.113.9" }), undefined);
  assert.equal(refusal([], { remote: "::ffff:203.0.113.9", local: "203.0.113.9" }), undefined);
});

Deno.test("access: others, containers of this host included, only by -web-allow", () => {
  for (
    const remote of [
      "192.0.2.2",
      "10.5.72.3",
      "2001:db8::2",
      "::ffff:192.0.2.2",
      "126.0.0.1",
      "128.0.0.1",
      "::2",
    ]
  ) {
    assert.match(refusal(["Host: localhost"], { remote, local: "192.0.2.1" })!, CLIENT, remote);
  }
  const allow = "192.0.2.0/24,2001:db8::/32";
  assert.equal(refusal(["Host: 192.0.2.1:8080"], { remote: "192.0.2.2", allow }), undefined);
  assert.equal(refusal(["Host: [2001:db8::1]"], { remote: "2001:db8::2", allow }), undefined);
  assert.match(refusal(["Host: 192.0.2.1"], { remote: "198.51.100.1", allow })!, CLIENT);
  assert.equal(refusal(["Host: 192.0.2.1"], { remote: "198.51.100.1", allow: "198.51.100.1" }), undefined);
});

Deno.test("access: Host is this host: an address, localhost, its name, or what -web-allow names", () => {
  const own = [
    ...[
      "localhost",
      "LOCALHOST:8080",
      "localhost.",
      "127.0.0.1:8080",
      "[::1]:8080",
      "192.0.2.1",
      "[2001:db8::1]:80",
    ],
    ...["node1.example.com", "Node1.Example.com:8080", "node1", "node1.example.com."],
  ];
  for (const host of own) assert.equal(refusal([`Host: ${host}`]), undefined, host);
  // The name of a stranger that resolves to 127.0.0.1, and addresses by which browsers reach loopback all the same.
  const foreign = [
    ...[
      "evil.example",
      "localhost.evil.example",
      "evil.example:8080",
      "node1.evil.example",
      "node2",
      "0.0.0.0",
    ],
    ...[
      "[::]",
      "198.51.100.1",
      "127.0.0.1.nip.io",
      "2130706433",
      "0x7f.1",
      "127.0.0.1%.evil.example",
      "127.0.0.1%25",
    ],
  ];
  for (const host of foreign) assert.match(refusal([`Host: ${host}`])!, HOST, host);
  assert.equal(refusal(["Host: flannel.example:8080"], { allow: "flannel.example" }), undefined);
  assert.equal(refusal(["Host: 198.51.100.1"], { allow: "198.51.100.0/24" }), undefined);
  // A name allows no client.
  assert.match(refusal(["Host: a"], { allow: "a", remote: "192.0.2.2", local: "192.0.2.1" })!, CLIENT);
});

Deno.test("access: the target's own authority counts beside Host; no Host is no browser", () => {
  assert.match(refusal(["Host: localhost"], { target: "http://evil.example/status" })!, HOST);
  assert.equal(refusal(["Host: localhost"], { target: "http://localhost/status" }), undefined);
  assert.equal(refusal([]), undefined);
});

Deno.test("access: requests of other sites' pages are refused, links to here aren't", () => {
  const host = "Host: localhost:8080";
  assert.equal(refusal([host, "Origin: http://localhost:8080"]), undefined);
  assert.equal(refusal([host, "Origin: https://localhost:8080"]), undefined);
  for (
    const origin of ["http://evil.example", "null", "http://localhost:3000", "http://localhost", "file://"]
  ) {
    assert.match(refusal([host, `Origin: ${origin}`])!, PAGE, origin);
  }
  assert.match(refusal([host, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"])!, PAGE);
  assert.match(refusal([host, "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"])!, PAGE);
  assert.equal(refusal([host, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"]), undefined);
  // A page elsewhere could open stream after stream in frames and windows, and none of them ends.
  const link = [host, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"];
  assert.match(refusal(link, { target: "/events" })!, PAGE);
  assert.match(refusal([...link, "Sec-Fetch-Dest: iframe"])!, PAGE);
  assert.equal(refusal([...link, "Sec-Fetch-Dest: document"]), undefined);
  assert.equal(refusal([host, "Sec-Fetch-Site: same-origin"], { target: "/events" }), undefined);
  assert.equal(refusal([host, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"]), undefined);
  assert.equal(refusal([host, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"]), undefined);
});

Deno.test("access: -web-allow takes networks, addresses and names", () => {
  assert.deepEqual(
    networksAndNames("10.0.0.0/8, ::1,node-1.example.com").map((one) =>
      typeof one === "string" ? one : `${one.base}/${one.length}`
    ),
    ["167772160/8", "1/128", "node-1.example.com"],
  );
  // It allowed nobody: clients of a socket for both families are compared as IPv4.
  assert.deepEqual(
    networksAndNames("::ffff:10.0.0.0/104,::ffff:10.0.0.1"),
    networksAndNames("10.0.0.0/8,10.0.0.1"),
  );
  const mapped = { remote: "::ffff:10.1.2.3", local: "192.0.2.1" };
  assert.equal(refusal(["Host: 192.0.2.1"], { ...mapped, allow: "::ffff:10.0.0.0/104" }), undefined);
  assert.match(refusal(["Host: 192.0.2.1"], { ...mapped, allow: "::/0" })!, CLIENT);
  for (const text of ["", "10.0.0.0/33", "a b", "http://x", "1.2.3", "-a", "a,,b", "*.example.com"]) {
    assert.throws(() => networksAndNames(text), RangeError, text);
  }
});
