/* The other end of every case: makes the socket calls that it is told to, in a process of its own.
 *
 *   peer SOCKET ADDRESS     listens on the Unix socket; ADDRESS is the own one, which listeners are bound to
 *
 * A case connects to the Unix socket and is served by a child with sockets of its own. A command is a line of words, of
 * which the second is a number that stands for a socket; the answer is a line `RESULT ERRNO LENGTH` and LENGTH bytes.
 */
#include "support.h"

enum { SLOTS = 64, LONGEST = 1 << 20 };

static int slot[SLOTS];
static char data[LONGEST];
static long length;
static const char *own;

static long name_of_peer(int fd) {
    struct address a = peer_of(fd);
    char text[64] = "";
    if (a.len == 0) return -1;
    if (a.storage.ss_family == AF_INET6) inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a.storage)->sin6_addr, text, 64);
    else inet_ntop(AF_INET, &((struct sockaddr_in *)&a.storage)->sin_addr, text, 64);
    length = sprintf(data, "%s %d", text, port_of(a));
    return 0;
}

static long reset(int fd) {
    struct linger now = {1, 0};
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) < 0) return -1;
    return close(fd);
}

static long received(ssize_t n) {
    if (n > 0) length = n;
    return n;
}

/* One command; `word` are its words after the first two. */
static long obey(const char *verb, int *fd, char **word) {
    long number = word[0] ? atol(word[0]) : 0;
    length = 0;
#define VERB(text) if (!strcmp(verb, text))
    VERB("tcp") return *fd = tcp(SOCK_CLOEXEC);
    VERB("udp") return *fd = udp(SOCK_CLOEXEC);
    VERB("bind") {
        struct address a = at(own, number);
        set(*fd, SOL_SOCKET, SO_REUSEADDR, 1);
        return bind(*fd, SA(a)) < 0 ? -1 : port_of(local_of(*fd));
    }
    VERB("listen") return listen(*fd, number) < 0 ? -1 : port_of(local_of(*fd));
    VERB("accept") return slot[number] = accept4(*fd, NULL, NULL, SOCK_CLOEXEC);
    VERB("connect") {
        struct address a = at(word[1], number);
        return connect(*fd, SA(a));
    }
    VERB("peer") return name_of_peer(*fd);
    VERB("send") return send(*fd, word[1], strlen(word[1]), number | MSG_NOSIGNAL);
    VERB("fill") return send_all(*fd, number);
    VERB("drain") return read_all(*fd, number);
    VERB("recv") return received(recv(*fd, data, number, word[1] ? atoi(word[1]) : 0));
    VERB("shutdown") return shutdown(*fd, number);
    VERB("close") return close(*fd);
    VERB("reset") return reset(*fd);
    VERB("set") return set(*fd, number, atoi(word[1]), atoi(word[2]));
    VERB("get") {
        int value = option(*fd, number, atoi(word[1]));
        if (value < 0) errno = -value;
        return value < 0 ? -1 : value;
    }
    VERB("wait") return wait_for(*fd, number);
    VERB("sendto") {
        struct address a = at(word[1], number);
        return sendto(*fd, word[2], strlen(word[2]), 0, SA(a));
    }
    errno = EOPNOTSUPP;
    return -1;
}

static void serve(int control) {
    FILE *in = fdopen(control, "r");
    static char line[4096];
    while (fgets(line, sizeof line, in)) {
        char *word[8] = {0}, *rest = line;
        int words = 0;
        for (char *w; words < 7 && (w = strtok_r(rest, " \n", &rest));) word[words++] = w;
        int number = word[1] ? atoi(word[1]) : 0;
        errno = 0;
        long result = words == 0 || number >= SLOTS ? -1 : obey(word[0], &slot[number], word + 2);
        char answer[64];
        int n = sprintf(answer, "%ld %d %ld\n", result, result < 0 ? errno : 0, length);
        if (write(control, answer, n) != n || write(control, data, length) != length) return;
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    own = argv[2];
    if (strchr(own, ':')) family = AF_INET6;
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    int control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", argv[1]);
    umask(0);
    if (bind(control, (void *)&name, sizeof name) < 0 || listen(control, 128) < 0) return 1;
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int connection = accept4(control, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0) continue;
        if (fork() == 0) {
            close(control);
            alarm(60);
            serve(connection);
            _exit(0);
        }
        close(connection);
    }
}
