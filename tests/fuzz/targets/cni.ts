/**
 * What container runtimes give to the CNI plugin.
 *
 * @module
 */
import { delegateConf, parseSubnetEnv } from "../../../lib/cni/delegate_conf.ts";
import { CniError } from "../../../lib/cni/error.ts";
import { readEnvironment, readNetConf, versionOf } from "../../../lib/cni/request.ts";
import { type FuzzTarget, property, textOf } from "../target.ts";

const ENV = parseSubnetEnv(
  "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
  "subnet.env",
);

export const CNI_TARGETS: readonly FuzzTarget[] = [
  {
    name: "cni-conf",
    what: "the network configuration on stdin",
    errors: [CniError],
    dictionary: [
      ...[
        '"cniVersion":"1.0.0"',
        '"name":"cbr0"',
        '"type":"flannel"',
        '"delegate":{',
        '"ipam":{',
        '"routes":[',
      ],
      ...[
        '"runtimeConfig":{',
        '"prevResult":{',
        '"subnetFile":"/run/flannel/subnet.env"',
        '"dataDir":',
        "null",
      ],
      ...[
        '"cni.dev/valid-attachments":[',
        '"containerID":"a"',
        '"ifname":"eth0"',
        '"__proto__":',
        "{",
        "}",
        "[",
        "]",
        ",",
      ],
    ],
    open: () => (input) => {
      const text = textOf(input);
      property(versionOf(text) !== "", "no version");
      const conf = readNetConf(text);
      // Names become names of files.
      property(!conf.name.includes("/") && conf.name !== "." && conf.name !== "..", `the name ${conf.name}`);
      const made = delegateConf(conf, ENV);
      property(made["name"] === conf.name, "the delegate gets another name");
    },
  },
  {
    name: "cni-environment",
    what: "the variables of a call, one a line",
    errors: [CniError],
    dictionary: [
      ...[
        "CNI_COMMAND=",
        "CNI_CONTAINERID=",
        "CNI_NETNS=",
        "CNI_IFNAME=",
        "CNI_PATH=",
        "ADD",
        "DEL",
        "GC",
        "STATUS",
      ],
      ...["CHECK", "VERSION", "\n", "/opt/cni/bin", ":", "../../x", "."],
    ],
    open: () => (input) => {
      const values = new Map(textOf(input).split("\n").map((line) => line.split("=", 2) as [string, string]));
      const { containerId } = readEnvironment((name) => values.get(name));
      property(!containerId.includes("/") && containerId !== "..", `the container ${containerId}`);
    },
  },
  {
    name: "cni-subnet-file",
    what: "the subnet file as the plugin reads it",
    errors: [CniError],
    dictionary: [
      ...[
        "FLANNEL_NETWORK=",
        "FLANNEL_SUBNET=",
        "FLANNEL_IPV6_NETWORK=",
        "FLANNEL_IPV6_SUBNET=",
        "FLANNEL_MTU=",
      ],
      ...["FLANNEL_IPMASQ=", "true", "10.5.0.0/16,10.6.0.0/16", "fc00::1/64", "\n", "="],
    ],
    open: () => (input) => {
      const { networks, subnets, mtu } = parseSubnetEnv(textOf(input), "subnet.env");
      property(networks.length > 0 && subnets.length > 0 && mtu > 0, "a file that lacks something");
    },
  },
];
