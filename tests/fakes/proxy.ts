/**
 * A proxy that keeps a log: HTTP's CONNECT and whole URLs, with or without TLS, or SOCKS 5.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import http from "node:http";
import https from "node:https";
import net, { type AddressInfo, type Socket } from "node:net";

/** How a proxy is made. */
export interface FakeProxyOptions {
  readonly kind: "http" | "https" | "socks5";
  /** PEM texts, for https. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** The login that it wants, `user:password`. */
  readonly login?: string;
}

/** See the module's text. */
export class FakeProxy implements AsyncDisposable {
  /** What was asked for: `CONNECT host:port`, `GET http://…`, `SOCKS host:port`. */
  readonly log: string[] = [];
  readonly #options: FakeProxyOptions;
  readonly #server: net.Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: FakeProxyOptions) {
    this.#options = options;
    this.#server = options.kind === "socks5"
      ? net.createServer((socket) => this.#socks(socket))
      : this.#http();
    this.#server.on(options.kind === "https" ? "secureConnection" : "connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}).on("close", () => this.#sockets.delete(socket));
    });
  }

  /** Starts one on the loopback. */
  static async start(options: FakeProxyOptions): Promise<FakeProxy> {
    const proxy = new FakeProxy(options);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** Its URL, with the login if it has one. */
  get url(): string {
    const { kind, login } = this.#options;
    return `${kind}://${login ? `${login}@` : ""}127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #http(): http.Server {
    const { tls, login } = this.#options;
    const refuses = ({ headers }: http.IncomingMessage) =>
      login !== undefined && headers["proxy-authorization"] !== `Basic ${btoa(login)}`;
    const server = tls ? https.createServer(tls) : http.createServer();
    server.on("request", (request: http.IncomingMessage, response: http.ServerResponse) => {
      this.log.push(`${request.method} ${request.url}`);
      if (refuses(request)) return void response.writeHead(407).end();
      const { "proxy-authorization": _, ...headers } = request.headers;
      const onward = http.request(request.url!, { method: request.method!, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      onward.on("error", () => response.destroy());
      request.pipe(onward);
    });
    server.on("connect", (request: http.IncomingMessage, socket: Socket) => {
      this.log.push(`CONNECT ${request.url}`);
      if (refuses(request)) return void socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      const { hostname, port } = new URL(`http://${request.url}`);
      this.#lead(socket, { host: hostname, port: Number(port) }, "HTTP/1.1 200 OK\r\nVia: test\r\n\r\n");
    });
    return server as http.Server;
  }

  #lead(socket: Socket, { host, port }: { host: string; port: number }, hello: string | Buffer): void {
    const target = net.connect({ host: host === "server.test" ? "127.0.0.1" : host, port }, () => {
      socket.write(hello);
      target.pipe(socket);
      socket.pipe(target);
    });
    this.#sockets.add(target);
    target.on("error", () => socket.destroy()).on("close", () => this.#sockets.delete(target));
  }

  /** RFC 1928; each of the client's messages comes in one piece here. */
  #socks(socket: Socket): void {
    const { login } = this.#options;
    const steps: ((message: Buffer) => void)[] = [
      () => socket.write(Buffer.from([5, login === undefined ? 0 : 2])),
      ...(login === undefined ? [] : [(message: Buffer) => {
        const user = message.subarray(2, 2 + message[1]!).toString();
        const password = message.subarray(3 + message[1]!).toString();
        socket.write(Buffer.from([1, `${user}:${password}` === login ? 0 : 1]));
      }]),
      (message) => {
        const isName = message[3] === 3;
        const address = message.subarray(isName ? 5 : 4, -2);
        const to = {
          host: isName ? address.toString() : address.join("."),
          port: message.readUInt16BE(message.length - 2),
        };
        this.log.push(`SOCKS ${to.host}:${to.port}`);
        socket.removeAllListeners("data");
        this.#lead(socket, to, Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 80]));
      },
    ];
    socket.on("data", (message: Buffer) => steps.shift()?.(message));
  }
}
