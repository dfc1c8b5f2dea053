/* fork, vfork, posix_spawn, exec, threads and daemons, with sockets of each state. */
#include "suite.h"
#include <sched.h>
#include <spawn.h>

extern char **environ;
static char text[64];

HELPER(echo_once) {
    int fd = atoi(argument[0]);
    long n = recv(fd, text, 4, MSG_WAITALL);
    return n == 4 && send(fd, "back", 4, MSG_NOSIGNAL) == 4 && peer_of(fd).len > 0 && local_of(fd).len > 0 ? 0 : 1;
}

HELPER(accept_once) {
    int fd = accept(atoi(argument[0]), NULL, NULL);
    return fd >= 0 && recv(fd, text, 4, MSG_WAITALL) == 4 && send(fd, "back", 4, MSG_NOSIGNAL) == 4 ? 0 : 1;
}

HELPER(is_closed) { return fcntl(atoi(argument[0]), F_GETFD) < 0 && errno == EBADF ? 0 : 1; }

HELPER(has_room) { return option(atoi(argument[0]), SOL_SOCKET, SO_SNDBUF) >= 16384 ? 0 : 1; }

static int status_of(pid_t pid) {
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

/* Asks and hears by the peer's socket 1. */
static void served(void) {
    peer("send 1 0 ping");
    SAY("answer", peer("recv 1 4 %d", MSG_WAITALL));
}

CASE(fork_shares_a_connection) {
    int fd = dial();
    pid_t child = fork();
    if (child == 0) _exit(send(fd, "child", 5, 0) != 5);
    line("status %d", status_of(child));
    SAY("send", send(fd, "parent", 6, 0));
    SAY("the peer reads", peer("recv 1 11 %d", MSG_WAITALL));
    line("%s", peer_data);
}

CASE(fork_and_close_in_the_parent) {
    int fd = dial();
    pid_t child = fork();
    if (child == 0) {
        long n = recv(fd, text, 4, MSG_WAITALL);
        _exit(n == 4 && send(fd, "back", 4, 0) == 4 ? 0 : 1);
    }
    close(fd);
    served();
    line("status %d", status_of(child));
    SAY("end", peer("recv 1 1"));
}

CASE(fork_connects_in_the_child) {
    struct address to = there(peer_listens(5));
    pid_t child = fork();
    if (child == 0) {
        int fd = tcp(0);
        if (connect(fd, SA(to)) < 0) _exit(1);
        _exit(send(fd, "hello", 5, 0) == 5 ? 0 : 2);
    }
    line("status %d", status_of(child));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("the peer reads", peer("recv 1 5 %d", MSG_WAITALL));
    SAY("end", peer("recv 1 1"));
}

CASE(fork_inherits_a_fresh_socket) {
    int fd = tcp(0);
    struct address to = there(peer_listens(5));
    pid_t child = fork();
    if (child == 0) {
        if (connect(fd, SA(to)) < 0) _exit(1);
        _exit(send(fd, "hello", 5, 0) == 5 ? 0 : 2);
    }
    line("status %d", status_of(child));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("the peer reads", peer("recv 1 5 %d", MSG_WAITALL));
}

CASE(options_set_by_a_child) {
    struct address to = there(peer_listens(5));
    /* The first socket of a process may be looked at more closely. */
    connect(tcp(0), SA(to));
    int fd = tcp(0);
    pid_t child = fork();
    if (child == 0) _exit(set(fd, SOL_TCP, TCP_NODELAY, 1) == 0 ? 0 : 1);
    line("status %d", status_of(child));
    SAY("connect", connect(fd, SA(to)));
    line("TCP_NODELAY: %d", option(fd, SOL_TCP, TCP_NODELAY));
}

CASE(exec_keeps_the_buffer_of_a_connection) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    line("events: %x", wait_for(fd, POLLOUT));
    SAY("accepted", peer("accept 0 1") >= 0);
    pid_t child = fork();
    if (child == 0) {
        execv(SELF, helper_arguments("has_room", fd));
        _exit(2);
    }
    line("status %d", status_of(child));
    line("own buffer: %d", option(fd, SOL_SOCKET, SO_SNDBUF) >= 16384);
}

CASE(fork_twice) {
    int l = listener(0, 5);
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            int fd = accept(l, NULL, NULL);
            _exit(recv(fd, text, 4, MSG_WAITALL) == 4 && send(fd, "back", 4, 0) == 4 ? 0 : 1);
        }
        _exit(status_of(grandchild));
    }
    peer_dials(l);
    served();
    line("status %d", status_of(child));
}

CASE(exec_with_a_connection) {
    int fd = dial();
    pid_t child = fork();
    if (child == 0) {
        execv(SELF, helper_arguments("echo_once", fd));
        _exit(127);
    }
    served();
    line("status %d", status_of(child));
}

CASE(exec_with_a_listener) {
    int l = listener(0, 5);
    pid_t child = fork();
    if (child == 0) {
        execv(SELF, helper_arguments("accept_once", l));
        _exit(127);
    }
    peer_dials(l);
    served();
    line("status %d", status_of(child));
}

CASE(exec_closes_what_is_to_be_closed) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_CLOEXEC), l = listener(SOCK_CLOEXEC, 5);
    connect(fd, SA(to));
    pid_t child = fork();
    if (child == 0) {
        execv(SELF, helper_arguments("is_closed", fd));
        _exit(127);
    }
    line("status %d", status_of(child));
    if ((child = fork()) == 0) {
        execv(SELF, helper_arguments("is_closed", l));
        _exit(127);
    }
    line("status %d", status_of(child));
}

CASE(vfork_and_exec) {
    int fd = dial();
    char **arguments = helper_arguments("echo_once", fd);
    pid_t child = vfork();
    if (child == 0) {
        execv(SELF, arguments);
        _exit(127);
    }
    served();
    line("status %d", status_of(child));
}

CASE(spawn_with_a_connection) {
    int fd = dial();
    pid_t child = -1;
    SAY("posix_spawn", posix_spawn(&child, SELF, NULL, NULL, helper_arguments("echo_once", fd), environ));
    served();
    line("status %d", status_of(child));
}

CASE(spawn_with_a_moved_connection) {
    int fd = dial();
    pid_t child = -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 77);
    posix_spawn_file_actions_addclose(&actions, fd);
    SAY("posix_spawn", posix_spawn(&child, SELF, &actions, NULL, helper_arguments("echo_once", 77), environ));
    served();
    line("status %d", status_of(child));
}

CASE(inetd_style) {
    /* The connection is the standard input and output of a program that knows nothing of sockets. */
    int fd = dial();
    pid_t child = fork();
    if (child == 0) {
        dup2(fd, 0), dup2(fd, 1);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(fd);
    peer("send 1 0 through cat");
    SAY("echo", peer("recv 1 7 %d", MSG_WAITALL));
    peer("shutdown 1 %d", SHUT_WR);
    SAY("end", peer("recv 1 1"));
    line("status %d", status_of(child));
}

CASE(daemon_with_a_listener) {
    int l = listener(0, 5), port = port_at(l);
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (fork() != 0) _exit(0);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0), dup2(null, 1), dup2(null, 2);
        if (chdir("/") < 0) _exit(1);
        int fd = accept(l, NULL, NULL);
        recv(fd, text, 4, MSG_WAITALL);
        send(fd, "back", 4, 0);
        _exit(0);
    }
    line("status %d", status_of(child));
    close(l);
    peer("tcp 1");
    SAY("the peer connects", peer("connect 1 %d %s", port, own_ip));
    served();
    SAY("end", peer("recv 1 1"));
}

CASE(a_title_over_the_environment) {
    /* nginx and sshd write their titles there. */
    for (char **entry = environ; *entry; entry++) memset(*entry, 'x', strlen(*entry));
    int fd = dial();
    SAY("send", send(fd, "x", 1, 0));
    SAY("the peer reads", peer("recv 1 1"));
    clearenv();
    fd = dial();
    SAY("send", send(fd, "x", 1, 0));
    SAY("the peer reads", peer("recv 1 1"));
}

static void *chat(void *where) {
    int fd = tcp(0), good = 0;
    struct address to = *(struct address *)where;
    if (connect(fd, SA(to)) < 0) return NULL;
    for (int i = 0; i < 20; i++) good += send(fd, "x", 1, 0) == 1;
    close(fd);
    return (void *)(long)good;
}

CASE(threads_with_connections_of_their_own) {
    struct address to = there(peer_listens(32));
    pthread_t thread[8];
    long good = 0, heard = 0;
    for (int i = 0; i < 8; i++) pthread_create(&thread[i], NULL, chat, &to);
    for (int i = 0; i < 8; i++) {
        void *count;
        peer("accept 0 1");
        heard += peer("drain 1 100");
        peer("close 1");
        pthread_join(thread[i], &count);
        good += (long)count;
    }
    line("sent %ld, heard %ld", good, heard);
}

static void *read_in_thread(void *fd) { return (void *)(long)recv(*(int *)fd, text, 4, MSG_WAITALL); }

CASE(one_thread_reads_one_writes) {
    int fd = dial();
    pthread_t reader;
    void *count;
    pthread_create(&reader, NULL, read_in_thread, &fd);
    SAY("send", send(fd, "abcd", 4, 0));
    SAY("the peer reads", peer("recv 1 4 %d", MSG_WAITALL));
    peer("send 1 0 wxyz");
    pthread_join(reader, &count);
    line("%ld", (long)count);
}

CASE(a_killed_program_closes_its_sockets) {
    int fd = dial();
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    close(fd);
    kill(child, SIGKILL);
    line("signal %d", WTERMSIG(status_of(child)));
    SAY("end", peer("recv 1 1"));
}

CASE(exit_closes_in_order) {
    struct address to = there(peer_listens(5));
    pid_t child = fork();
    if (child == 0) {
        int fd = tcp(0);
        if (connect(fd, SA(to)) < 0) _exit(1);
        _exit(send_all(fd, 500000) != 500000);
    }
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("the peer reads all", peer("drain 1 600000"));
    line("status %d", status_of(child));
}
