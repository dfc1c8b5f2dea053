/* A case: calls whose results it prints, without anything that differs between two runs by nature (ports, times,
 * descriptor numbers). Played on the kernel's loopback and on the LAN, the two traces must be equal.
 */
#ifndef SUITE_H
#define SUITE_H
#include "support.h"

/* Where the peer listens, and the address by which it reaches us. */
extern const char *peer_ip, *own_ip;

/* CASE(title) { body } registers a case. */
#define CASE(title)                                                                       \
    static void title(void);                                                              \
    __attribute__((constructor)) static void add_##title(void) { add_case(#title, title); } \
    static void title(void)
void add_case(const char *title, void (*play)(void));

/* HELPER(title) { body } is what a program that a case executes does: `helper(argv)`. */
#define HELPER(title)                                                                       \
    static int title(char **argument);                                                      \
    __attribute__((constructor)) static void add_##title(void) { add_helper(#title, title); } \
    static int title(char **argument)
void add_helper(const char *title, int (*run)(char **));
/* The argument list of a helper with one descriptor; valid until the next call. */
char **helper_arguments(const char *title, int fd);
#define SELF "/proc/self/exe"

/* Prints a line of the trace. */
void line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints the result of a call, or the name of its errno, and gives it back. */
long say(const char *label, long result);
#define SAY(label, call) say(label, (long)(call))
/* The same for a call that returns a descriptor. */
int ok(const char *label, int fd);

/* Has the peer obey a command (peer.c), with its errno and its data. */
long peer(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern char peer_data[];
extern long peer_length;

/* Addresses of the peer and of this side. */
struct address there(int port);
struct address here(int port);

/* The peer listens by its socket 0: the port. */
int peer_listens(int backlog);
/* A connection to the peer, whose end is its socket 1. */
int dial(void);
/* A listener on the wildcard address. */
int listener(int flags, int backlog);
int port_at(int fd);
/* The peer connects to a listener of ours by its socket 1. */
long peer_dials(int listener);
/* A connection that the peer has made and we have accepted; the peer's end is its socket 1. */
int taken(void);
int soerror(int fd);
#endif
