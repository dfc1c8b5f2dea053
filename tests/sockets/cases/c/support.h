/* What the cases and their peer share: addresses, names of errors, waiting for events. */
#ifndef SUPPORT_H
#define SUPPORT_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* AF_INET or AF_INET6: what a run is about. */
extern int family;

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};
/* The two arguments of connect, bind and sendto. */
#define SA(a) (struct sockaddr *)&(a).storage, (a).len

/* An address of the run's family; an IPv4 one is mapped into IPv6. */
struct address at(const char *ip, int port);
/* The wildcard address. */
struct address any(int port);
int port_of(struct address a);
struct address local_of(int fd);
struct address peer_of(int fd);
int same(struct address a, struct address b);

int tcp(int flags);
int udp(int flags);
int set(int fd, int level, int name, int value);
/* The value of an option, or minus its errno. */
int option(int fd, int level, int name);

/* The name of an errno, as a program's author knows it. */
const char *name(int error);

/* poll(2) on one descriptor: what is reported within ten seconds. */
int wait_for(int fd, int events);
/* The same until all of `wanted` is reported: a pair that is refused reports ERR and HUP a moment before OUT. */
int settled(int fd, int events, int wanted);
/* What is reported within a moment in which nothing ought to be. */
int quiet(int fd, int events);
void pause_ms(int ms);

/* Sends or reads exactly so many bytes; the count, or minus the errno. */
long send_all(int fd, long count);
long read_all(int fd, long most);
/* `send_all` writes the same bytes in every place: what is at `offset`. */
char byte_at(long offset);
#endif
