/** Where a command finds the options of this host's daemon. */
import assert from "node:assert/strict";
import { wordsOfFile, wordsOfProcess } from "../../lib/options/service_files.ts";

Deno.test("service options: the environment file as systemd reads it", () => {
  const text = `
# FLANNELD_IFACE=eth9
; FLANNELD_IFACE=eth8
FLANNELD_ETCD_ENDPOINTS=https://10.0.0.1:2379,https://10.0.0.2:2379
FLANNELD_IFACE_REGEX="^eth[0-9]=x$"
FLANNEL_OPTIONS='-ip-masq  -iface=eth1'
ETCD_NAME=other
not a variable
`;
  assert.deepEqual(wordsOfFile(text), {
    args: ["-ip-masq", "-iface=eth1"],
    environment: {
      FLANNELD_ETCD_ENDPOINTS: "https://10.0.0.1:2379,https://10.0.0.2:2379",
      FLANNELD_IFACE_REGEX: "^eth[0-9]=x$",
    },
  });
  assert.deepEqual(wordsOfFile(""), { args: [], environment: {} });
});

Deno.test("service options: of a process, whatever kind of executable it runs", () => {
  const zero = (...words: string[]) => words.map((word) => `${word}\0`).join("");
  const environ = zero("PATH=/usr/bin", "FLANNELD_ETCD_PREFIX=/a=b", "HOME=/");
  const found = { args: ["-iface", "eth1"], environment: { FLANNELD_ETCD_PREFIX: "/a=b" } };
  for (
    const command of [
      [
        "/var/cache/flanneld/1.0.0-1/flanneld",
        "run",
        "--allow-ffi",
        "/var/cache/flanneld/1.0.0-1/app/main.js",
      ],
      ["deno", "run", "-A", "main.ts"],
      ["/usr/sbin/flanneld"],
    ]
  ) assert.deepEqual(wordsOfProcess(zero(...command, "-iface", "eth1"), environ), found);
  assert.equal(wordsOfProcess(zero("/sbin/init"), environ), undefined);
  assert.equal(wordsOfProcess("", ""), undefined);
});
