/**
 * What a cloud's API answers, over HTTP and the cloud's own library: one answer for every call of a pass. An input
 * costs a few requests, so that these decoders get fewer inputs than the others.
 *
 * @module
 */
import { AliRouteTable } from "../../../backends/ali_vpc/route_table.ts";
import { AwsRouteTable } from "../../../backends/aws_vpc/route_table.ts";
import type { CloudEdges } from "../../../backends/cloud/backend.ts";
import { CloudError } from "../../../backends/cloud/errors.ts";
import type { RouteTable } from "../../../backends/cloud/route_table.ts";
import { GceRouteTable } from "../../../backends/gce/route_table.ts";
import { TencentRouteTable } from "../../../backends/tencent_vpc/route_table.ts";
import { FakeAli } from "../../fakes/ali.ts";
import { FakeAliMetadata } from "../../fakes/ali_metadata.ts";
import { FakeAws } from "../../fakes/aws.ts";
import { FakeImds } from "../../fakes/aws_imds.ts";
import { FakeGce } from "../../fakes/gce.ts";
import { FakeGceMetadata } from "../../fakes/gce_metadata.ts";
import { FakeTencent } from "../../fakes/tencent.ts";
import { FakeTencentMetadata } from "../../fakes/tencent_metadata.ts";
import { type TestHost, testHost } from "../../fakes/session.ts";
import { type FuzzOne, type FuzzTarget, property } from "../target.ts";

/** How long a pass may take, in milliseconds: some hundred requests, on a machine that does other work. */
const LIMIT = 30_000;
const ADDRESS = "10.0.1.10";
const JSON_WORDS = [
  "null",
  "[]",
  "{}",
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  '""',
  "true",
  "-1",
  "1e99",
  '"10.20.7.0/24"',
];

export const CLOUD_TARGETS: readonly FuzzTarget[] = [
  {
    name: "aws-vpc",
    what: "EC2's answers",
    errors: [CloudError],
    dictionary: [
      ...[
        "<routeSet>",
        "</routeSet>",
        "<item>",
        "</item>",
        "<destinationCidrBlock>",
        "<networkInterfaceId>",
        "<state>",
      ],
      ...[
        "<reservationSet>",
        "<instancesSet>",
        "<networkInterfaceSet>",
        "<Errors><Error><Code>",
        "&#0;",
        "<![CDATA[",
      ],
    ],
    cost: 400,
    open: () => openCloud("text/xml", awsTable),
  },
  {
    name: "tencent-vpc",
    what: "the answers of Tencent's VPC API",
    errors: [CloudError],
    dictionary: [
      ...JSON_WORDS,
      ...[
        '"Response":',
        '"RouteTableSet":',
        '"RouteSet":',
        '"DestinationCidrBlock":',
        '"GatewayId":',
        '"Error":',
      ],
      ...[
        '"TotalCount":',
        '"Code":',
        '"VpcLimitSet":',
        '"RouteTableId":',
        '"AssociationSet":',
        '"Main":true',
      ],
    ],
    cost: 400,
    open: () => openCloud("application/json", tencentTable),
  },
  {
    name: "ali-vpc",
    what: "the answers of Alibaba's VPC API",
    errors: [CloudError],
    dictionary: [
      ...JSON_WORDS,
      ...[
        '"RouteTables":',
        '"RouterTableList":',
        '"RouteEntrys":',
        '"RouteEntry":',
        '"NextHops":',
        '"NextToken":"a"',
      ],
      ...[
        '"DestinationCidrBlock":',
        '"Status":"Available"',
        '"RouteTableId":',
        '"Code":',
        '"Message":',
        '"Type":',
      ],
    ],
    cost: 400,
    open: () => openCloud("application/json", aliTable),
  },
  {
    name: "gce",
    what: "the answers of Google's Compute API",
    errors: [CloudError],
    dictionary: [
      ...JSON_WORDS,
      ...[
        '"items":',
        '"destRange":',
        '"nextHopInstance":',
        '"network":',
        '"networkInterfaces":',
        '"canIpForward":true',
      ],
      ...['"error":', '"code":403', '"nextPageToken":"a"', '"name":"flannel-10-20-7-0-24"', '"quotas":'],
    ],
    cost: 400,
    open: () => openCloud("application/json", gceTable),
  },
];

type MakeTable = (
  edges: (env: Record<string, string>) => CloudEdges,
  api: string,
  host: TestHost,
) => RouteTable;

/** Answers every call with the input; the metadata server is honest. */
function openCloud(type: string, makeTable: MakeTable): FuzzOne {
  let body = new Uint8Array();
  const host = testHost(ADDRESS);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    // The first byte chooses whether the cloud says yes or no.
    const status = body[0] === 0x21 ? 400 : 200;
    return new Response(status === 400 ? body.slice(1) : body, { status, headers: { "content-type": type } });
  });
  server.unref();
  const edges = (env: Record<string, string>): CloudEdges => ({
    env: (name) => env[name],
    clock: host.clock,
  });
  const table = makeTable(edges, `http://127.0.0.1:${server.addr.port}`, host);
  return async (input) => {
    body = input;
    const signal = AbortSignal.timeout(LIMIT);
    const steps = [
      () => table.identify(host.context.external, signal),
      () => table.list(signal),
      () => table.limits(signal),
    ];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        property(!signal.aborted, `the pass takes more than ${LIMIT / 1000} s`);
        // What follows would only say that nobody has asked who we are.
        if (error instanceof CloudError) return;
        throw error;
      }
    }
    host.log.lines.length = 0;
  };
}

const awsTable: MakeTable = (edges, api, { log, metrics }) => {
  const aws = new FakeAws();
  aws.addInstance("i-0a", ADDRESS);
  const imds = new FakeImds(aws, "i-0a");
  return new AwsRouteTable(
    { routeTableIds: [] },
    edges({
      AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.server.url,
      AWS_ENDPOINT_URL_EC2: api,
      AWS_ACCESS_KEY_ID: "AKIDTEST",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_SECURITY_TOKEN: "token",
    }),
    { log, metrics },
  );
};

const tencentTable: MakeTable = (edges, api, { log }) => {
  const tencent = new FakeTencent();
  tencent.addInstance("ins-a", ADDRESS);
  const metadata = new FakeTencentMetadata(tencent, "ins-a");
  const options = { keys: { id: "AKIDTEST", secret: "secret" }, routeTableIds: [] };
  return new TencentRouteTable(options, edges({ TENCENTCLOUD_VPC_ENDPOINT: api }), log, [
    metadata.server.url,
  ]);
};

const aliTable: MakeTable = (edges, api) => {
  const ali = new FakeAli();
  ali.addInstance("i-a", ADDRESS);
  const metadata = new FakeAliMetadata(ali, "i-a");
  const options = { keys: { id: "AKIDTEST", secret: "secret" }, routeTableIds: [] };
  return new AliRouteTable(options, edges({ ALIBABA_CLOUD_VPC_ENDPOINT: api }), metadata.server.url);
};

const gceTable: MakeTable = (edges, api, { log }) => {
  const gce = new FakeGce();
  gce.addInstance("host-a", ADDRESS);
  const metadata = new FakeGceMetadata(gce, "host-a");
  const env = {
    GCE_METADATA_HOST: metadata.server.host,
    CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE: `${api}/compute/v1/`,
  };
  return new GceRouteTable(edges(env), log);
};
