/**
 * What the reference says and no declaration of the program has: files, variables of others, exit statuses.
 *
 * @module
 */

/** A name and what it is for. */
export type Fact = readonly [name: string, meaning: string];

/** Files that are read or written, with the default of what may be elsewhere. */
export const FILES: readonly Fact[] = [
  ["/run/flannel/subnet.env", "The host's subnet, for container runtimes; written when the host is ready"],
  ["/run/flannel/subnet.lease", "The own lease as it last stood in the store"],
  ["/run/flannel/subnet.lock", "Held by the running daemon: one daemon for each subnet file"],
  ["/run/flannel/subnet.sock", "Where flanneld status asks the running daemon"],
  ["/etc/default/flanneld", "Options of flanneld.service, one variable each"],
  ["/etc/kube-flannel/net-conf.json", "The network config with -kube-subnet-mgr"],
  ["/var/lib/flannel", "What outlives a reboot: notes about cloud routes, a copy of the WireGuard key"],
  ["/run/flannel/wgkey", "The host's WireGuard key; WIREGUARD_KEY_FILE names another file"],
  [
    "/var/cache/flanneld",
    "Where the self-extracting executable unpacks itself; FLANNELD_CACHE_DIR names another folder",
  ],
];

/** What stands in the store, below -etcd-prefix. */
export const STORE_KEYS: readonly Fact[] = [
  ["config", "The network config"],
  ["subnets/SUBNET", "A host's lease, like subnets/10.5.88.0-24; without an etcd lease it is a reservation"],
];

/** Variables beside those of the options. */
export const VARIABLES: readonly Fact[] = [
  ["NOTIFY_SOCKET", "systemd's socket: READY=1 is sent there when the host is ready"],
  ["STATE_DIRECTORY", "systemd's folder for what outlives a reboot; else /var/lib/flannel"],
  ["NODE_NAME, POD_NAME, POD_NAMESPACE", "With -kube-subnet-mgr: the own Node, or the Pod that says it"],
  ["HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "With -kube-subnet-mgr: the proxy on the way to the API server"],
  [
    "SSL_CERT_FILE",
    "With -kube-subnet-mgr: authorities that an API server without a CA of its own is checked by",
  ],
  ["WIREGUARD_KEY_FILE", "File of the host's WireGuard key"],
  ["FLANNELD_CACHE_DIR", "Folder that the self-extracting executable tries first"],
  ["NO_COLOR", "No colours on a terminal"],
  [
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
    "Keys for aws-vpc, where no role is to be used",
  ],
  [
    "AWS_ENDPOINT_URL_EC2, AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "Other addresses of EC2 and its metadata service",
  ],
  [
    "ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "Keys for ali-vpc; also ACCESS_KEY_ID and ACCESS_KEY_SECRET",
  ],
  ["ALIBABA_CLOUD_VPC_ENDPOINT", "Another address of Alibaba's VPC API"],
  [
    "TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY",
    "Keys for tencent-vpc; also ACCESS_KEY_ID and ACCESS_KEY_SECRET",
  ],
  ["TENCENTCLOUD_VPC_ENDPOINT", "Another address of Tencent's VPC API"],
  ["GOOGLE_APPLICATION_CREDENTIALS", "Keys for gce, where no service account of the instance is to be used"],
];

/** Exit statuses of the daemon and of commands that say nothing else. */
export const STATUSES: readonly Fact[] = [
  ["0", "All is well; the daemon: it was asked to end (SIGTERM, SIGINT), and traffic goes on"],
  ["1", "It failed; the daemon: a part of it can't go on, or its lease was revoked. The last line says why"],
  ["2", "The command line is wrong"],
  ["3", "doctor: there are warnings and no faults"],
];

/** Signals of the daemon. */
export const SIGNALS: readonly Fact[] = [
  [
    "SIGTERM, SIGINT",
    "The daemon ends; devices, routes and the lease stay, so that traffic goes on (the udp backend's TUN goes with it)",
  ],
];
