/**
 * C structures of the packet path, as byte offsets. They are the same on x86_64 and aarch64 (LP64, little-endian).
 *
 * @module
 */

/** struct sockaddr_in and sockaddr_in6 (netinet/in.h): the port and the address are big-endian, the rest is not. */
export const SOCKET_ADDRESS = {
  ipv4: { size: 16, family: 0, port: 2, address: 4 },
  ipv6: { size: 28, family: 0, port: 2, address: 8, scope: 24 },
} as const;

/** Room for either, on a cache line of its own. */
export const NAME_ROOM = 64;

/** struct mmsghdr (sys/socket.h): a struct msghdr of 56 bytes, and what the call made of it. */
export const MMSGHDR = {
  size: 64,
  name: 0,
  nameLength: 8,
  pieces: 16,
  pieceCount: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
} as const;

/** struct cmsghdr (sys/socket.h); data follows at CMSG_LEN(0). */
export const CMSGHDR = { size: 16, length: 0, level: 8, type: 12, data: 16 } as const;

/** CMSG_SPACE of up to 8 bytes of data. */
export const CMSG_SPACE = 24;

/** struct pollfd (poll.h). */
export const POLLFD = { size: 8, fd: 0, events: 4, revents: 6 } as const;

/** Socket option levels and options (asm-generic/socket.h, linux/udp.h, linux/in.h, linux/in6.h). */
export const SOL_SOCKET = 1, SOL_UDP = 17, SOL_IPV6 = 41, IPV6_V6ONLY = 26;
export const SO_RCVBUF = 8, SO_SNDBUF = 7, SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33, SO_RXQ_OVFL = 40;
export const UDP_SEGMENT = 103, UDP_GRO = 104;

/** Flags of sendmmsg(2) and recvmmsg(2): don't wait; and in an answer: the datagram was longer than the buffer. */
export const MSG_DONTWAIT = 0x40, MSG_TRUNC = 0x20;

/** Most bytes and most segments of one UDP send (linux/udp.h: UDP_MAX_SEGMENTS, 128 only since Linux 6.9). */
export const MAX_DATAGRAM = 65507, MAX_SEGMENTS = 64;
