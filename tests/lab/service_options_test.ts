/** Commands without options work with the store of the daemon that runs on the host. */
import assert from "node:assert/strict";
import { flanneldCommand } from "../../scripts/lab/daemon.ts";
import { labTest } from "./lab_test_case.ts";

// `flanneld doctor` on a healthy host whose options stand in the unit said: FAULT, no etcd endpoint answers.
labTest("commands take the options of the running daemon; an option or variable of their own wins", {
  hosts: 1,
}, async (lab) => {
  const host = lab.host(1);
  await host.startReady({ args: ["-etcd-prefix=/coreos.com/network"] });
  const file = `-subnet-file=${host.subnetFile}`;
  const ask = (args: readonly string[], env: readonly string[] = []) =>
    host.exec(["env", ...env, ...flanneldCommand(), "leases", "list", "-csv", ...args], { mayFail: true });
  const found = await ask([file]);
  assert.equal(found.code, 0, found.stderr);
  assert.match(found.stdout, /172\.30\.0\.1/);
  assert.equal((await ask([file], ["FLANNELD_ETCD_PREFIX=/coreos.com/network"])).code, 1);
  assert.equal((await ask([file, "-etcd-prefix=/coreos.com/network"])).code, 1);
  assert.equal((await ask([])).code, 1, "no daemon has the usual subnet file");

  await host.daemon.stop();
  assert.equal((await ask([file])).code, 1, "a lock that nobody holds names no daemon");
});
