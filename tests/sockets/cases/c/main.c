/* Plays the cases, each in a process of its own, and prints their traces in order.
 *
 *   cases PEER-SOCKET PEER-ADDRESS OWN-ADDRESS [CASE…]
 *   cases list
 */
#include "suite.h"
#include <stdarg.h>
#include <sys/mman.h>

enum { MOST = 512, AT_ONCE = 6, LIMIT = 25 };

const char *peer_ip, *own_ip;
static const char *peer_socket;
static struct { const char *title; void (*play)(void); int wanted, out; pid_t pid; } cases[MOST];
static struct { const char *title; int (*run)(char **); } helpers[MOST];
static int count, helper_count;

void add_case(const char *title, void (*play)(void)) {
    cases[count].title = title;
    cases[count++].play = play;
}

void add_helper(const char *title, int (*run)(char **)) {
    helpers[helper_count].title = title;
    helpers[helper_count++].run = run;
}

char **helper_arguments(const char *title, int fd) {
    static char number[16];
    static char *arguments[] = {"cases", "helper", NULL, number, NULL, NULL, NULL};
    arguments[2] = (char *)title;
    arguments[4] = family == AF_INET6 ? "6" : "4";
    snprintf(number, sizeof number, "%d", fd);
    return arguments;
}

void line(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

long say(const char *label, long result) {
    int error = errno;
    if (result < 0) line("%s: %s", label, name(error));
    else line("%s: %ld", label, result);
    errno = error;
    return result;
}

int ok(const char *label, int fd) {
    line("%s: %s", label, fd < 0 ? name(errno) : "ok");
    return fd;
}

/* ---- the peer ---- */

char peer_data[1 << 20];
long peer_length;

static FILE *control(void) {
    static FILE *open_already;
    if (open_already) return open_already;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    snprintf(where.sun_path, sizeof where.sun_path, "%s", peer_socket);
    if (connect(fd, (void *)&where, sizeof where) < 0) {
        line("no peer: %s", name(errno));
        exit(1);
    }
    return open_already = fdopen(fd, "r");
}

long peer(const char *format, ...) {
    char command[4096];
    FILE *answers = control();
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(command, sizeof command - 1, format, arguments);
    va_end(arguments);
    command[n++] = '\n';
    long result;
    int error;
    if (write(fileno(answers), command, n) != n || fscanf(answers, "%ld %d %ld", &result, &error, &peer_length) != 3 ||
        fgetc(answers) != '\n' || fread(peer_data, 1, peer_length, answers) != (size_t)peer_length) {
        line("the peer is gone");
        exit(1);
    }
    peer_data[peer_length] = 0;
    errno = error;
    return result;
}

struct address there(int port) { return at(peer_ip, port); }
struct address here(int port) { return at(own_ip, port); }
int port_at(int fd) { return port_of(local_of(fd)); }
int soerror(int fd) { return option(fd, SOL_SOCKET, SO_ERROR); }

int peer_listens(int backlog) {
    int port = -1;
    if (peer("tcp 0") < 0 || peer("bind 0 0") < 0 || (port = peer("listen 0 %d", backlog)) < 0)
        line("the peer cannot listen: %s", name(errno));
    return port;
}

int dial(void) {
    struct address to = there(peer_listens(16));
    int fd = tcp(0);
    if (connect(fd, SA(to)) < 0) line("dial: %s", name(errno));
    if (peer("accept 0 1") < 0) line("the peer's accept: %s", name(errno));
    peer("close 0");
    return fd;
}

int listener(int flags, int backlog) {
    int fd = tcp(flags);
    struct address a = any(0);
    if (bind(fd, SA(a)) < 0 || listen(fd, backlog) < 0) line("listener: %s", name(errno));
    return fd;
}

long peer_dials(int listener) {
    peer("tcp 1");
    return peer("connect 1 %d %s", port_at(listener), own_ip);
}

int taken(void) {
    int l = listener(0, 16);
    if (peer_dials(l) < 0) line("the peer's connect: %s", name(errno));
    int fd = accept(l, NULL, NULL);
    if (fd < 0) line("accept: %s", name(errno));
    close(l);
    return fd;
}

/* ---- the cases ---- */

static void start(int i) {
    fflush(stdout);
    cases[i].out = memfd_create(cases[i].title, MFD_CLOEXEC);
    cases[i].pid = fork();
    if (cases[i].pid != 0) return;
    dup2(cases[i].out, 1);
    dup2(cases[i].out, 2);
    /* Cases use numbers of their own choice: what the others have must not lie there. */
    for (int other = 0; other <= i; other++)
        if (cases[other].out > 2) close(cases[other].out);
    alarm(LIMIT);
    cases[i].play();
    fflush(stdout);
    _exit(0);
}

static void report(int i, int status) {
    static char text[65536];
    printf("== %s\n", cases[i].title);
    for (off_t offset = 0; ;) {
        ssize_t n = pread(cases[i].out, text, sizeof text, offset);
        if (n <= 0) break;
        fwrite(text, 1, n, stdout);
        offset += n;
    }
    if (WIFSIGNALED(status)) line("ended by signal %d", WTERMSIG(status));
    else if (status) line("ended with status %d", WEXITSTATUS(status));
    close(cases[i].out);
    cases[i].out = -1;
}

static void play_all(void) {
    int next = 0, running = 0, told = 0, status, ended[MOST] = {0}, how[MOST];
    while (told < count) {
        while (next < count && running < AT_ONCE) {
            if (cases[next].wanted) start(next), running++;
            next++;
        }
        if (running > 0) {
            pid_t pid = wait(&status);
            for (int i = 0; i < next; i++)
                if (cases[i].wanted && cases[i].pid == pid) ended[i] = 1, how[i] = status, running--;
        }
        for (; told < next && (!cases[told].wanted || ended[told]); told++)
            if (cases[told].wanted) report(told, how[told]);
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 4 && !strcmp(argv[1], "helper")) {
        family = argv[4][0] == '6' ? AF_INET6 : AF_INET;
        for (int i = 0; i < helper_count; i++)
            if (!strcmp(helpers[i].title, argv[2])) return helpers[i].run(argv + 3);
        return 2;
    }
    if (argc > 1 && !strcmp(argv[1], "list")) {
        for (int i = 0; i < count; i++) printf("%s\n", cases[i].title);
        return 0;
    }
    if (argc < 4) return 2;
    peer_socket = argv[1], peer_ip = argv[2], own_ip = argv[3];
    if (strchr(peer_ip, ':')) family = AF_INET6;
    for (int i = 0; i < count; i++) {
        cases[i].wanted = argc == 4;
        for (int n = 4; n < argc; n++) cases[i].wanted |= !strcmp(argv[n], cases[i].title);
    }
    play_all();
    return 0;
}
