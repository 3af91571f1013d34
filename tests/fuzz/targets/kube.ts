/**
 * Kubernetes' answers, and the files that lead to its API.
 *
 * @module
 */
import { AccessError } from "../../../lib/kube/access.ts";
import { JsonSkimmer, SkimError, type SkimmedJson } from "../../../lib/kube/json_skim.ts";
import { accessFrom } from "../../../lib/kube/kubeconfig.ts";
import { ApiError } from "../../../lib/kube/client.ts";
import { EVENT, eventOf, recordOf } from "../../../lib/kube/nodes.ts";
import { FAMILIES } from "../../../lib/net/family.ts";
import { attributesOfNode, leaseOfNode } from "../../../lib/leases/kube/node_lease.ts";
import { annotationPrefix, annotationsOf } from "../../../lib/leases/kube/annotations.ts";
import { type FuzzTarget, property, show, textOf } from "../target.ts";

const PREFIX = "flannel.alpha.coreos.com/";
const NODE_WORDS = [
  ...[
    '"metadata":',
    '"annotations":',
    '"spec":',
    '"podCIDR":',
    '"podCIDRs":',
    '"name":',
    '"uid":',
    '"type":',
  ],
  ...[
    '"object":',
    '"flannel.alpha.coreos.com/kube-subnet-manager":"true"',
    '"resourceVersion":',
    '"BOOKMARK"',
  ],
  ...['"flannel.alpha.coreos.com/public-ip":"10.0.0.1"', '"flannel.alpha.coreos.com/backend-data":"{}"'],
  ...['"ERROR"', '"DELETED"', "null", "[", "]", "{", "}", ",", '"__proto__":', '"items":', '\\"', "\\u00e9"],
];

export const KUBE_TARGETS: readonly FuzzTarget[] = [
  {
    name: "kube-watch",
    what: "the stream of a watch of Nodes, in chunks, and the leases that Nodes say",
    errors: [SkimError, ApiError],
    dictionary: NODE_WORDS,
    open: () => checkStream,
  },
  {
    name: "kubeconfig",
    what: "a kubeconfig",
    errors: [AccessError],
    dictionary: [
      ...[
        "clusters:",
        "users:",
        "contexts:",
        "current-context:",
        "- name: ",
        "  cluster:",
        "    server: ",
        "\n",
      ],
      ...[
        "https://10.0.0.1:6443",
        "certificate-authority-data: ",
        "token: ",
        "tokenFile: ",
        "client-key: ",
        "null",
      ],
      ...["&a ", "*a", "<<: ", "!!binary ", "[", "{", "5", "true", "~", "tls-server-name: ", "username: "],
    ],
    cost: 10,
    open: () => async (input) => {
      const access = await accessFrom(textOf(input), "/nowhere/kubeconfig");
      property(access.server instanceof URL, "no server");
      await access.tls();
      await access.authorization(undefined);
    },
  },
  {
    name: "kube-annotation-prefix",
    what: "the prefix of annotations",
    errors: [RangeError],
    dictionary: ["flannel.alpha.coreos.com", "/", "-", ".", "a", "A", "_"],
    maxLength: 300,
    open: () => (input) => {
      const prefix = annotationPrefix(textOf(input));
      property(annotationPrefix(prefix) === prefix, `${prefix} becomes another prefix`);
    },
  },
];

/** Whole or in chunks of any size, the stream says the same, and what is picked is what JSON.parse would give. */
function checkStream(input: Uint8Array): void {
  const whole = skim(input, input.length);
  // The first byte says where the chunks end, so that a finding can be replayed.
  const chunked = skim(input, 1 + (input[0] ?? 0) % 7);
  property(show(whole.values) === show(chunked.values), "chunks change what is read");
  property(
    String(whole.error) === String(chunked.error),
    `${whole.error} or ${chunked.error}, by the chunks`,
  );
  for (const value of whole.values) {
    const { event } = eventOf(value, PREFIX);
    if (event?.kind !== "put") continue;
    const { node } = event;
    property(
      Object.keys(node.annotations).every((name) => name.startsWith(PREFIX)),
      "an annotation of others",
    );
    attributesOfNode(node, PREFIX);
    const { lease } = leaseOfNode(node, PREFIX, FAMILIES);
    if (lease) annotationsOf(lease.attributes);
    recordOf(value, PREFIX);
  }
  if (whole.error) throw whole.error;
}

function skim(input: Uint8Array, chunk: number): { values: SkimmedJson[]; error: unknown } {
  const values: SkimmedJson[] = [];
  const skimmer = new JsonSkimmer(EVENT, (value) => values.push(value));
  try {
    for (let at = 0; at < input.length; at += chunk) skimmer.push(input.slice(at, at + chunk));
    skimmer.end();
    return { values, error: undefined };
  } catch (error) {
    return { values, error };
  }
}
