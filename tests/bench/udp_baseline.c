/*
 * The tunnel as a plain loop: read a packet, look up its peer, send it; and back. One packet a call, the yardstick
 * for the path of one packet a call. Usage: udp_baseline TUN ADDRESS PORT PEER_SUBNET PEER_ADDRESS PEER_PORT
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct route { uint32_t subnet, mask; struct sockaddr_in peer; } routes[1];

static struct sockaddr_in *lookup(const unsigned char *packet) {
  uint32_t destination;
  memcpy(&destination, packet + 16, 4);
  for (unsigned i = 0; i < 1; i++)
    if ((destination & routes[i].mask) == routes[i].subnet) return &routes[i].peer;
  return 0;
}

/* RFC 1624: the word of TTL and protocol loses 0x0100. */
static int decrement_ttl(unsigned char *packet) {
  if (packet[8] <= 1) return 0;
  packet[8]--;
  uint32_t sum = ((packet[10] << 8) | packet[11]) + 0x0100;
  sum += sum >> 16;
  packet[10] = sum >> 8;
  packet[11] = sum;
  return 1;
}

int main(int argc, char **argv) {
  static unsigned char packet[65536];
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  struct sockaddr_in own = {.sin_family = AF_INET}, *peer;
  int n, tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK), udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  int size = 8 << 20;
  if (argc != 7) return 2;
  strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
  own.sin_addr.s_addr = inet_addr(argv[2]);
  own.sin_port = htons(atoi(argv[3]));
  routes[0].mask = htonl(0xffffff00);
  routes[0].subnet = inet_addr(argv[4]) & routes[0].mask;
  routes[0].peer = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[6]))};
  routes[0].peer.sin_addr.s_addr = inet_addr(argv[5]);
  setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(udp, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if (ioctl(tun, TUNSETIFF, &request) < 0 || bind(udp, (void *)&own, sizeof own) < 0) return 1;
  for (;;) {
    struct pollfd set[] = {{tun, POLLIN, 0}, {udp, POLLIN, 0}};
    int busy;
    poll(set, 2, -1);
    do {
      busy = 0;
      if ((n = read(tun, packet, sizeof packet)) > 0) {
        busy = 1;
        if ((peer = lookup(packet)) && decrement_ttl(packet))
          sendto(udp, packet, n, 0, (void *)peer, sizeof *peer);
      }
      if ((n = recvfrom(udp, packet, sizeof packet, 0, 0, 0)) > 0) {
        busy = 1;
        if (n >= 20 && decrement_ttl(packet)) n = write(tun, packet, n);
      }
    } while (busy);
  }
}
