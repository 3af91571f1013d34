/** The metrics of real daemons in Debian's Prometheus; alert rules and dashboard beside them. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { HEALTH_PORT, type Host } from "../../scripts/lab/host.ts";
import { run, until } from "../../scripts/lab/process.ts";
import { declaredMetrics } from "../../scripts/metrics_table.ts";
import { labTest } from "../lab/lab_test_case.ts";

const MONITORING = fileURLToPath(new URL("../../packaging/monitoring", import.meta.url));
const PORT = 9090;

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert: string; readonly expr: string }[];
  }[];
}

interface Dashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly type: string;
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets: readonly { readonly expr: string }[];
  }[];
}

async function alertExpressions(): Promise<string[]> {
  const rules: Rules = parse(await Deno.readTextFile(`${MONITORING}/alerts.yml`));
  return rules.groups.flatMap((group) => group.rules.map(({ expr }) => expr));
}

async function dashboard(): Promise<Dashboard> {
  return JSON.parse(await Deno.readTextFile(`${MONITORING}/grafana-dashboard.json`));
}

Deno.test("alert rules: promtool accepts them, and their unit tests pass", async () => {
  await run(["promtool", "check", "rules", `${MONITORING}/alerts.yml`]);
  await run(["promtool", "test", "rules", `${MONITORING}/alerts_test.yml`]);
});

Deno.test("alert rules and dashboard name metrics that exist; panels don't overlap", async () => {
  const { panels } = await dashboard();
  const names = new Set((await declaredMetrics()).map(({ name }) => name));
  const expressions = [
    ...await alertExpressions(),
    ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ];
  for (const expression of expressions) {
    for (const [name] of expression.matchAll(/\b(flannel|process)_\w+/g)) {
      assert.ok(
        names.has(name) || names.has(name.replace(/_(bucket|sum|count)$/, "")),
        `${name} in ${expression}`,
      );
    }
  }
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, cell) => `${x + cell % w},${y + Math.floor(cell / w)}`)
  );
  assert.equal(new Set(cells).size, cells.length);
  assert.ok(panels.every(({ gridPos: { x, w } }) => x + w <= 24));
});

/** One answer of Prometheus' API. */
async function ask(host: Host, path: string): Promise<{ status: string; data: { result: unknown[] } }> {
  const script = `exec 3<>/dev/tcp/127.0.0.1/${PORT} && printf 'GET ${
    path.replaceAll("%", "%%")
  } HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
  const { stdout } = await host.exec(["bash", "-c", script], { mayFail: true });
  return JSON.parse(stdout.slice(stdout.indexOf("\r\n\r\n") + 4));
}

function query(host: Host, expression: string) {
  return ask(host, `/api/v1/query?query=${encodeURIComponent(expression)}`);
}

/** What Grafana puts into a panel's expression. */
function filledIn(expression: string): string {
  return expression.replaceAll("$instance", ".*").replaceAll("$__rate_interval", "1m");
}

/** Rates need a minute of samples; hosts that are well have no problem, and those without probes no probe. */
const MAY_BE_EMPTY = /rate\(|by \(key\)|_probe_/;

labTest(
  "Prometheus scrapes the daemons; every alert and every panel's query works",
  { hosts: 2 },
  async (lab) => {
    await lab.startAll();
    const [host] = lab.hosts as [Host];
    const check = await host.exec(
      ["promtool", "check", "metrics"],
      { input: await host.fetchText("/metrics") },
    );
    assert.equal(check.stdout + check.stderr, "", "promtool check metrics");
    const targets = lab.hosts.map(({ addresses }) => `"${addresses.ipv4}:${HEALTH_PORT}"`);
    await Deno.writeTextFile(
      `${lab.folder}/prometheus.yml`,
      `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [${MONITORING}/alerts.yml]
scrape_configs:
  - { job_name: flannel, static_configs: [{ targets: [${targets}] }] }
`,
    );
    const prometheus = host.spawn([
      ...[
        "prometheus",
        `--config.file=${lab.folder}/prometheus.yml`,
        `--storage.tsdb.path=${lab.folder}/tsdb`,
      ],
      ...[`--web.listen-address=127.0.0.1:${PORT}`, "--log.level=error"],
    ]);
    void prometheus.stdout.cancel();
    void prometheus.stderr.cancel();
    try {
      await until("both hosts to be scraped", async () => {
        const { data } = await query(host, 'sum(up{job="flannel"}) == 2');
        return data.result.length === 1;
      }, 30_000);
      const { panels } = await dashboard();
      const expressions = panels.flatMap((panel) => panel.targets.map(({ expr }) => filledIn(expr)));
      for (const expression of expressions) {
        const { status, data } = await query(host, expression);
        assert.equal(status, "success", expression);
        if (!MAY_BE_EMPTY.test(expression)) assert.ok(data.result.length > 0, `no data: ${expression}`);
      }
      for (const expression of await alertExpressions()) {
        const { status, data } = await query(host, expression);
        assert.equal(status, "success", expression);
        assert.deepEqual(data.result, [], `a network that is well raises ${expression}`);
      }
      const rules = await ask(host, "/api/v1/rules");
      assert.doesNotMatch(JSON.stringify(rules), /"health":"err"/);
      // What it asked for by its Accept field: OpenMetrics.
      const units = await ask(host, `/api/v1/metadata?metric=flannel_lease_remaining_seconds`);
      assert.match(JSON.stringify(units), /"unit":"seconds"/);
    } finally {
      prometheus.kill("SIGTERM");
      await prometheus.status;
    }
  },
);
