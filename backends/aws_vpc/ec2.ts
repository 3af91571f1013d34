/**
 * The six EC2 calls that the backend makes, over the AWS SDK, which is loaded by the first of them.
 *
 * @module
 */
import type { EC2, Filter, RouteTable as Ec2RouteTable } from "@aws-sdk/client-ec2";
import type { Env } from "../cloud/backend.ts";
import type { Metrics } from "../../lib/observe/types.ts";
import { CloudError } from "../cloud/errors.ts";
import { PageCount } from "../cloud/pages.ts";
import { classify } from "./errors.ts";
import type { Instance } from "./instance.ts";
import { CLOUD_RETRIES } from "../cloud/metrics.ts";

/** A route's destination in EC2's parameters: one of the two. */
export type Destination =
  | { readonly DestinationCidrBlock: string }
  | { readonly DestinationIpv6CidrBlock: string };

/** Milliseconds: the SDK itself has no time limit. */
const TIMEOUTS = { connectionTimeout: 5_000, requestTimeout: 15_000, throwOnRequestTimeout: true };

/** EC2 in one region. */
export class Ec2 {
  readonly #region: string;
  readonly #env: Env;
  readonly #metrics: Metrics;
  #client: EC2 | undefined;

  constructor(region: string, env: Env, metrics: Metrics) {
    this.#region = region;
    this.#env = env;
    this.#metrics = metrics;
  }

  /** The instance, or undefined if EC2 doesn't know it (yet). */
  async instance(id: string, signal: AbortSignal): Promise<Instance | undefined> {
    const answer = await this.#call(
      "DescribeInstances",
      id,
      signal,
      (ec2, options) => ec2.describeInstances({ InstanceIds: [id] }, options),
    );
    const found = (answer.Reservations ?? []).flatMap((reservation) => reservation.Instances ?? [])
      .find((instance) => instance.InstanceId === undefined || instance.InstanceId === id);
    if (!found) return undefined;
    return { vpcId: found.VpcId, subnetId: found.SubnetId, interfaces: found.NetworkInterfaces ?? [] };
  }

  /** The route tables with these ids, or that match these filters. */
  async routeTables(
    which: { readonly ids: readonly string[] } | { readonly filters: Readonly<Record<string, string>> },
    signal: AbortSignal,
  ): Promise<Ec2RouteTable[]> {
    const subject = "ids" in which ? which.ids.join(", ") : Object.values(which.filters).join(", ");
    const input = "ids" in which ? { RouteTableIds: [...which.ids] } : { Filters: filtersOf(which.filters) };
    const tables: Ec2RouteTable[] = [];
    let NextToken: string | undefined;
    const pages = new PageCount("EC2's list of route tables");
    do {
      pages.next();
      const answer = await this.#call(
        "DescribeRouteTables",
        subject,
        signal,
        (ec2, options) => ec2.describeRouteTables({ ...input, ...(NextToken ? { NextToken } : {}) }, options),
      );
      tables.push(...answer.RouteTables ?? []);
      NextToken = answer.NextToken || undefined;
    } while (NextToken);
    return tables;
  }

  /** Makes a route that isn't there. */
  async createRoute(table: string, to: Destination, eni: string, signal: AbortSignal): Promise<void> {
    const input = { RouteTableId: table, NetworkInterfaceId: eni, ...to };
    const subject = `${cidrOf(to)} in ${table}`;
    const answer = await this.#call(
      "CreateRoute",
      subject,
      signal,
      (ec2, options) => ec2.createRoute(input, options),
    );
    if (answer.Return === false) {
      throw new CloudError("unavailable", `EC2 didn't make the route ${subject} and doesn't say why`);
    }
  }

  /** Turns a route that is there to another interface, in one step. */
  async replaceRoute(table: string, to: Destination, eni: string, signal: AbortSignal): Promise<void> {
    const input = { RouteTableId: table, NetworkInterfaceId: eni, ...to };
    await this.#call(
      "ReplaceRoute",
      `${cidrOf(to)} in ${table}`,
      signal,
      (ec2, options) => ec2.replaceRoute(input, options),
    );
  }

  /** Removes a route. */
  async deleteRoute(table: string, to: Destination, signal: AbortSignal): Promise<void> {
    const input = { RouteTableId: table, ...to };
    await this.#call(
      "DeleteRoute",
      `${cidrOf(to)} in ${table}`,
      signal,
      (ec2, options) => ec2.deleteRoute(input, options),
    );
  }

  /** Lets an interface carry packets that are neither from nor to its own addresses. */
  async disableSourceDestCheck(eni: string, signal: AbortSignal): Promise<void> {
    const input = { NetworkInterfaceId: eni, SourceDestCheck: { Value: false } };
    await this.#call(
      "ModifyNetworkInterfaceAttribute",
      eni,
      signal,
      (ec2, options) => ec2.modifyNetworkInterfaceAttribute(input, options),
    );
  }

  async #call<T extends { $metadata: { attempts?: number | undefined } }>(
    action: string,
    subject: string,
    signal: AbortSignal,
    run: (ec2: EC2, options: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    this.#client ??= await this.#connect();
    try {
      const answer = await run(this.#client, { abortSignal: signal });
      this.#countAttempts(answer.$metadata.attempts, "throttled");
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      const known = classify(error, action, subject);
      this.#countAttempts((error as Partial<T>).$metadata?.attempts, known.kind);
      // A new client asks the chain for credentials anew.
      if (known.kind === "credentials") this.#client = undefined;
      throw known;
    }
  }

  /** The SDK itself tries a call up to three times. */
  #countAttempts(attempts: number | undefined, reason: string): void {
    if (attempts === undefined || attempts <= 1) return;
    this.#metrics.count(CLOUD_RETRIES, {
      cloud: "aws-vpc",
      reason,
    }, attempts - 1);
  }

  async #connect(): Promise<EC2> {
    const { EC2 } = await import("@aws-sdk/client-ec2");
    const ignored = this.#env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")?.toLowerCase() === "true";
    const endpoint = !ignored && (this.#env("AWS_ENDPOINT_URL_EC2") || this.#env("AWS_ENDPOINT_URL"));
    const credentials = legacyCredentials(this.#env);
    return new EC2({
      region: this.#region,
      requestHandler: TIMEOUTS,
      ...(endpoint ? { endpoint } : {}),
      ...(credentials ? { credentials } : {}),
    });
  }
}

/**
 * Temporary keys with their token in AWS_SECURITY_TOKEN, as older tools set it; the SDK's own chain knows it
 * as AWS_SESSION_TOKEN only.
 */
function legacyCredentials(env: Env) {
  const accessKeyId = env("AWS_ACCESS_KEY_ID");
  const secretAccessKey = env("AWS_SECRET_ACCESS_KEY");
  const sessionToken = env("AWS_SECURITY_TOKEN");
  if (!accessKeyId || !secretAccessKey || !sessionToken || env("AWS_SESSION_TOKEN")) return undefined;
  return { accessKeyId, secretAccessKey, sessionToken };
}

function filtersOf(filters: Readonly<Record<string, string>>): Filter[] {
  return Object.entries(filters).map(([Name, value]) => ({ Name, Values: [value] }));
}

function cidrOf(to: Destination): string {
  return "DestinationCidrBlock" in to ? to.DestinationCidrBlock : to.DestinationIpv6CidrBlock;
}
