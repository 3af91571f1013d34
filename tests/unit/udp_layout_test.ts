import assert from "node:assert/strict";
import {
  COUNTER,
  COUNTER_NAMES,
  countersBytes,
  countersOf,
  DROPS,
  sumCounters,
} from "../../backends/udp/shared/counters.ts";
import { Arena } from "../../backends/udp/worker/arena.ts";
import * as layout from "../../backends/udp/shared/structs.ts";
import { IOVEC } from "../../lib/packet/pieces.ts";
import { VNET_HEADER } from "../../lib/packet/virtio.ts";

/**
 * What a C compiler says of both machines (x86_64 and aarch64, LP64, little-endian; the options are those of
 * asm-generic, which both share), as expressions and values.
 */
const TABLE: readonly (readonly [expression: string, value: number])[] = [
  ["sizeof(struct sockaddr_in)", layout.SOCKET_ADDRESS.ipv4.size],
  ["offsetof(struct sockaddr_in, sin_family)", layout.SOCKET_ADDRESS.ipv4.family],
  ["offsetof(struct sockaddr_in, sin_port)", layout.SOCKET_ADDRESS.ipv4.port],
  ["offsetof(struct sockaddr_in, sin_addr)", layout.SOCKET_ADDRESS.ipv4.address],
  ["sizeof(struct sockaddr_in6)", layout.SOCKET_ADDRESS.ipv6.size],
  ["offsetof(struct sockaddr_in6, sin6_family)", layout.SOCKET_ADDRESS.ipv6.family],
  ["offsetof(struct sockaddr_in6, sin6_port)", layout.SOCKET_ADDRESS.ipv6.port],
  ["offsetof(struct sockaddr_in6, sin6_addr)", layout.SOCKET_ADDRESS.ipv6.address],
  ["offsetof(struct sockaddr_in6, sin6_scope_id)", layout.SOCKET_ADDRESS.ipv6.scope],
  ["sizeof(struct mmsghdr)", layout.MMSGHDR.size],
  ["offsetof(struct mmsghdr, msg_hdr.msg_name)", layout.MMSGHDR.name],
  ["offsetof(struct mmsghdr, msg_hdr.msg_namelen)", layout.MMSGHDR.nameLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_iov)", layout.MMSGHDR.pieces],
  ["offsetof(struct mmsghdr, msg_hdr.msg_iovlen)", layout.MMSGHDR.pieceCount],
  ["offsetof(struct mmsghdr, msg_hdr.msg_control)", layout.MMSGHDR.control],
  ["offsetof(struct mmsghdr, msg_hdr.msg_controllen)", layout.MMSGHDR.controlLength],
  ["offsetof(struct mmsghdr, msg_hdr.msg_flags)", layout.MMSGHDR.flags],
  ["offsetof(struct mmsghdr, msg_len)", layout.MMSGHDR.length],
  ["sizeof(struct cmsghdr)", layout.CMSGHDR.size],
  ["offsetof(struct cmsghdr, cmsg_len)", layout.CMSGHDR.length],
  ["offsetof(struct cmsghdr, cmsg_level)", layout.CMSGHDR.level],
  ["offsetof(struct cmsghdr, cmsg_type)", layout.CMSGHDR.type],
  ["CMSG_LEN(0)", layout.CMSGHDR.data],
  ["CMSG_LEN(2)", layout.CMSGHDR.size + 2],
  ["CMSG_SPACE(2)", layout.CMSG_SPACE],
  ["CMSG_SPACE(8)", layout.CMSG_SPACE],
  ["sizeof(struct pollfd)", layout.POLLFD.size],
  ["offsetof(struct pollfd, events)", layout.POLLFD.events],
  ["offsetof(struct pollfd, revents)", layout.POLLFD.revents],
  ["sizeof(struct iovec)", IOVEC],
  ["sizeof(struct virtio_net_hdr)", VNET_HEADER],
  ["sizeof(struct ifreq)", 40],
  ["sizeof(struct timeval)", 16],
  ["SOL_SOCKET", layout.SOL_SOCKET],
  ["SOL_UDP", layout.SOL_UDP],
  ["SOL_IPV6", layout.SOL_IPV6],
  ["IPV6_V6ONLY", layout.IPV6_V6ONLY],
  ["SO_RCVBUF", layout.SO_RCVBUF],
  ["SO_SNDBUF", layout.SO_SNDBUF],
  ["SO_RCVBUFFORCE", layout.SO_RCVBUFFORCE],
  ["SO_SNDBUFFORCE", layout.SO_SNDBUFFORCE],
  ["SO_RXQ_OVFL", layout.SO_RXQ_OVFL],
  ["UDP_SEGMENT", layout.UDP_SEGMENT],
  ["UDP_GRO", layout.UDP_GRO],
  ["MSG_DONTWAIT", layout.MSG_DONTWAIT],
  ["MSG_TRUNC", layout.MSG_TRUNC],
  ["TUNSETOFFLOAD", 0x400454d0],
  ["TUNSETVNETHDRSZ", 0x400454d8],
  ["SIOCGIFINDEX", 0x8933],
  ["SIOCSIFTXQLEN", 0x8943],
  ["IFF_PERSIST", 0x0800],
];

const HEADERS = [
  ...[
    "stddef.h",
    "stdio.h",
    "poll.h",
    "netinet/in.h",
    "netinet/udp.h",
    "sys/socket.h",
    "sys/time.h",
    "sys/uio.h",
  ],
  ...["sys/ioctl.h", "linux/if_tun.h", "linux/virtio_net.h", "net/if.h"],
];

function hasCompiler(): boolean {
  try {
    return new Deno.Command("cc", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "structures and constants are those of the C headers of this machine (needs cc)",
  ignore: !hasCompiler(),
  async fn() {
    const prints = TABLE.map(([expression]) => `printf("%lld\\n", (long long)(${expression}));`);
    const includes = HEADERS.map((header) => `#include <${header}>`);
    const source = ["#define _GNU_SOURCE", ...includes, `int main(void) { ${prints.join("\n")} }`].join("\n");
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/table.c`, source);
      const built = await new Deno.Command("cc", { args: ["-o", `${folder}/table`, `${folder}/table.c`] })
        .output();
      assert.equal(new TextDecoder().decode(built.stderr), "");
      const { stdout } = await new Deno.Command(`${folder}/table`).output();
      const values = new TextDecoder().decode(stdout).trim().split("\n").map(Number);
      assert.deepEqual(TABLE.map(([expression], i) => [expression, values[i]]), TABLE);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("the arena hands out cache lines that don't overlap, and no more than there is", () => {
  const arena = new Arena(256);
  assert.deepEqual([arena.take(1), arena.take(64), arena.take(65)], [0, 64, 128]);
  assert.throws(() => arena.take(1), RangeError);
});

Deno.test("counters of several workers add up, and every drop has its own reason", () => {
  const memory = new SharedArrayBuffer(countersBytes(3));
  for (let worker = 0; worker < 3; worker++) countersOf(memory, worker)[COUNTER.sentPackets]! += worker + 1;
  countersOf(memory, 2)[COUNTER_NAMES.length - 1]! += 5;
  const sums = sumCounters(memory);
  assert.equal(sums.sentPackets, 6);
  assert.equal(sums[COUNTER_NAMES.at(-1)!], 5);
  assert.equal(new Set(DROPS.map(({ direction, reason }) => `${direction} ${reason}`)).size, DROPS.length);
});
