/**
 * Traffic for the udp lab, to be run inside a network namespace:
 *
 *     receive PORT                     takes one TCP connection to its end, prints the hash of what came
 *     send ADDRESS PORT BYTES          sends random bytes over TCP, prints their hash
 *     echo PORT                        sends every datagram back
 *     probe ADDRESS PORT SIZE…         sends datagrams of these sizes, prints the sizes that came back unharmed
 *     flood ADDRESS PORT SIZE          sends datagrams of this size, as many as it can, until it is killed
 *     extend ADDRESS PORT SIZE…        as probe, over IPv6 with an extension header before each datagram
 *     forge ADDRESS PORT TO PORT HEX…  sends these datagrams from a given address (or any) and port
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { socketAddress } from "../../backends/udp/shared/socket_address.ts";
import { check } from "../../lib/ffi/errno.ts";
import { closeFd, POLLIN, PollSet } from "../../lib/ffi/fd.ts";
import { addressOf, libc } from "../../lib/ffi/libc.ts";
import { IPV6 } from "../../lib/net/family.ts";
import { parseIp } from "../../lib/net/ip.ts";

/** Longest wait for a datagram's way back, in milliseconds. */
const PATIENCE = 1000;
const CHUNK = 1 << 18;
const SOCK_DGRAM = 2;

async function receive(port: number): Promise<void> {
  using listener = Deno.listen({ hostname: "::", port });
  console.log("listening");
  using connection = await listener.accept();
  const hash = createHash("sha1");
  const buffer = new Uint8Array(CHUNK);
  for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) {
    hash.update(buffer.subarray(0, n));
  }
  console.log(hash.digest("hex"));
}

async function send(hostname: string, port: number, bytes: number): Promise<void> {
  const connection = await Deno.connect({ hostname, port });
  const hash = createHash("sha1");
  const chunk = new Uint8Array(CHUNK);
  for (let at = 0; at < CHUNK; at += 65536) crypto.getRandomValues(chunk.subarray(at, at + 65536));
  const counter = new DataView(chunk.buffer);
  for (let sent = 0; sent < bytes;) {
    counter.setUint32(0, sent / 4);
    const part = chunk.subarray(0, Math.min(CHUNK, bytes - sent));
    hash.update(part);
    for (let done = 0; done < part.length;) done += await connection.write(part.subarray(done));
    sent += part.length;
  }
  await connection.closeWrite();
  // The end of the other side is the proof that everything arrived.
  await connection.read(new Uint8Array(1));
  connection.close();
  console.log(hash.digest("hex"));
}

/** Any address of the family of another one. */
function anyAddress(address: string): string {
  return address.includes(":") ? "::" : "0.0.0.0";
}

/** A UDP socket that is bound; one of `::` takes IPv4, too. */
async function bound(address: string, port: number): Promise<Socket> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.bind(port, address);
  await once(socket, "listening");
  return socket;
}

async function echo(port: number): Promise<void> {
  const socket = await bound("::", port);
  socket.on("message", (data, from) => socket.send(data, from.port, from.address));
  console.log("listening");
}

async function probe(address: string, port: number, sizes: readonly number[]): Promise<void> {
  const socket = await bound(anyAddress(address), 0);
  const unharmed: number[] = [];
  for (const size of sizes) {
    const data = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(data.subarray(at, at + 65536));
    const answer = once(socket, "message", { signal: AbortSignal.timeout(PATIENCE) });
    socket.send(data, port, address);
    const [back] = await answer.catch(() => [undefined]) as [Uint8Array | undefined];
    if (!back) break;
    if (back.length === size && back.every((byte, i) => byte === data[i])) unharmed.push(size);
  }
  socket.close();
  console.log(JSON.stringify(unharmed));
}

async function flood(address: string, port: number, size: number): Promise<void> {
  const socket = await bound(anyAddress(address), 0);
  const data = new Uint8Array(size);
  for (;;) {
    await Promise.all(
      Array.from({ length: 16 }, () => new Promise((done) => socket.send(data, port, address, done))),
    );
  }
}

/** Level and option of setsockopt(2): the destination options that go before each datagram (linux/in6.h). */
const SOL_IPV6 = 41, IPV6_DSTOPTS = 59;
/** Next header (the kernel fills it in), length, then one option that pads 6 bytes (RFC 8200, 4.2). */
const PADDING = new Uint8Array([0, 0, 1, 4, 0, 0, 0, 0]);

function extend(address: string, port: number, sizes: readonly number[]): void {
  const { socket, setsockopt, sendto, recv } = libc();
  const fd = check(socket(IPV6.af, SOCK_DGRAM, 0), "open a UDP socket");
  check(setsockopt(fd, SOL_IPV6, IPV6_DSTOPTS, PADDING, PADDING.length), "set IPV6_DSTOPTS");
  const name = socketAddress(parseIp(address), port, 0);
  const data = crypto.getRandomValues(new Uint8Array(1 << 16)), answer = new Uint8Array(1 << 16);
  const poll = new PollSet([{ fd, events: POLLIN }]);
  const unharmed = sizes.filter((size) => {
    check(sendto(fd, addressOf(data), size, 0, addressOf(name), name.length), "send");
    if (poll.waitSync(PATIENCE) === 0) return false;
    const length = check(recv(fd, answer, BigInt(answer.length), 0), "receive");
    return length === size && data.subarray(0, size).every((byte, i) => byte === answer[i]);
  });
  closeFd(fd);
  console.log(JSON.stringify(unharmed));
}

async function forge(
  from: string,
  fromPort: number,
  address: string,
  port: number,
  packets: string[],
): Promise<void> {
  const socket = await bound(from === "any" ? anyAddress(address) : from, fromPort);
  for (const hex of packets) {
    await new Promise((resolve) => socket.send(Uint8Array.fromHex(hex), port, address, resolve));
  }
  socket.close();
}

const [command, ...args] = Deno.args as [string, ...string[]];
if (command === "receive") await receive(Number(args[0]));
else if (command === "send") await send(args[0]!, Number(args[1]), Number(args[2]));
else if (command === "echo") await echo(Number(args[0]));
else if (command === "probe") await probe(args[0]!, Number(args[1]), args.slice(2).map(Number));
else if (command === "extend") extend(args[0]!, Number(args[1]), args.slice(2).map(Number));
else if (command === "flood") await flood(args[0]!, Number(args[1]), Number(args[2]));
else if (command === "forge") {
  await forge(args[0]!, Number(args[1]), args[2]!, Number(args[3]), args.slice(4));
} else throw new Error(`Unknown command ${command}`);
