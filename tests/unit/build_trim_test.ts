import assert from "node:assert/strict";
import { trimPackages } from "../../scripts/build/trim.ts";
import { trimProtos } from "../../scripts/build/trim_protos.ts";

const GRPC = "npm/@grpc/grpc-js/1/build/src";
const PROTOBUF = "npm/protobufjs/7/google/protobuf";
const UNUSED = [
  ...["npm/@googleapis/compute/1/build/alpha.js", "npm/@googleapis/compute/1/build/beta.js"],
  "npm/protobufjs/7/ext/descriptor/index.js",
  ...["api", "descriptor", "source_context", "type"].map((name) => `${PROTOBUF}/${name}.json`),
  ...["server", "server-interceptors", "server-credentials", "orca"].map((name) => `${GRPC}/${name}.js`),
  `${GRPC}/load-balancer-weighted-round-robin.js`,
];

function commonJs(path: string, body: string): string {
  return `var require_x = __commonJS({\n  "${path}"(exports, module) {\n    ${body}\n  }\n});\n`;
}

const REQUIRE = `import { createRequire as __deno_internal_createRequire } from "node:module";
var __require = __deno_internal_createRequire(import.meta.url);
`;

const PROTO_LOADER = `
    function createMessageDefinition(message, options, fileDescriptors) {
      const messageDescriptor = message.toDescriptor("proto3");
      return {
        type: messageDescriptor.$type.toObject(messageDescriptor, descriptorOptions),
        fileDescriptorProtos: fileDescriptors,
        serialize: 1
      };
    }
    function createPackageDefinition(root) {
      const descriptorList = root.toDescriptor("proto3").file;
      const bufferList = descriptorList.map((value) => Buffer.from(descriptor.encode(value).finish()));
      return createMessageDefinition(root.message, {}, bufferList);
    }
`;

const IP_ADDRESS = `var import_ip_address = __toESM(require_ip_address());\n`;

/** A bundle in which everything has its place. */
function bundle(): Map<string, string> {
  return new Map([
    ["require.js", REQUIRE],
    ["lib.js", UNUSED.map((path) => commonJs(path, `big("${path}");`)).join("") + PROTO_LOADER],
    ["chunk.js", IP_ADDRESS + commonJs(`${GRPC}/client.js`, "exports.Client = 1;")],
  ]);
}

function trimmed(file: string): string {
  return trimPackages(bundle()).get(file)!;
}

Deno.test("trim: unused modules are empty, and the others as they were", () => {
  const lib = trimmed("lib.js");
  assert.doesNotMatch(lib, /big\(/);
  for (const path of UNUSED) assert.ok(lib.includes(`"${path}"`), path);
  assert.match(trimmed("chunk.js"), /exports\.Client = 1;/);
});

Deno.test("trim: a change that finds no place is an error that names it", () => {
  // Bug: a newer package or bundler made these changes do nothing, and nobody noticed.
  for (const path of UNUSED) {
    const texts = bundle();
    texts.set(
      "lib.js",
      texts.get("lib.js")!.replace(`"${path}"`, `"${path.replace("/build/", "/dist/")}.new"`),
    );
    assert.throws(() => trimPackages(texts), /adapt scripts\/build\/trim\.ts.*module /, path);
  }
  for (
    const part of ["createRequire as", "const messageDescriptor =", ".$type.toObject", "const descriptorList"]
  ) {
    const texts = new Map(
      [...bundle()].map(([name, text]) => [name, text.replace(part, () => `${part.slice(0, -1)}_`)]),
    );
    assert.throws(() => trimPackages(texts), /Cannot trim the bundle/, part);
  }
  const texts = bundle();
  texts.delete("chunk.js");
  assert.throws(() => trimPackages(texts), /ip-address is loaded with the first text/);
});

Deno.test("trim: require of Node's modules is lazy, and names what it can't find", () => {
  const out = trimmed("require.js");
  assert.doesNotMatch(out, /node:module|import/);
  const require = new Function(`${out}; return __require;`)() as (id: string) => { sep: string };
  assert.equal(require("node:path").sep, "/");
  assert.throws(() => require("leftpad"), /Cannot find module leftpad/);
});

Deno.test("trim: no descriptors are made of messages, and definitions are otherwise the same", () => {
  const lib = trimmed("lib.js");
  const code = lib.slice(lib.indexOf("function createMessageDefinition"));
  const make = new Function(`${code}; return createPackageDefinition;`)();
  assert.deepEqual(make({ message: {} }), { type: undefined, fileDescriptorProtos: [], serialize: 1 });
});

Deno.test("trim: ip-address is loaded when it is used", () => {
  const line = trimmed("chunk.js").split("\n")[0]!;
  const out = new Function(`
    let loads = 0;
    const require_ip_address = () => (loads++, { Address6: "class" });
    ${line}
    return [loads, import_ip_address.Address6, loads];`)();
  assert.deepEqual(out, [0, "class", 1]);
});

const CALLS = [
  "Range",
  "Put",
  "Txn",
  "LeaseGrant",
  "LeaseTimeToLive",
  "LeaseRevoke",
  "Watch",
  "Authenticate",
];
const RPC = `syntax = "proto3"; // version
package etcdserverpb;
import "./kv.proto";
service KV {
${
  CALLS.map((call) =>
    `  rpc ${call}(Request) returns (Response) {\n option (x) = { post: "/v3" more { post: "/v4" } };\n  }`
  )
    .join("\n")
}
  rpc LeaseKeepAlive(stream Request) returns (stream Response);
  rpc Compact(CompactRequest) returns (Response) {}
}
service Cluster { rpc MemberList(Members) returns (Members) {} }
message Request { bytes key = 1; Sort sort = 2; enum Order { NONE = 0; } /* Members */ }
enum Sort { KEY = 0; }
message Response { repeated mvccpb.KeyValue kvs = 1; }
message CompactRequest { int64 revision = 1; }
message Members { int64 id = 1; }
`;
const KV =
  `syntax = "proto3";\npackage mvccpb;\nmessage KeyValue { bytes key = 1; }\nmessage Event { KeyValue kv = 1; };\n`;

Deno.test("trim: .proto files keep the calls that are made, and what these need", () => {
  const files = trimProtos(new Map([["rpc.proto", RPC], ["kv.proto", KV]]));
  const rpc = files.get("rpc.proto")!;
  for (const call of CALLS) assert.ok(rpc.includes(`rpc ${call}(Request) returns (Response);`), call);
  assert.ok(rpc.includes("rpc LeaseKeepAlive(stream Request) returns (stream Response);"));
  assert.match(rpc, /^syntax = "proto3";\npackage etcdserverpb;\nimport "\.\/kv\.proto";/);
  assert.match(rpc, /message Request \{ bytes key = 1; Sort sort = 2; enum Order \{ NONE = 0; \}/);
  assert.match(rpc, /enum Sort/);
  assert.doesNotMatch(rpc, /Compact|Member|Cluster/);
  assert.equal(
    files.get("kv.proto"),
    `syntax = "proto3";\npackage mvccpb;\nmessage KeyValue { bytes key = 1; }\n`,
  );
});

Deno.test("trim: a call that the .proto files don't have is an error", () => {
  const files = new Map([["rpc.proto", RPC.replace("rpc Txn(", "rpc Transact(")], ["kv.proto", KV]]);
  assert.throws(() => trimProtos(files), /no call Txn/);
});
