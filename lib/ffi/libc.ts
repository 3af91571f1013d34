/**
 * The C library, as far as this project calls it: the only `Deno.dlopen`, one table of symbols.
 *
 * Results of system calls are `i32` throughout, those of `ssize_t` too: none of our buffers comes near 2 GiB,
 * and an `isize` reaches JavaScript as an unsigned number on some paths, which makes -1 look like a length.
 * Failure is -1; its reason is in {@link ./errno.ts}, to be read at once, and only after synchronous calls
 * (a nonblocking call runs on another thread, whose errno is out of reach).
 *
 * Buffers are passed as `buffer` (a typed array; null is a null pointer), lengths of `size_t` as `usize` (a bigint).
 * Structures that hold addresses take them from {@link addressOf}. All ways of passing an address cost the same:
 * about 150 ns a call.
 *
 * @module
 */

/** Name, C types and library of each symbol, grouped by header. */
const SYMBOLS = {
  // errno.h
  /** int *__errno_location(void): the calling thread's errno. */
  __errno_location: { parameters: [], result: "pointer" },

  // unistd.h, fcntl.h, sys/ioctl.h
  /** int open(const char *path, int flags, ... mode_t mode) */
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  /** int close(int fd) */
  close: { parameters: ["i32"], result: "i32" },
  /** ssize_t read(int fd, void *buf, size_t count) */
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  /** ssize_t write(int fd, const void *buf, size_t count) */
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  /** int ioctl(int fd, unsigned long request, ... void *arg) */
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  /** int fcntl(int fd, int cmd, ... unsigned long arg), for commands whose argument is a number */
  fcntl: { parameters: ["i32", "i32", "usize"], result: "i32" },
  /** The same for requests whose argument is a number: int ioctl(int fd, unsigned long request, ... unsigned long) */
  ioctlValue: { name: "ioctl", parameters: ["i32", "usize", "usize"], result: "i32" },

  /** ssize_t readlink(const char *path, char *buf, size_t bufsiz) */
  readlink: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  /** ssize_t getdents64(int fd, void *dirp, size_t length): glibc has it since 2.30, syscall(2) always. */
  syscallBuffer: { name: "syscall", parameters: ["i64", "i64", "buffer", "usize"], result: "i32" },

  // sys/statvfs.h, sys/timex.h
  /** int statvfs(const char *path, struct statvfs *buf) */
  statvfs: { parameters: ["buffer", "buffer"], result: "i32" },
  /** int adjtimex(struct timex *buf) */
  adjtimex: { parameters: ["buffer"], result: "i32" },

  // malloc.h, sys/mman.h
  /** int malloc_trim(size_t pad): gives free memory back to the kernel; pad is what stays. */
  malloc_trim: { parameters: ["usize"], result: "i32" },
  /** int madvise(void *addr, size_t length, int advice) */
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },

  // time.h
  /** int clock_gettime(clockid_t clockid, struct timespec *tp) */
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },

  // signal.h
  /** int kill(pid_t pid, int sig) */
  kill: { parameters: ["i32", "i32"], result: "i32" },

  // poll.h, sys/eventfd.h
  /** int poll(struct pollfd *fds, nfds_t nfds, int timeout_ms) */
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  /** The same on a pool thread: the result is a promise; its errno is lost. */
  pollAsync: { name: "poll", parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  /** int eventfd(unsigned int initval, int flags) */
  eventfd: { parameters: ["u32", "i32"], result: "i32" },

  // sys/socket.h
  /** int socket(int domain, int type, int protocol) */
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  /** int bind(int fd, const struct sockaddr *addr, socklen_t addrlen) */
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** int listen(int fd, int backlog) */
  listen: { parameters: ["i32", "i32"], result: "i32" },
  /** int connect(int fd, const struct sockaddr *addr, socklen_t addrlen) */
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** int getsockname(int fd, struct sockaddr *addr, socklen_t *addrlen) */
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  /** int setsockopt(int fd, int level, int optname, const void *optval, socklen_t optlen) */
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  /** int getsockopt(int fd, int level, int optname, void *optval, socklen_t *optlen) */
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  /** ssize_t send(int fd, const void *buf, size_t len, int flags) */
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  /** ssize_t recv(int fd, void *buf, size_t len, int flags) */
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },

  // The same for packets: called for each packet or batch, with addresses as bigints that are computed once. In
  // Deno 2.9 a bigint costs 6 ns as usize and a number 80, a typed array 17. What changes from call to call is a
  // u32, which both machines' calling conventions hand over as a size_t with its upper half clear.
  /** ssize_t read(int fd, void *buf, size_t count) */
  readPacket: { name: "read", parameters: ["i32", "usize", "usize"], result: "i32" },
  /** ssize_t write(int fd, const void *buf, size_t count) */
  writePacket: { name: "write", parameters: ["i32", "usize", "u32"], result: "i32" },
  /** ssize_t writev(int fd, const struct iovec *iov, int iovcnt) */
  writev: { parameters: ["i32", "usize", "i32"], result: "i32" },
  /** ssize_t sendto(int fd, const void *buf, size_t len, int flags, const struct sockaddr *addr, socklen_t addrlen) */
  sendto: { parameters: ["i32", "usize", "u32", "i32", "usize", "u32"], result: "i32" },
  /** ssize_t recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *addrlen) */
  recvfrom: { parameters: ["i32", "usize", "usize", "i32", "usize", "usize"], result: "i32" },
  /** int sendmmsg(int fd, struct mmsghdr *msgvec, unsigned int vlen, int flags) */
  sendmmsg: { parameters: ["i32", "usize", "u32", "i32"], result: "i32" },
  /** int recvmmsg(int fd, struct mmsghdr *msgvec, unsigned int vlen, int flags, struct timespec *timeout) */
  recvmmsg: { parameters: ["i32", "usize", "u32", "i32", "usize"], result: "i32" },
  /** int poll(struct pollfd *fds, nfds_t nfds, int timeout_ms) */
  pollPackets: { name: "poll", parameters: ["usize", "usize", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of {@link libc}. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

/**
 * The C library's functions, opened by the first call. A worker is a module graph of its own and so has a
 * handle (and an errno) of its own.
 *
 * @throws {Error} If this isn't a glibc system or Deno runs without --allow-ffi.
 */
export function libc(): Libc {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

/**
 * The address of a buffer's first byte, for pointers inside C structures; 0 for an empty buffer. Valid as long as
 * the caller keeps the buffer alive: the number doesn't.
 */
export function addressOf(view: ArrayBufferView<ArrayBuffer | SharedArrayBuffer>): bigint {
  // Reading `buffer` makes V8 move a small array out of its movable heap.
  const memory = Deno.UnsafePointer.of(new Uint8Array(view.buffer));
  return Deno.UnsafePointer.value(memory) + BigInt(view.byteOffset);
}

/** `text` as a C string: UTF-8 with a zero byte at its end. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}
