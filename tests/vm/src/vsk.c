/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsk: the few things a shell script needs to do with vsock inside a guest.
 *   vsk cid                     print the local CID
 *   vsk wait CID PORT SECONDS   wait until a connect succeeds
 *   vsk try CID PORT [to-host]  one blocking connect: prints ok or the errno's name, and the milliseconds it took;
 *                               to-host sets VMADDR_FLAG_TO_HOST
 *   vsk cat CID PORT            connect; stdin to it, half-close at the end of stdin, from it to stdout
 *   vsk echo PORT               serve: send back what comes, half-close when the peer does
 *   vsk who PORT COUNT          serve COUNT connections: print the peer's CID, send one line, close
 *   vsk hold CID PORT SECONDS   connect, then print with the time what poll() and recv() report, and at the end of the
 *                               stream what SO_ERROR and send() say
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_vm address(unsigned cid, unsigned port)
{
    struct sockaddr_vm a;
    memset(&a, 0, sizeof a);
    a.svm_family = AF_VSOCK;
    a.svm_cid = cid;
    a.svm_port = port;
    return a;
}

static unsigned char dial_flags;

static int dial(unsigned cid, unsigned port)
{
    struct sockaddr_vm a = address(cid, port);
    a.svm_flags = dial_flags;
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static int serve(unsigned port)
{
    struct sockaddr_vm a = address(VMADDR_CID_ANY, port);
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 128) < 0) {
        perror("vsk: listen");
        exit(1);
    }
    return fd;
}

static int put(int fd, const char *p, ssize_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0)
            return -1;
        p += w;
        n -= w;
    }
    return 0;
}

static int cat(int fd)
{
    char b[65536];
    struct pollfd p[2] = {{0, POLLIN, 0}, {fd, POLLIN, 0}};
    for (;;) {
        if (poll(p, 2, -1) < 0)
            return 1;
        if (p[0].revents) {
            ssize_t n = read(0, b, sizeof b);
            if (n <= 0) {
                shutdown(fd, SHUT_WR);
                p[0].fd = -1;
            } else if (put(fd, b, n) < 0) {
                perror("vsk: send");
                return 1;
            }
        }
        if (p[1].revents) {
            ssize_t n = read(fd, b, sizeof b);
            if (n < 0) {
                perror("vsk: recv");
                return 1;
            }
            if (n == 0)
                return 0;
            if (put(1, b, n) < 0)
                return 1;
        }
    }
}

static int hold(int fd, double seconds)
{
    double start = now(), left;
    char b[4096];
    printf("%7.3f connected\n", 0.0);
    fflush(stdout);
    while ((left = start + seconds - now()) > 0) {
        struct pollfd p = {fd, POLLIN | POLLRDHUP, 0};
        if (poll(&p, 1, (int)(left * 1000)) <= 0)
            continue;
        ssize_t n = recv(fd, b, sizeof b, MSG_DONTWAIT);
        printf("%7.3f poll=%s%s%s%s recv=%zd%s%s\n", now() - start, p.revents & POLLIN ? "IN " : "",
               p.revents & POLLRDHUP ? "RDHUP " : "", p.revents & POLLHUP ? "HUP " : "",
               p.revents & POLLERR ? "ERR" : "", n, n < 0 ? " " : "", n < 0 ? strerrorname_np(errno) : "");
        fflush(stdout);
        if (n <= 0) {
            int e = 0;
            socklen_t len = sizeof e;
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
            printf("%7.3f SO_ERROR=%s, ", now() - start, e ? strerrorname_np(e) : "0");
            printf("send=%s\n", send(fd, "x", 1, MSG_NOSIGNAL) < 0 ? strerrorname_np(errno) : "ok");
            return 0;
        }
    }
    printf("%7.3f still nothing\n", now() - start);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    unsigned a = argc > 2 ? strtoul(argv[2], 0, 0) : 0, b = argc > 3 ? strtoul(argv[3], 0, 0) : 0;
    double c = argc > 4 ? atof(argv[4]) : 10, start = now();
    int fd;

    signal(SIGPIPE, SIG_IGN);
    if (!strcmp(verb, "cid") && argc == 2) {
        unsigned cid = 0;
        fd = open("/dev/vsock", O_RDONLY);
        if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0) {
            perror("vsk: /dev/vsock");
            return 1;
        }
        printf("%u\n", cid);
        return 0;
    }
    if (!strcmp(verb, "wait") && argc == 5) {
        do {
            fd = dial(a, b);
            if (fd >= 0)
                return 0;
            usleep(50000);
        } while (now() - start < c);
        perror("vsk: wait");
        return 1;
    }
    if (!strcmp(verb, "try") && (argc == 4 || (argc == 5 && !strcmp(argv[4], "to-host")))) {
        dial_flags = argc == 5 ? VMADDR_FLAG_TO_HOST : 0;
        fd = dial(a, b);
        printf("%s %.0f ms\n", fd >= 0 ? "ok" : strerrorname_np(errno), (now() - start) * 1000);
        return 0;
    }
    if (!strcmp(verb, "cat") && argc == 4) {
        fd = dial(a, b);
        if (fd >= 0)
            return cat(fd);
        perror("vsk: connect");
        return 1;
    }
    if (!strcmp(verb, "hold") && argc == 5) {
        fd = dial(a, b);
        if (fd >= 0)
            return hold(fd, c);
        perror("vsk: connect");
        return 1;
    }
    if (!strcmp(verb, "echo") && argc == 3) {
        int l = serve(a);
        signal(SIGCHLD, SIG_IGN);
        while ((fd = accept(l, 0, 0)) >= 0) {
            if (fork() == 0) {
                char buf[65536];
                ssize_t n;
                while ((n = read(fd, buf, sizeof buf)) > 0)
                    if (put(fd, buf, n) < 0)
                        _exit(1);
                shutdown(fd, SHUT_WR);
                _exit(0);
            }
            close(fd);
        }
        return 1;
    }
    if (!strcmp(verb, "who") && argc == 4) {
        int l = serve(a);
        while (b-- > 0) {
            struct sockaddr_vm peer;
            socklen_t len = sizeof peer;
            char line[100];
            fd = accept(l, (struct sockaddr *)&peer, &len);
            if (fd < 0)
                return 1;
            printf("peer %u:%u\n", peer.svm_cid, peer.svm_port);
            fflush(stdout);
            put(fd, line, snprintf(line, sizeof line, "you are %u:%u\n", peer.svm_cid, peer.svm_port));
            close(fd);
        }
        return 0;
    }
    fputs("usage: vsk cid | wait CID PORT SECONDS | try CID PORT [to-host] | cat CID PORT | hold CID PORT SECONDS | echo PORT | "
          "who PORT COUNT\n", stderr);
    return 2;
}
