/**
 * What iptables-save and nft print.
 *
 * @module
 */
import { cutsForwarding, droppingChains } from "../../../lib/firewall/foreign_chains.ts";
import { ownParts, planIptables } from "../../../lib/firewall/iptables_plan.ts";
import {
  isUnconditional,
  parseSavedTable,
  ruleComment,
  ruleMark,
  ruleOptions,
  rulePrefixes,
  ruleTarget,
  sameRule,
} from "../../../lib/firewall/iptables_text.ts";
import { filterTableParts, planFilterTable } from "../../../lib/firewall/nftables_filter_table.ts";
import { tableHolds } from "../../../lib/firewall/nftables_text.ts";
import { droppedCount, filterSignature, listedElements } from "../../../lib/firewall/peer_filter_text.ts";
import { IPV4 } from "../../../lib/net/family.ts";
import { ipv4Rules, NAMES } from "../../unit/firewall_fixtures.ts";
import { type FuzzTarget, property, textOf } from "../target.ts";

const RULES = ipv4Rules();

export const FIREWALL_TARGETS: readonly FuzzTarget[] = [
  {
    name: "iptables-save",
    what: "what iptables-save prints",
    errors: [],
    dictionary: [
      ...[
        "*nat\n",
        "*filter\n",
        "COMMIT\n",
        ":FORWARD DROP [0:0]\n",
        ":DOCKER-USER - [0:0]\n",
        "-A FORWARD ",
        "-A ",
      ],
      ...[
        "-j FLANNEL-FWD",
        "-g ",
        "-s 10.5.0.0/16",
        "! -d ",
        "-m comment --comment ",
        '"flanneld masq"',
        "\\",
        '"',
      ],
      ...["--mark 0x4000/0x4000", "FLANNEL-POSTRTG", "-j RETURN\n", "10.0.0.0/33", "/", "\n", " "],
    ],
    open: () => checkIptables,
  },
  {
    name: "nft-json",
    what: "what nft -j prints",
    errors: [SyntaxError],
    dictionary: [
      ...[
        '"nftables":[',
        '"rule":{',
        '"chain":{',
        '"set":{',
        '"expr":[',
        '"match":{',
        '"left":',
        '"right":',
        '"xt":null',
      ],
      ...[
        '"elem":[',
        '"counter":{"packets":1,"bytes":2}',
        '"handle":5',
        '"policy":"drop"',
        '"hook":"forward"',
        "null",
      ],
      ...[
        '"prefix":{"addr":"10.5.0.0","len":16}',
        '"payload":{"protocol":"ip","field":"saddr"}',
        '"name":"FORWARD"',
      ],
      ...['"jump":{"target":"FLANNEL-FWD"}', '"&":[', '"drop":null', '"text"', "{", "}", "[", "]", ",", ":"],
    ],
    open: () => checkNft,
  },
];

function checkIptables(input: Uint8Array): void {
  const text = textOf(input);
  const saved = { nat: parseSavedTable(text, "nat"), filter: parseSavedTable(text, "filter") };
  const lines = text.split("\n").length;
  for (const { rules } of [saved.nat, saved.filter]) {
    for (const rule of [...rules.values()].flat()) {
      ruleTarget(rule), ruleComment(rule), ruleMark(rule), isUnconditional(rule, IPV4);
      for (const { length } of rulePrefixes(rule, IPV4)) property(length <= 32, `a length of ${length}`);
      property(sameRule(rule, rule, IPV4), "a rule isn't the same as itself");
      property(ruleOptions(rule, IPV4).length <= rule.length + 1, "more options than characters");
    }
  }
  ownParts(saved, NAMES);
  const changes = planIptables(saved, RULES, NAMES, { comment: true, fullyRandom: true });
  // Each line is one command: what others wrote must not become a second one.
  const written = changes.flatMap((change) => change.lines);
  property(written.length < 64 + 4 * lines, `${written.length} lines for ${lines}`);
  property(written.every((line) => !line.includes("\n")), "a line with a line feed in it");
}

function checkNft(input: Uint8Array): void {
  const text = textOf(input);
  tableHolds(text, RULES, true);
  droppingChains(text);
  cutsForwarding(text);
  filterSignature(text);
  listedElements(text);
  property(typeof droppedCount(text) === "number", "no count");
  filterTableParts(text, NAMES.forwardChain);
  for (const { lines } of planFilterTable(text, IPV4, RULES.forward, NAMES.forwardChain)) {
    property(lines.every((line) => !/\bhandle (?!\d+)/.test(line)), `${lines.join("; ")}: no handle`);
  }
}
