/** `report`: the archive is one that tar reads, and no secret is in a text. */
import assert from "node:assert/strict";
import { archiveOf, reportName, writeNewFile } from "../../lib/report/archive.ts";
import { Masker, secretFields, secretVariables } from "../../lib/report/mask.ts";

const FACTS = { host: "h1", time: Date.UTC(2026, 0, 2, 3, 4, 5), version: "1.2.3" };

Deno.test("report: tar lists and unpacks the archive; what is missing stands in the list of contents", async () => {
  const item = (name: string) => ({ name, what: `the ${name}`, collect: () => "" });
  const archive = await archiveOf([
    { item: item("a/one.txt"), text: "één\n" },
    { item: item("a/two.txt"), problem: "no such thing" },
    { item: item("b/long.txt"), text: "x".repeat(1000), problem: "cut" },
  ], FACTS);
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/report.tar.gz`;
    await writeNewFile(path, archive);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
    const { code, stderr } = await new Deno.Command("tar", { args: ["-xzf", path, "-C", folder] }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const base = `${folder}/${reportName(FACTS)}`;
    assert.equal(base, `${folder}/flanneld-report-h1-20260102T030405Z`);
    assert.equal(await Deno.readTextFile(`${base}/a/one.txt`), "één\n");
    assert.equal(await Deno.readTextFile(`${base}/b/long.txt`), "x".repeat(1000));
    const readme = await Deno.readTextFile(`${base}/README.txt`);
    assert.match(readme, /a\/one\.txt +the a\/one\.txt/);
    assert.match(readme, /Not collected\n +a\/two\.txt +no such thing/);
    assert.match(readme, /b\/long\.txt .*\(cut\)/);

    await assert.rejects(writeNewFile(path, archive), /is there already: name another file with -o/);
    const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
    assert.deepEqual(names, [reportName(FACTS), "report.tar.gz"], "no temporary file stays");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl";
const CASES: readonly string[] = [
  "https://flannel:S3CRET@etcd.example:2379/v3",
  '{"PSK": "S3CRET", "Type": "wireguard"}',
  '{"AccessKeySecret":"S3CRET","AccessKeyID":"visible"}',
  '{\\"password\\": \\"S3CRET\\"}',
  "FLANNELD_ETCD_PASSWORD=S3CRET",
  'Environment="FLANNELD_ETCD_PASSWORD=S3CRET" OTHER=visible',
  "export AWS_SECRET_ACCESS_KEY='S3CRET with blanks'",
  "ExecStart=/usr/bin/flanneld -etcd-password S3CRET -ip-masq",
  "ExecStart=/usr/bin/flanneld -etcd-password=S3CRET -ip-masq",
  "PrivateKey = S3CRET",
  "PresharedKey = S3CRET",
  "    token: S3CRET",
  "Authorization: Bearer S3CRETS3CRET",
  `a log line with ${JWT} in it`,
  "-----BEGIN EC PRIVATE KEY-----\nS3CRET\n-----END EC PRIVATE KEY-----",
];

Deno.test("report: secrets are masked however they are written", () => {
  const masker = new Masker([]);
  for (const text of CASES) {
    const masked = masker.mask(text);
    assert.doesNotMatch(masked, /S3CRET|c2lnbmF0dXJl/, text);
    if (text.includes("visible")) assert.match(masked, /visible/, text);
  }
});

Deno.test("report: known values are masked wherever they stand, also encoded", () => {
  const variables = secretVariables({ ETCD_PASSWORD: 'p"ss w/rd', HOME: "/root" });
  const masker = new Masker([
    ...variables,
    ...secretFields('{"Backend":{"PSK":"geheim"},"Network":"10.5.0.0/16"}'),
  ]);
  const text = `rule "p"ss w/rd" ${encodeURIComponent('p"ss w/rd')} ${
    JSON.stringify('p"ss w/rd')
  } geheim /root 10.5.0.0`;
  assert.equal(masker.mask(text), 'rule "***" *** "***" *** /root 10.5.0.0');
});

Deno.test("report: what isn't secret stays readable", () => {
  const masker = new Masker([]);
  const texts = [
    "10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink",
    '-A FLANNEL-POSTRTG -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
    '{"PublicIP":"10.0.0.1","BackendData":{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}}',
    "2026-01-01T00:00:00Z warn firewall: cannot write rules, retrying: nft failed",
  ];
  for (const text of texts) assert.equal(masker.mask(text), text);
});
