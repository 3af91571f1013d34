import assert from "node:assert/strict";
import type { NodeRecord } from "../../lib/kube/nodes.ts";
import { annotationChanges, annotationPrefix, annotationsOf } from "../../lib/leases/kube/annotations.ts";
import { leaseOfNode } from "../../lib/leases/kube/node_lease.ts";
import { IPV4, IPV6 } from "../../lib/net/family.ts";
import { formatIp, parseIp } from "../../lib/net/ip.ts";
import { formatPrefix } from "../../lib/net/prefix.ts";

const PREFIX = "flannel.alpha.coreos.com/";

Deno.test("kube annotations: the prefix follows the original's rules", () => {
  const good: [string, string][] = [
    ["flannel.alpha.coreos.com", "flannel.alpha.coreos.com/"],
    ["example.com", "example.com/"],
    ["example.com/", "example.com/"],
    ["example.com/x", "example.com/x-"],
    ["example.com/x-", "example.com/x-"],
    ["a-b.example.com/x_1", "a-b.example.com/x_1-"],
  ];
  for (const [option, prefix] of good) assert.equal(annotationPrefix(option), prefix);
  for (
    const bad of ["", "example", "Example.com", "example.com/a/b", "example.com/X", "-a.com", "a..com", "/x"]
  ) {
    assert.throws(() => annotationPrefix(bad), RangeError, bad);
  }
});

Deno.test("kube annotations: values are the original's, byte for byte", () => {
  const vxlan = annotationsOf({
    publicIps: { ipv4: parseIp("172.30.0.2") },
    backendType: "vxlan",
    backendData: { ipv4: { VNI: 1, VtepMAC: "da:0c:77:ea:0a:7b" } },
  });
  assert.deepEqual(vxlan, {
    "kube-subnet-manager": "true",
    "backend-type": "vxlan",
    "backend-data": '{"VNI":1,"VtepMAC":"da:0c:77:ea:0a:7b"}',
    "backend-v6-data": null,
    "public-ip": "172.30.0.2",
    "public-ipv6": null,
  });
  const dual = annotationsOf(
    {
      publicIps: { ipv4: parseIp("172.30.0.2"), ipv6: parseIp("fd00::2") },
      backendType: "host-gw",
      backendData: {},
    },
    { ipv4: "192.0.2.9" },
  );
  assert.deepEqual([dual["backend-data"], dual["backend-v6-data"]], ["null", "null"]);
  assert.deepEqual([dual["public-ip"], dual["public-ipv6"]], ["192.0.2.9", "fd00::2"]);
  const udp = annotationsOf({ publicIps: { ipv4: parseIp("172.30.0.2") }, backendData: {} });
  assert.deepEqual([udp["backend-type"], udp["backend-data"]], ["", "null"]);
});

Deno.test("kube annotations: only what differs is written, and what is right is nothing", () => {
  const wanted = { "backend-type": "vxlan", "backend-v6-data": null, "public-ip": "10.0.0.1" };
  const current = { [`${PREFIX}backend-type`]: "vxlan", [`${PREFIX}backend-v6-data`]: "null" };
  assert.deepEqual(annotationChanges(wanted, current, PREFIX), {
    [`${PREFIX}backend-v6-data`]: null,
    [`${PREFIX}public-ip`]: "10.0.0.1",
  });
  const right = { [`${PREFIX}backend-type`]: "vxlan", [`${PREFIX}public-ip`]: "10.0.0.1" };
  assert.equal(annotationChanges(wanted, right, PREFIX), undefined);
});

/** A Node with annotations by their short names. */
function node(annotations: Record<string, string>, podCidrs: string[] = ["10.244.1.0/24"]): NodeRecord {
  const named = Object.entries(annotations).map(([name, value]) => [PREFIX + name, value]);
  return {
    name: "a",
    uid: "1",
    resourceVersion: "1",
    created: "",
    podCidrs,
    annotations: Object.fromEntries(named),
  };
}

const GOOD = { "kube-subnet-manager": "true", "backend-type": "vxlan", "public-ip": "172.30.0.3" };

Deno.test("kube leases: a Node is a lease if it says so, in every family that is complete", () => {
  const { lease, fault } = leaseOfNode(
    node({ ...GOOD, "backend-data": '{"VtepMAC":"da:0c:77:ea:0a:7b"}' }),
    PREFIX,
    [IPV4],
  );
  assert.equal(fault, undefined);
  assert.equal(formatPrefix(lease!.subnets.ipv4!), "10.244.1.0/24");
  assert.equal(formatIp(lease!.attributes.publicIps.ipv4!), "172.30.0.3");
  assert.deepEqual(lease!.attributes.backendData, { ipv4: { VtepMAC: "da:0c:77:ea:0a:7b" } });
  for (const managed of [{}, { ...GOOD, "kube-subnet-manager": "True" }]) {
    assert.deepEqual(leaseOfNode(node(managed), PREFIX, [IPV4]), {});
  }
});

Deno.test("kube leases: a dual-stack peer with one family works in that one", () => {
  const half = node({ ...GOOD, "backend-data": "null" }, ["fd00:1::/64", "10.244.1.0/24"]);
  const { lease, fault } = leaseOfNode(half, PREFIX, [IPV4, IPV6]);
  assert.deepEqual(Object.keys(lease!.subnets), ["ipv4"]);
  assert.match(fault!, /no annotation public-ipv6/);
});

Deno.test("kube leases: what is wrong with a Node is named", () => {
  const table: [NodeRecord, RegExp][] = [
    [node(GOOD, []), /no IPv4 podCIDR/],
    [node(GOOD, ["10.244.1.0"]), /podCIDR "10.244.1.0" isn't a CIDR/],
    [node({ ...GOOD, "public-ip": "x" }), /public-ip "x" isn't an IPv4 address/],
    [node({ ...GOOD, "backend-data": "{" }), /backend-data isn't JSON/],
  ];
  for (const [bad, fault] of table) {
    const read = leaseOfNode(bad, PREFIX, [IPV4]);
    assert.equal(read.lease, undefined);
    assert.match(read.fault!, fault);
  }
});
