/* Counts, for each call, the instructions and the system calls that one use of it takes: "CALL INSTRUCTIONS CALLS".
 *
 * A child makes every call twice, the second time between two marks; its parent steps through it. So nothing depends on
 * how busy the machine is. The descriptors are ordinary ones: a connection over loopback, a Unix pair, a file, a pipe.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int sink;
__attribute__((noinline)) static void begin(void) { sink++; }
__attribute__((noinline)) static void end(void) { sink--; }

#ifdef __x86_64__
#define PC(registers) (registers).rip
#define IS_CALL(word) (((word) & 0xffff) == 0x050f)
#else
#define PC(registers) (registers).pc
#define IS_CALL(word) (((word) & 0xffffffff) == 0xd4000001)
#endif

static char byte[4096];
static int connected, peer, listener, local, other, file, in, out, poller, one = 1;
static struct iovec vector = {byte, 1};
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
static struct mmsghdr batch = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};
static struct sockaddr_storage address;
static socklen_t length;
static struct epoll_event event = {.events = EPOLLIN};

#define CALLS(DO) \
    DO("read of a connection", read(connected, byte, 1)) \
    DO("recv", recv(connected, byte, 1, 0)) \
    DO("recvfrom", recvfrom(connected, byte, 1, 0, NULL, NULL)) \
    DO("recvmsg", recvmsg(connected, &message, 0)) \
    DO("readv", readv(connected, &vector, 1)) \
    DO("recvfrom by its number", syscall(SYS_recvfrom, connected, byte, 1L, 0L, NULL, NULL)) \
    DO("recvmmsg", recvmmsg(connected, &batch, 1, 0, NULL)) \
    DO("preadv2 by its number", syscall(SYS_preadv2, connected, &vector, 1L, -1L, -1L, 0L)) \
    DO("recv of nothing", recv(connected, byte, 1, MSG_DONTWAIT)) \
    DO("write to a connection", write(connected, byte, 1)) \
    DO("send", send(connected, byte, 1, 0)) \
    DO("sendto", sendto(connected, byte, 1, 0, NULL, 0)) \
    DO("sendmsg", sendmsg(connected, &message, 0)) \
    DO("writev", writev(connected, &vector, 1)) \
    DO("read of a pair", read(local, byte, 1)) \
    DO("write to a pair", write(local, byte, 1)) \
    DO("read of a file", read(file, byte, 1)) \
    DO("end of a file", read(file, byte, sizeof byte)) \
    DO("read of a pipe", read(in, byte, 1)) \
    DO("write to a pipe", write(out, byte, 1)) \
    DO("read of a bad descriptor", read(-1, byte, 1)) \
    DO("getsockname", getsockname(connected, (void *)&address, &length)) \
    DO("getpeername", getpeername(connected, (void *)&address, &length)) \
    DO("getsockname of a pair", getsockname(local, (void *)&address, &length)) \
    DO("getpeername of a pair", getpeername(local, (void *)&address, &length)) \
    DO("getsockopt", getsockopt(connected, SOL_SOCKET, SO_ERROR, byte, &length)) \
    DO("getsockopt of a pair", getsockopt(local, SOL_SOCKET, SO_ERROR, byte, &length)) \
    DO("setsockopt", setsockopt(connected, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one)) \
    DO("accept of nothing", accept4(listener, NULL, NULL, SOCK_NONBLOCK)) \
    DO("fcntl", fcntl(connected, F_GETFL)) \
    DO("ioctl", ioctl(connected, FIONREAD, byte)) \
    DO("dup2", dup2(connected, 99)) \
    DO("getppid by its number", syscall(SYS_getppid)) \
    DO("epoll_ctl", epoll_ctl(poller, EPOLL_CTL_MOD, connected, &event))

static void quit(const char *what) {
    perror(what);
    exit(1);
}

static void prepare(void) {
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int pair[2], pipes[2];
    socklen_t len = sizeof loopback;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&loopback, len) || listen(listener, 5)) quit("listener");
    if (getsockname(listener, (void *)&loopback, &len)) quit("name");
    connected = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connected, (void *)&loopback, len)) quit("connect");
    peer = accept(listener, NULL, NULL);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || pipe(pipes)) quit("pairs");
    local = pair[0], other = pair[1], in = pipes[0], out = pipes[1];
    file = open("/proc/self/exe", O_RDONLY);
    poller = epoll_create1(0);
    if (file < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, connected, &event)) quit("file or epoll");
    /* Exactly what the receives above take, twice each. */
    if (write(peer, byte, 16) != 16 || write(other, byte, 2) != 2 || write(out, byte, 2) != 2) quit("write");
}

static void child(void) {
    prepare();
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
#define MAKE(name, call) \
    length = sizeof address; \
    if (!strcmp(name, "end of a file")) lseek(file, 0, SEEK_END); \
    (void)!(call); \
    begin(); \
    (void)!(call); \
    end();
    CALLS(MAKE)
    _exit(0);
}

int main(void) {
#define NAME(name, call) name,
    const char *names[] = {CALLS(NAME)};
    pid_t pid = fork();
    if (pid == 0) child();
    int status, counting = 0;
    unsigned long instructions = 0, calls = 0, at = 0;
    for (;;) {
        struct user_regs_struct registers;
        struct iovec all = {&registers, sizeof registers};
        if (waitpid(pid, &status, 0) < 0) quit("wait");
        if (WIFEXITED(status)) break;
        if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &all) < 0) quit("step");
        uintptr_t place = PC(registers);
        if (place == (uintptr_t)begin) {
            counting = 1, instructions = calls = 0;
        } else if (place == (uintptr_t)end && counting) {
            printf("%s\t%lu\t%lu\n", names[at++], instructions, calls);
            counting = 0;
        } else if (counting) {
            instructions++;
            calls += IS_CALL(ptrace(PTRACE_PEEKTEXT, pid, (void *)place, 0)) != 0;
        }
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) < 0) quit("ptrace");
    }
    return WEXITSTATUS(status) || at != sizeof names / sizeof *names;
}
