import assert from "node:assert/strict";
import { BACKENDS } from "../../backends/registry.ts";
import { CLOUD_RESYNC } from "../../backends/cloud/daemon_options.ts";
import { UDP_PORT } from "../../backends/udp/control/daemon_options.ts";
import { COMMAND_NAMES, COMMAND_OPTIONS, COMMANDS, ownOptions } from "../../lib/options/commands.ts";
import { isFlag, propertyOf, variableOf } from "../../lib/options/spec.ts";
import { OPTIONS, type Options } from "../../lib/options/table.ts";
import { type Invocation, parseCommandLine } from "../../lib/options/parse.ts";
import { UsageError } from "../../lib/options/usage_error.ts";
import { formatIp } from "../../lib/net/ip.ts";
import { formatPrefix } from "../../lib/net/prefix.ts";

type Environment = Record<string, string>;

const parse = (line: string[], environment: Environment = {}): Invocation =>
  parseCommandLine(line, environment, BACKENDS.options);
const options = (line: string[], environment: Environment = {}): Options => parse(line, environment).options;

function refusal(line: string[], environment: Environment = {}): string {
  try {
    parse(line, environment);
  } catch (error) {
    assert(error instanceof UsageError, `not a UsageError: ${error}`);
    assert.equal(error.exitCode, 2);
    return error.message;
  }
  return "accepted";
}

Deno.test("options: the contract's defaults", () => {
  const all = options([]);
  assert.deepEqual(all.etcdEndpoints, ["http://127.0.0.1:4001", "http://127.0.0.1:2379"]);
  const table: [keyof Options, unknown][] = [
    ["etcdPrefix", "/coreos.com/network"],
    ["etcdKeyfile", ""],
    ["etcdCertfile", ""],
    ["etcdCafile", ""],
    ["etcdUsername", ""],
    ["etcdPassword", ""],
    ["iface", []],
    ["ifaceRegex", []],
    ["ifaceCanReach", undefined],
    ["publicIp", undefined],
    ["publicIpv6", undefined],
    ["subnetFile", "/run/flannel/subnet.env"],
    ["subnetLeaseRenewMargin", 60],
    ["subnetLeaseTtl", 86_400],
    ["ipMasq", false],
    ["ipMasqFullyRandomDisable", false],
    ["ipMasqExclude", []],
    ["iptablesResync", 5],
    ["iptablesForwardRules", true],
    ["ipBlackholeRoute", false],
    ["healthzPort", 0],
    ["kubeSubnetMgr", false],
    ["kubeApiUrl", ""],
    ["kubeAnnotationPrefix", "flannel.alpha.coreos.com"],
    ["kubeconfigFile", ""],
    ["netConfigPath", "/etc/kube-flannel/net-conf.json"],
    ["setNodeNetworkUnavailable", true],
    ["v", 0],
    ["vmodule", ""],
    ["logBacktraceAt", ""],
    ["version", false],
    ["store", { kind: "etcd" }],
    ["logFormat", "text"],
  ];
  for (const [name, expected] of table) assert.deepEqual(all[name], expected, name);
  assert.equal(formatIp(all.healthzIp), "0.0.0.0");
  assert.equal(Object.keys(all).length, Object.keys(OPTIONS).length + 1);
});

Deno.test("options: one or two dashes, the value after a space or an equals sign", () => {
  const lines = [["-iface", "eth0"], ["-iface=eth0"], ["--iface", "eth0"], ["--iface=eth0"]];
  for (const line of lines) assert.deepEqual(options(line).iface, ["eth0"]);
  assert.equal(options(["-etcd-password=a=b"]).etcdPassword, "a=b");
  assert.equal(options(["-etcd-password", "-secret-"]).etcdPassword, "-secret-");
  assert.equal(options(["-etcd-password="]).etcdPassword, "");
  assert.deepEqual(options(["-iface", "a", "-iface=b", "--iface", "c"]).iface, ["a", "b", "c"]);
  assert.equal(options(["-healthz-port", "1", "-healthz-port", "2"]).healthzPort, 2);
});

Deno.test("options: Go's boolean words, and no others", () => {
  for (const word of ["1", "t", "T", "true", "TRUE", "True"]) {
    assert.equal(options([`-ip-masq=${word}`]).ipMasq, true, word);
  }
  for (const word of ["0", "f", "F", "false", "FALSE", "False"]) {
    assert.equal(options([`-iptables-forward-rules=${word}`]).iptablesForwardRules, false, word);
  }
  assert.equal(options(["-ip-masq"]).ipMasq, true);
  assert.equal(refusal(["-ip-masq=yes"]), '-ip-masq "yes": must be true or false (or 1, 0, t, f)');
  assert.equal(refusal(["-ip-masq="]), '-ip-masq "": must be true or false (or 1, 0, t, f)');
  assert.equal(
    refusal(["-ip-masq", "false"]),
    '-ip-masq false: a boolean takes its value after "=", as -ip-masq=false',
  );
});

Deno.test("options: values are read into what they mean", () => {
  const line = ["-ip-masq-exclude", "10.0.0.0/8,fd00::/8", "-ip-masq-exclude=192.168.0.0/16"];
  assert.deepEqual(options(line).ipMasqExclude.map(formatPrefix), [
    "10.0.0.0/8",
    "fd00::/8",
    "192.168.0.0/16",
  ]);
  assert.deepEqual(options(["-store", "sqlite:/x/y.db"]).store, { kind: "sqlite", path: "/x/y.db" });
  assert.deepEqual(options(["-store=etcd"]).store, { kind: "etcd" });
  const ttls: [string, number][] = [["90", 90], ["24h", 86_400], ["1h30m", 5400], ["1.5h", 5400], [
    "5000ms",
    5,
  ]];
  for (const [text, seconds] of ttls) {
    assert.equal(options([`-subnet-lease-ttl=${text}`]).subnetLeaseTtl, seconds);
  }
  assert.deepEqual(options(["-iface-regex", "(?i)^ETH"]).ifaceRegex, [/^ETH/i]);
  assert.deepEqual(options(["-etcd-endpoints", "http://a:1, https://[fd00::1]:2,c:3"]).etcdEndpoints, [
    "http://a:1",
    "https://[fd00::1]:2",
    "c:3",
  ]);
  assert.equal(options(["-etcd-prefix", "/net/"]).etcdPrefix, "/net");
  assert.equal(options(["-public-ip="]).publicIp, undefined);
  assert.deepEqual(options(["-iface="]).iface, []);
});

Deno.test("options: each refusal says which, what it got and what it takes", () => {
  const table: [string[], string][] = [
    [
      ["-etcd-endpoint", "x"],
      "-etcd-endpoint: unknown option (did you mean -etcd-endpoints?); flanneld -help lists all",
    ],
    [["--zzzzzz"], "-zzzzzz: unknown option; flanneld -help lists all"],
    [["-toString"], "-toString: unknown option; flanneld -help lists all"],
    [["---iface"], "---iface: no option looks like that; they are written -name or -name=value"],
    [["-=x"], "-=x: no option looks like that; they are written -name or -name=value"],
    [["-iface"], "-iface: needs a value (NAME|ADDRESS)"],
    [["-iface", "-ip-masq"], "-iface: needs a value (NAME|ADDRESS), found the option -ip-masq instead"],
    [["-healthz-port", "x"], '-healthz-port "x": must be a whole number between 0 and 65535'],
    [["-healthz-port=65536"], '-healthz-port "65536": must be a whole number between 0 and 65535'],
    [["-healthz-port=-1"], '-healthz-port "-1": must be a whole number between 0 and 65535'],
    [["-healthz-port="], '-healthz-port "": must be a whole number between 0 and 65535'],
    [["-healthz-ip=x"], '-healthz-ip "x": must be an IP address'],
    [
      ["-subnet-lease-renew-margin=1440"],
      '-subnet-lease-renew-margin "1440": must be a whole number between 1 and 1439',
    ],
    [
      ["-subnet-lease-renew-margin=0"],
      '-subnet-lease-renew-margin "0": must be a whole number between 1 and 1439',
    ],
    [
      ["-subnet-lease-renew-margin=60", "-subnet-lease-ttl=1h"],
      "-subnet-lease-renew-margin 60: must be shorter than -subnet-lease-ttl (3600 seconds)",
    ],
    [["-iptables-resync=0"], '-iptables-resync "0": must be a whole number between 1 and 86400'],
    [["-cloud-resync=0"], '-cloud-resync "0": must be a whole number between 1 and 86400'],
    [["-public-ip=fd00::1"], '-public-ip "fd00::1": must be an IPv4 address'],
    [["-public-ipv6=10.0.0.1"], '-public-ipv6 "10.0.0.1": must be an IPv6 address'],
    [["-store=redis"], '-store "redis": must be etcd or sqlite:/path'],
    [["-log-format=xml"], '-log-format "xml": must be text or json'],
    [["-etcd-prefix=/"], '-etcd-prefix "/": must be a key prefix like /coreos.com/network'],
    [
      ["-etcd-endpoints=ftp://x"],
      '-etcd-endpoints "ftp://x": must be URLs separated by commas, like http://10.0.0.1:2379,http://10.0.0.2:2379',
    ],
    [["-iface-regex=("], '-iface-regex "(": must be a regular expression: Unterminated group'],
    [["-etcd-certfile=x"], "-etcd-certfile: needs -etcd-keyfile as well"],
    [["-etcd-keyfile=x"], "-etcd-keyfile: needs -etcd-certfile as well"],
    [["-cni-conf="], "-cni-conf: is an option of cni install, not of daemon"],
    [
      ["-ip-masq-exclude=10.0.0.0"],
      '-ip-masq-exclude "10.0.0.0": must be networks with their length, separated by commas, like 10.0.0.0/8,fd00::/8',
    ],
    [
      ["-subnet-lease-ttl=1h30"],
      '-subnet-lease-ttl "1h30": must be whole seconds between 5 and 315360000, or a duration like 1h30m',
    ],
  ];
  for (const [line, expected] of table) assert.equal(refusal(line), expected, line.join(" "));
});

Deno.test("environment: every option, the command line wins, empty is unset", () => {
  const environment = {
    FLANNELD_ETCD_ENDPOINTS: "http://e:1",
    FLANNELD_IFACE: "eth0, eth1",
    FLANNELD_IP_MASQ: "true",
    FLANNELD_LOG_BACKTRACE_AT: "x:1",
    FLANNELD_HEALTHZ_PORT: "",
    FLANNELD_V: "2",
    PATH: "/bin",
  };
  const all = parse(["-v=3"], environment);
  assert.deepEqual(all.options.etcdEndpoints, ["http://e:1"]);
  assert.deepEqual(all.options.iface, ["eth0", "eth1"]);
  assert.equal(all.options.ipMasq, true);
  assert.equal(all.options.logBacktraceAt, "x:1");
  assert.equal(all.options.healthzPort, 0);
  assert.equal(all.options.v, 3);
  assert.deepEqual([...all.given].sort(), ["etcd-endpoints", "iface", "ip-masq", "log_backtrace_at", "v"]);
  assert.deepEqual(
    options(["-iface=a"], environment).iface,
    ["a"],
    "a list of the command line replaces the variable's",
  );
  assert.equal(options(["-v=1"], { FLANNELD_V: "bad" }).v, 1, "a variable that is not used is not read");
  assert.equal(
    refusal([], { FLANNELD_IPTABLES_RESYNC: "x" }),
    'FLANNELD_IPTABLES_RESYNC "x": must be a whole number between 1 and 86400',
  );
  assert.equal(
    refusal([], { FLANNELD_ETCD_USERNAME: "u", FLANNELD_V: "x" }),
    'FLANNELD_V "x": must be a whole number between 0 and 100',
  );
});

Deno.test("environment: a variable that no option has is a warning, FLANNELD_VERSION is none", () => {
  assert.deepEqual(parse([], { FLANNELD_ETCD_ENDPOINT: "x", FLANNELD_VERSION: "v1" }).warnings, [
    "FLANNELD_ETCD_ENDPOINT: no option has this variable (did you mean FLANNELD_ETCD_ENDPOINTS?)",
  ]);
  assert.equal(parse([], { FLANNELD_VERSION: "true" }).command, "daemon");
  assert.equal(
    parse(["-help"], { FLANNELD_V: "bad" }).command,
    "help",
    "help works whatever the environment",
  );
});

Deno.test("names: property and variable of an option", () => {
  assert.equal(propertyOf("etcd-endpoints"), "etcdEndpoints");
  assert.equal(propertyOf("log_backtrace_at"), "logBacktraceAt");
  assert.equal(variableOf("public-ipv6"), "FLANNELD_PUBLIC_IPV6");
  assert.equal(variableOf("log_backtrace_at"), "FLANNELD_LOG_BACKTRACE_AT");
});

Deno.test("commands: words, arguments, options on either side", () => {
  const table: [string[], string, string][] = [
    [[], "daemon", ""],
    [["-ip-masq"], "daemon", ""],
    [["daemon"], "daemon", ""],
    [["config", "set", "-"], "config set", "-"],
    [["-store=sqlite:/x", "config", "check", "f.json", "-v=1"], "config check", "f.json"],
    [["config", "-v", "1", "set", "f"], "config set", "f"],
    [["config", "get"], "config get", ""],
    [["config", "set", "--", "-f"], "config set", "-f"],
    [["status", "--json"], "status", ""],
    [["-ip-masq", "status"], "status", ""],
    [["completion", "zsh"], "completion", "zsh"],
    [["version"], "version", ""],
    [["-version"], "version", ""],
    [["--help"], "help", ""],
    [["-h"], "help", ""],
    [["config", "-h"], "help", "config"],
    [["config", "set", "-h"], "help", "config set"],
    [["statsu", "-h"], "help", ""],
    [["help"], "help", ""],
    [["help", "status"], "help", "status"],
    [["help", "config", "set"], "help", "config set"],
    [["help", "config"], "help", "config"],
    [["cleanup"], "cleanup", ""],
    [["doctor"], "doctor", ""],
  ];
  for (const [line, command, argument] of table) {
    const got = parse(line);
    assert.deepEqual([got.command, got.argument], [command, argument], line.join(" "));
  }
});

Deno.test("commands: what is wrong with one is said", () => {
  const table: [string[], string][] = [
    [["statsu"], "statsu: unknown command (did you mean status?); flanneld -help lists all"],
    [["constructor"], "constructor: unknown command; flanneld -help lists all"],
    [["config"], "config: needs set, get or check after it"],
    [["config", "put"], 'config: needs set, get or check after it, found "put"'],
    // `flanneld probe "$PEER"` with an empty variable probed the whole network.
    [["probe", ""], 'probe "": the argument is empty'],
    [["capture", ""], 'capture "": the argument is empty'],
    [["config", "set"], "config set: needs FILE|-"],
    [["help", "statsu"], "statsu: unknown command (did you mean status?); flanneld -help lists all"],
    [
      ["status", "-jsn"],
      "-jsn: unknown option of status (did you mean -json?); flanneld help status lists all",
    ],
    // The words may stand after it.
    [
      ["-cni-bin-dirs=/x", "cni", "install"],
      "-cni-bin-dirs: unknown option of cni install (did you mean -cni-bin-dir?); flanneld help cni install lists all",
    ],
    [["cleanup", "-cni-bin-dir=/x"], "-cni-bin-dir: is an option of cni install, not of cleanup"],
    [["config", "set", "a", "b"], "b: config set takes nothing more"],
    [["config", "get", "x"], "x: config get takes nothing more"],
    [["completion", "tcsh"], 'completion "tcsh": must be one of bash, zsh, fish'],
    [
      ["status", "-ip-masq", "false"],
      '-ip-masq false: a boolean takes its value after "=", as -ip-masq=false',
    ],
  ];
  for (const [line, expected] of table) assert.equal(refusal(line), expected, line.join(" "));
});

Deno.test("commands: their own options are read by their declaration, from the environment too", () => {
  const { options } = COMMANDS["cni install"];
  const { own } = parse(["cni", "install", "-cni-conf="], { FLANNELD_CNI_BIN_DIR: "/bin" });
  assert.deepEqual([own.get(options["cni-conf"]), own.get(options["cni-bin-dir"])], ["", "/bin"]);
  assert.equal(own.get(options["cni-conf-from"]), "");
  assert.deepEqual(parse(["status"], { FLANNELD_CNI_BIN_DIR: "/bin" }).warnings, []);
});

Deno.test("commands: options of one name take a value all, or none of them does", () => {
  for (const name of COMMAND_NAMES) {
    for (const [option, spec] of Object.entries(ownOptions(name))) {
      assert.equal(isFlag(spec), isFlag(COMMAND_OPTIONS[option]!), `${name} -${option}`);
      assert(!Object.hasOwn(OPTIONS, option), `${name} -${option}: the daemon has it too`);
    }
  }
});

Deno.test("secrets: a bad password is not repeated in the message", () => {
  assert.equal(refusal(["-etcd-password"]), "-etcd-password: needs a value (TEXT)");
  assert.equal(options(["-etcd-password=x"]).etcdPassword, "x");
});

Deno.test("secrets: a password in an endpoint is not repeated in the message", () => {
  for (const url of ["http://root:s3cret@a:1", "root:s3cret@a", "http://b,https://root:s3/,@cret@a/x"]) {
    const message = refusal(["-etcd-endpoints", url]);
    assert.match(message, /^-etcd-endpoints ".*\*\*\*@a.*": must be URLs without a user: -etcd-username/);
    assert.doesNotMatch(message, /s3|cret/);
  }
});

// `\d{1,3}` was cut in two, and neither half was an expression.
Deno.test("environment: a regular expression keeps its commas", () => {
  const { ifaceRegex } = parse([], { FLANNELD_IFACE_REGEX: "^10\\.\\d{1,3}\\.,?" }).options;
  assert.deepEqual(ifaceRegex, [/^10\.\d{1,3}\.,?/]);
});

Deno.test("options: a backend's own options are read like all others, by their declaration", () => {
  assert.equal(options([]).backend.get(CLOUD_RESYNC), 120);
  const { backend } = options(["-udp-port", "8299"], { FLANNELD_CLOUD_RESYNC: "30" });
  assert.deepEqual([backend.get(UDP_PORT), backend.get(CLOUD_RESYNC)], [8299, 30]);
  assert.equal(refusal(["-cloud-resync=0"]), '-cloud-resync "0": must be a whole number between 1 and 86400');
});
