/**
 * etcd's .proto files with nothing but the calls that the program makes: they are read and made into types at each start.
 *
 * @module
 */

/** The calls of `lib/leases/etcd`: those of `Calls` and the two streams, as the .proto files name them. */
const CALLS: readonly string[] = [
  ...["Range", "Put", "Txn"],
  ...["LeaseGrant", "LeaseTimeToLive", "LeaseRevoke", "LeaseKeepAlive"],
  ...["Watch", "Authenticate"],
];

/** A service, message or enum at the outermost level of a file. */
interface Definition {
  readonly file: string;
  readonly kind: string;
  readonly name: string;
  readonly text: string;
}

const HEAD = /\b(service|message|enum)\s+(\w+)\s*\{/g;

/** `rpc NAME(REQUEST) returns (RESPONSE)`; the options behind it are for gateways. */
const CALL = /\brpc\s+(\w+)\s*(\([^)]*\)\s*returns\s*\([^)]*\))/g;

/**
 * Keeps the calls, the messages that they need, and each file's syntax, package and imports.
 *
 * @param files their texts by name
 * @throws {Error} If a call is in none of them.
 */
export function trimProtos(files: ReadonlyMap<string, string>): Map<string, string> {
  const heads = new Map<string, string>();
  const definitions = new Map<string, Definition>();
  for (const [file, text] of files) {
    const { head, found } = split(file, text.replaceAll(/\/\/.*|\/\*[^]*?\*\//g, ""));
    heads.set(file, head);
    for (const definition of found) definitions.set(definition.name, definition);
  }
  const services = [...definitions.values()].filter(({ kind }) => kind === "service").map(trimService);
  checkCalls(services);
  const needed = reachable(services.map(({ text }) => text), definitions);
  const kept = [...services.filter(({ text }) => text.includes("rpc ")), ...needed];
  return new Map([...heads].map(([file, head]) => {
    const texts = kept.filter((definition) => definition.file === file).map(({ text }) => text);
    return [file, `${[head, ...texts].join("\n").replaceAll(/\s*\n\s*/g, "\n").trim()}\n`];
  }));
}

/** A file as its definitions and the rest. Its text has no comments, and no braces within strings. */
function split(file: string, text: string): { head: string; found: Definition[] } {
  const found: Definition[] = [];
  let head = "";
  let at = 0;
  for (const match of text.matchAll(HEAD)) {
    if (match.index < at) continue;
    const end = endOfBlock(text, match.index + match[0].length);
    head += text.slice(at, match.index);
    found.push({ file, kind: match[1]!, name: match[2]!, text: text.slice(match.index, end) });
    at = end;
  }
  // protoc takes an empty statement behind a definition; the reader that etcd3 has doesn't take it by itself.
  return { head: (head + text.slice(at)).replaceAll(/^\s*;/gm, ""), found };
}

/** @param at Behind the brace that opens the block. @returns Behind the one that closes it. */
function endOfBlock(text: string, at: number): number {
  let depth = 1;
  for (; depth > 0; at++) {
    if (at >= text.length) throw new Error("Cannot read a .proto file: a brace is never closed");
    if (text[at] === "{") depth++;
    else if (text[at] === "}") depth--;
  }
  return at;
}

function trimService(service: Definition): Definition {
  const calls = [...service.text.matchAll(CALL)].filter(([, name]) => CALLS.includes(name!));
  const text = calls.map(([, name, types]) => `rpc ${name}${types};`).join("\n");
  return { ...service, text: `service ${service.name} {\n${text}\n}` };
}

function checkCalls(services: readonly Definition[]): void {
  const missing = CALLS.filter((call) => !services.some(({ text }) => text.includes(`rpc ${call}(`)));
  if (missing.length > 0) throw new Error(`etcd's .proto files have no call ${missing.join(", ")}`);
}

/** The messages and enums that these texts name, and those that they name in turn. */
function reachable(texts: string[], definitions: ReadonlyMap<string, Definition>): Set<Definition> {
  const needed = new Set<Definition>();
  for (let text = texts.pop(); text !== undefined; text = texts.pop()) {
    for (const [word] of text.matchAll(/\w+/g)) {
      const definition = definitions.get(word);
      if (!definition || definition.kind === "service" || needed.has(definition)) continue;
      needed.add(definition);
      texts.push(definition.text);
    }
  }
  return needed;
}
