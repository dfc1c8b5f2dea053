/* What has no counterpart on loopback: the addresses of the stand-in service, both networks at once, bad times. */
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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *error_name(int error) {
    static char number[16];
    switch (error) {
#define E(e) case e: return #e;
        E(EAGAIN) E(EINPROGRESS) E(EALREADY) E(ENOTCONN) E(ECONNREFUSED) E(EHOSTUNREACH) E(ENETUNREACH) E(EINTR)
        E(EINVAL) E(EADDRINUSE) E(EADDRNOTAVAIL) E(EACCES) E(ENOSYS) E(ETIMEDOUT) E(ECONNRESET)
    }
    snprintf(number, sizeof number, "%d", error);
    return number;
}

static struct sockaddr_in at(const char *ip, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static void say(const char *what, long result) {
    if (result < 0) printf("%s: %s\n", what, error_name(errno));
    else printf("%s: %ld\n", what, result);
}

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int try_connect(int fd, const char *ip, int port) {
    struct sockaddr_in a = at(ip, port);
    return connect(fd, (void *)&a, sizeof a);
}

static const char *local_ip(int fd) {
    static char text[32];
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (void *)&a, &len) < 0) return "none";
    return inet_ntop(AF_INET, &a.sin_addr, text, sizeof text);
}

static void echo(int fd) {
    char buffer[8] = "";
    say("sent", send(fd, "echo", 4, 0));
    say("received", recv(fd, buffer, 4, MSG_WAITALL));
    printf("text: %s\n", buffer);
}

static void on_alarm(int signal) { (void)signal; }

static void *blocked_accept(void *listener) {
    accept(*(int *)listener, NULL, NULL);
    return NULL;
}

static void *blocked_connect(void *fd) {
    try_connect(*(int *)fd, "10.77.0.99", 80);
    return NULL;
}

static void cancel(const char *what, void *(*body)(void *), int *fd) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, body, fd);
    usleep(50000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("%s cancelled: %d\n", what, result == PTHREAD_CANCELED);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(60);
    long start = now_ms();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    say("absent host", try_connect(fd, "10.77.0.99", 80));
    printf("after its time: %d\n", now_ms() - start >= 250 && now_ms() - start < 3000);
    close(fd);

    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    start = now_ms();
    say("slow host", try_connect(fd, "10.77.0.98", 80));
    printf("at once: %d\n", now_ms() - start < 100);
    say("again", try_connect(fd, "10.77.0.98", 80));
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    say("peer while connecting", getpeername(fd, (void *)&peer, &len));
    printf("local while connecting: %s\n", local_ip(fd));
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    say("poll while connecting", poll(&p, 1, 0));
    say("write while connecting", send(fd, "x", 1, 0));
    say("poll", poll(&p, 1, 3000));
    printf("events: %x\n", p.revents);
    fcntl(fd, F_SETFL, 0);
    echo(fd);
    close(fd);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("slow host, blocking", try_connect(fd, "10.77.0.98", 80));
    echo(fd);
    close(fd);

    /* SO_SNDTIMEO limits a blocking connect. */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval limit = {0, 100000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    say("limited connect", try_connect(fd, "10.77.0.98", 80));
    say("and its end", poll(&(struct pollfd){fd, POLLOUT, 0}, 1, 3000));
    close(fd);

    /* A signal without SA_RESTART ends the wait; the attempt goes on. */
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGUSR1, &action, NULL);
    pid_t self = getpid();
    pid_t child = fork();
    if (child == 0) {
        usleep(100000);
        kill(self, SIGUSR1);
        _exit(0);
    }
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("interrupted connect", try_connect(fd, "10.77.0.98", 80));
    waitpid(child, NULL, 0);
    say("and its end", poll(&(struct pollfd){fd, POLLOUT, 0}, 1, 3000));
    close(fd);
    /* With SA_RESTART it does not. */
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, NULL);
    child = fork();
    if (child == 0) {
        usleep(100000);
        kill(self, SIGUSR1);
        _exit(0);
    }
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("restarted connect", try_connect(fd, "10.77.0.98", 80));
    waitpid(child, NULL, 0);
    close(fd);

    /* A wildcard listener serves both networks in one queue. */
    int l = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in any = at("0.0.0.0", 0), from;
    bind(l, (void *)&any, sizeof any);
    say("listen", listen(l, 5));
    len = sizeof any;
    getsockname(l, (void *)&any, &len);
    int port = ntohs(any.sin_port);
    for (int i = 0; i < 2; i++) {
        const char *host = i ? "127.0.0.1" : "10.77.0.1";
        fd = socket(AF_INET, SOCK_STREAM, 0);
        say(host, try_connect(fd, host, port));
        len = sizeof from;
        int s = accept(l, (void *)&from, &len);
        printf("from %s", inet_ntoa(from.sin_addr));
        printf(" to %s\n", local_ip(s));
        send(s, "hi", 2, 0);
        char b[3] = "";
        say("greeting", recv(fd, b, 2, MSG_WAITALL));
        close(s), close(fd);
    }
    cancel("accept", blocked_accept, &l);
    close(l);

    /* On the LAN only. */
    l = socket(AF_INET, SOCK_STREAM, 0);
    any = at("10.77.0.1", 0);
    say("bind to the LAN", bind(l, (void *)&any, sizeof any));
    say("accept before listen", accept(l, NULL, NULL));
    say("listen", listen(l, 5));
    len = sizeof any;
    getsockname(l, (void *)&any, &len);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("loopback", try_connect(fd, "127.0.0.1", ntohs(any.sin_port)));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("LAN", try_connect(fd, "10.77.0.1", ntohs(any.sin_port)));
    close(fd), close(l);

    /* Bound to loopback, listening there only. */
    l = socket(AF_INET, SOCK_STREAM, 0);
    any = at("127.0.0.1", 0);
    bind(l, (void *)&any, sizeof any);
    say("listen on loopback", listen(l, 5));
    len = sizeof any;
    getsockname(l, (void *)&any, &len);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("LAN", try_connect(fd, "10.77.0.1", ntohs(any.sin_port)));
    close(fd), close(l);

    /* A normal user and a privileged port: on the LAN. Bound local ports are kept at connect. */
    l = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    any = at("0.0.0.0", 34567);
    bind(l, (void *)&any, sizeof any);
    say("connect from a chosen port", try_connect(l, "10.77.0.98", 80));
    len = sizeof any;
    getsockname(l, (void *)&any, &len);
    printf("port: %d\n", ntohs(any.sin_port));
    close(l);

    /* A socket bound elsewhere stays there. */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    any = at("127.0.0.1", 0);
    bind(fd, (void *)&any, sizeof any);
    say("from loopback to the LAN", try_connect(fd, "10.77.0.98", 80) < 0);
    close(fd);

    /* Bound to the LAN's interface: there, and nowhere else. */
    l = socket(AF_INET, SOCK_STREAM, 0);
    say("bound to the LAN", setsockopt(l, SOL_SOCKET, SO_BINDTODEVICE, "zttest", 6));
    any = at("0.0.0.0", 0);
    bind(l, (void *)&any, sizeof any);
    listen(l, 5);
    len = sizeof any;
    getsockname(l, (void *)&any, &len);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    say("its port on loopback", try_connect(fd, "127.0.0.1", ntohs(any.sin_port)));
    say("its port on the LAN", try_connect(fd, "10.77.0.1", ntohs(any.sin_port)));
    close(fd), close(l);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "zttest", 6);
    say("from the LAN to loopback", try_connect(fd, "127.0.0.1", 1));
    say("from the LAN to elsewhere", try_connect(fd, "192.0.2.1", 1));
    say("to the LAN", try_connect(fd, "10.77.0.98", 80));
    close(fd);

    /* Cancelling a blocking connect, and no descriptor left over (the control connection may be). */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    cancel("connect", blocked_connect, &fd);
    close(fd);

    /* Rings would go round the library. */
    say("io_uring_setup", syscall(425, 8, NULL));
    return 0;
}
