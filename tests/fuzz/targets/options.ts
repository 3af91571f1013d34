/**
 * The command line, the environment, and requests to the health port.
 *
 * @module
 */
import { BACKENDS } from "../../../backends/registry.ts";
import { BadRequestError, headLength, parseRequest } from "../../../lib/observe/http_request.ts";
import { parseCommandLine } from "../../../lib/options/parse.ts";
import { OPTIONS } from "../../../lib/options/table.ts";
import { COMMAND_NAMES } from "../../../lib/options/commands.ts";
import { UsageError } from "../../../lib/options/usage_error.ts";
import { variableOf } from "../../../lib/options/spec.ts";
import { type FuzzTarget, property, textOf } from "../target.ts";

const BACKEND_OPTIONS = BACKENDS.options;
const NAMES = [...Object.keys(OPTIONS), ...Object.keys(BACKEND_OPTIONS)];
const VALUES = [
  "true",
  "false",
  "0",
  "1h30m",
  "10.0.0.1",
  "fd00::1",
  "10.0.0.0/8,fd00::/8",
  "etcd",
  "sqlite:/x",
  "(?i)a(",
  "-",
];

export const OPTION_TARGETS: readonly FuzzTarget[] = [
  {
    name: "options",
    what: "arguments and variables, one a line: lines with FLANNELD_ are variables",
    errors: [UsageError],
    dictionary: [
      ...NAMES.map((name) => `-${name}`),
      ...NAMES.map((name) => `-${name}=`),
      ...NAMES.map((name) => `${variableOf(name)}=`),
      ...VALUES,
      ...COMMAND_NAMES,
      ...["\n", "=", "--", "-h\n"],
    ],
    open: () => checkOptions,
  },
  {
    name: "http",
    what: "a request to the health port",
    errors: [BadRequestError],
    dictionary: [
      ...[
        "GET ",
        "HEAD ",
        "POST ",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/2.0\r\n",
        "Host: localhost\r\n",
        "\r\n\r\n",
      ],
      ...[
        "/healthz",
        "/status?x",
        "http://host/metrics",
        "http://",
        "*",
        "Content-Length: 5\r\n",
        "[::1]:8080",
        "\0",
        "%",
      ],
    ],
    open: () => checkRequest,
  },
];

function checkOptions(input: Uint8Array): void {
  const lines = textOf(input).split("\n");
  const environment: Record<string, string> = {};
  const args: string[] = [];
  for (const line of lines) {
    const at = line.indexOf("=");
    if (line.startsWith("FLANNELD_") && at > 0) environment[line.slice(0, at)] = line.slice(at + 1);
    else args.push(line);
  }
  const { options, command } = parseCommandLine(args, environment, BACKEND_OPTIONS);
  property((COMMAND_NAMES as string[]).includes(command), `the command ${command}`);
  const { healthzPort, subnetLeaseTtl, iptablesResync } = options;
  property([healthzPort, subnetLeaseTtl, iptablesResync].every(Number.isInteger), "a number that is none");
}

function checkRequest(input: Uint8Array): void {
  const length = headLength(input);
  property(length <= input.length, "a head that is longer than the request");
  const { method, path } = parseRequest(length < 0 ? input : input.subarray(0, length));
  property(
    /^\S+$/.test(method) && path !== "" && !/\s/.test(path),
    `${JSON.stringify(method)} ${JSON.stringify(path)}`,
  );
}
