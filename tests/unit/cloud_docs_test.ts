import assert from "node:assert/strict";

/** A file of the project. */
function read(path: string): string {
  return Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
}

/** The first block of a language in a page. */
function block(page: string, language: string): string {
  const match = new RegExp("```" + language + "\n([^]*?)\n```").exec(read(page));
  assert.ok(match, `${page} has no ${language} block`);
  return match[1]!;
}

/** All first groups of a pattern in a source file. */
function found(path: string, pattern: RegExp): string[] {
  return [...new Set([...read(path).matchAll(pattern)].map((match) => match[1]!))].sort();
}

/** The actions that a policy allows. */
function allowed(policy: string): string[] {
  const { Statement } = JSON.parse(policy) as { Statement: { Effect: string; Action: string | string[] }[] };
  return Statement.filter(({ Effect }) => Effect === "Allow").flatMap(({ Action }) => Action).sort();
}

Deno.test("docs/aws-vpc.md: the policy allows what the backend calls, and nothing else", () => {
  const calls = found("backends/aws_vpc/ec2.ts", /#call\(\s*"(\w+)"/g).map((action) => `ec2:${action}`);
  assert.equal(calls.length, 6);
  assert.deepEqual(allowed(block("docs/aws-vpc.md", "json")), calls);
});

Deno.test("docs/ali-vpc.md: the policy allows what the backend calls, and nothing else", () => {
  const calls = found("backends/ali_vpc/vpc.ts", /#call\(\s*"(\w+)"/g).map((action) => `vpc:${action}`);
  assert.equal(calls.length, 4);
  assert.deepEqual(allowed(block("docs/ali-vpc.md", "json")), calls);
});

Deno.test("docs/tencent-vpc.md: the policy allows what the backend calls, and nothing else", () => {
  const calls = found("backends/tencent_vpc/vpc.ts", /#call(?:<[^(]*>)?\(\s*"(\w+)"/g).map((one) =>
    `vpc:${one}`
  );
  assert.equal(calls.length, 6);
  const { statement } = JSON.parse(block("docs/tencent-vpc.md", "json")) as {
    statement: { effect: string; action: string[] }[];
  };
  const actions = statement.filter(({ effect }) => effect === "allow").flatMap(({ action }) => action);
  assert.deepEqual(actions.sort(), calls);
});

Deno.test("docs/gce.md: the role includes what the backend calls, and what routes to an instance take", () => {
  const calls = found("backends/gce/compute.ts", /"(compute\.\w+\.\w+)"/g);
  const implied = ["compute.instances.use", "compute.networks.get", "compute.networks.updatePolicy"];
  const role = [...block("docs/gce.md", "yaml").matchAll(/^\s+- (\S+)$/gm)].map((match) => match[1]!);
  assert.deepEqual(role.sort(), [...calls, ...implied].sort());
});
