/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enclave: a stand-in for the program in an enclave. It serves on vsock and calls its parent, as a TEE service does.
 *   8080  answers any request head with an HTTP response that names this CID and the peer, then half-closes
 *   8443  echoes bytes, half-closes when the peer does
 * and connects to PARENT:5000 and PARENT:8444 every second until it got through once on each: says "hello from CID"
 * and prints the answer. PARENT is $TEELAB_PARENT_CID (3 in Nitro, 2 under vhost).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static unsigned my_cid, parent_cid;

static struct sockaddr_vm address(unsigned cid, unsigned port)
{
    struct sockaddr_vm a;
    memset(&a, 0, sizeof a);
    a.svm_family = AF_VSOCK;
    a.svm_cid = cid;
    a.svm_port = port;
    return a;
}

static int put(int fd, const char *p, ssize_t n)
{
    while (n > 0) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w < 0)
            return -1;
        p += w;
        n -= w;
    }
    return 0;
}

struct conn {
    int fd;
    unsigned port;
    struct sockaddr_vm peer;
};

static void *serve_one(void *arg)
{
    struct conn c = *(struct conn *)arg;
    char b[65536];
    ssize_t n;
    free(arg);
    if (c.port == 8080) {
        size_t have = 0;
        while (have < sizeof b - 1 && (n = read(c.fd, b + have, sizeof b - 1 - have)) > 0) {
            have += n;
            b[have] = 0;
            if (strstr(b, "\r\n\r\n"))
                break;
        }
        char body[200], head[300];
        int len = snprintf(body, sizeof body, "enclave %u, peer %u:%u\n", my_cid, c.peer.svm_cid, c.peer.svm_port);
        put(c.fd, head, snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len));
        put(c.fd, body, len);
        shutdown(c.fd, SHUT_WR);
        while (read(c.fd, b, sizeof b) > 0)
            ;
    } else {
        while ((n = read(c.fd, b, sizeof b)) > 0)
            if (put(c.fd, b, n) < 0)
                break;
        shutdown(c.fd, SHUT_WR);
    }
    close(c.fd);
    return NULL;
}

static void *listener(void *arg)
{
    unsigned port = (unsigned)(size_t)arg;
    struct sockaddr_vm a = address(VMADDR_CID_ANY, port);
    int l = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof a) < 0 || listen(l, 1024) < 0) {
        perror("enclave: listen");
        exit(1);
    }
    for (;;) {
        struct conn *c = malloc(sizeof *c);
        socklen_t len = sizeof c->peer;
        pthread_t t;
        c->port = port;
        c->fd = accept(l, (struct sockaddr *)&c->peer, &len);
        if (c->fd < 0) {
            perror("enclave: accept");
            free(c);
            usleep(10000);
            continue;
        }
        if (pthread_create(&t, NULL, serve_one, c) == 0)
            pthread_detach(t);
        else
            close(c->fd);
    }
}

static void *caller(void *arg)
{
    unsigned port = (unsigned)(size_t)arg;
    struct sockaddr_vm a = address(parent_cid, port);
    for (;; sleep(1)) {
        int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
        char b[200];
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
            ssize_t n;
            put(fd, b, snprintf(b, sizeof b, "hello from %u\n", my_cid));
            shutdown(fd, SHUT_WR);
            n = read(fd, b, sizeof b - 1);
            if (n > 0) {
                b[n] = 0;
                printf("enclave %u: parent %u:%u answered: %s", my_cid, parent_cid, port, b);
                fflush(stdout);
                close(fd);
                return NULL;
            }
        }
        close(fd);
    }
}

int main(void)
{
    const char *p = getenv("TEELAB_PARENT_CID");
    static const unsigned ports[] = {8080, 8443}, calls[] = {5000, 8444};
    pthread_t t;
    int fd = open("/dev/vsock", O_RDONLY);

    signal(SIGPIPE, SIG_IGN);
    if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &my_cid) < 0) {
        perror("enclave: /dev/vsock");
        return 1;
    }
    parent_cid = p && *p ? strtoul(p, 0, 0) : 3;
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t, NULL, listener, (void *)(size_t)ports[i]);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&t, NULL, caller, (void *)(size_t)calls[i]);
    printf("enclave %u: serving, parent is %u\n", my_cid, parent_cid);
    fflush(stdout);
    for (;;)
        pause();
}
