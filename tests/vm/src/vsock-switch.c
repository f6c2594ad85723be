/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock-switch: connects guests by vsock, as the Nitro hypervisor connects a parent and its enclaves. Each guest has
 * a vhost-user-vsock device, whose back end this is: it takes the packets out of one guest's transmit ring and puts
 * them into another's receive ring, by CID. It terminates nothing: the guests' kernels speak to each other, and do
 * the flow control themselves.
 *
 *   vsock-switch [--unknown drop|rst] [--death rst|silent] [-v] CID=SOCKET...
 *
 * --unknown: what a packet to a CID with no running guest gets: nothing (default; a connect then times out in the
 *            sender's kernel), or a reset (ECONNRESET at once).
 * --death:   when a guest goes away, its peers get a reset for every connection they had with it (default), or
 *            nothing.
 * It prints "ready" once all sockets listen, and statistics at SIGTERM, its end.
 *
 * One thread, one epoll. Split virtqueues, no indirect descriptors, no event index (neither is offered). What a guest
 * writes into its rings is checked; a guest that breaks the rules is cut off.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_vsock.h>

// The vhost-user protocol, as far as a vsock device needs it.
enum {
    GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, RESET_OWNER = 4, SET_MEM_TABLE = 5, SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9, SET_VRING_BASE = 10, GET_VRING_BASE = 11, SET_VRING_KICK = 12, SET_VRING_CALL = 13,
    SET_VRING_ERR = 14, GET_PROTOCOL_FEATURES = 15, SET_PROTOCOL_FEATURES = 16, GET_QUEUE_NUM = 17,
    SET_VRING_ENABLE = 18, GET_CONFIG = 24, SET_CONFIG = 25
};
#define FLAG_VERSION 1u
#define FLAG_REPLY 4u
#define FLAG_NEED_REPLY 8u
#define FEATURES (1ull << 32 /* VIRTIO_F_VERSION_1 */ | 1ull << 30 /* VHOST_USER_F_PROTOCOL_FEATURES */)
#define PROTOCOL_FEATURES (1ull << 3 /* REPLY_ACK */ | 1ull << 9 /* CONFIG */)
#define NO_FD (1u << 8)

struct message {
    uint32_t request, flags, size;
    union {
        uint64_t u64;
        struct { uint32_t index, num; } state;
        struct { uint32_t index, flags; uint64_t desc, used, avail, log; } addr;
        struct {
            uint32_t count, padding;
            struct { uint64_t guest, size, user, offset; } region[8];
        } memory;
        struct { uint32_t offset, size, flags; uint8_t data[256]; } config;
        uint8_t bytes[512];
    };
} __attribute__((packed));
#define HEADER 12

struct region {
    uint64_t guest, size, user, offset;
    uint8_t *map;
    size_t map_size;
};

struct ring {
    unsigned num;
    int enabled, kick, call;
    uint64_t desc_user, avail_user, used_user;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t seen; // next entry of avail to take
};

struct packet {
    struct packet *next;
    size_t sent; // payload bytes delivered so far
    struct virtio_vsock_hdr h;
    uint8_t payload[];
};

#define RX 0 // the guest receives
#define TX 1 // the guest sends
#define MAX_GUESTS 64
#define MAX_PAYLOAD 65536
#define MAX_BACKLOG (64u << 20) // bytes held for one guest before others have to wait

struct guest {
    uint64_t cid;
    const char *path;
    int listener, fd;
    struct region region[8];
    unsigned regions;
    struct ring ring[2];
    struct packet *head, **tail;
    size_t backlog;
    int stalled; // its transmit ring waits for a backlog to shrink
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, unknown, dropped;
};

// A connection between two guests, kept only to tell the survivor when one of them goes.
struct link {
    struct link *next;
    uint64_t cid[2];
    uint32_t port[2];
    uint16_t type;
};

static struct guest guests[MAX_GUESTS];
static unsigned n_guests;
static struct link *links[65536];
static int ep, unknown_rst, death_silent, verbose;

static void note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    putchar('\n');
    fflush(stdout);
    va_end(ap);
}

// epoll carries which guest and which of its descriptors.
enum { LISTENER, CONNECTION, KICK_RX, KICK_TX };
static void watch(int fd, unsigned guest, unsigned what)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)guest << 8 | what};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static struct guest *by_cid(uint64_t cid)
{
    for (unsigned i = 0; i < n_guests; i++)
        if (guests[i].cid == cid)
            return &guests[i];
    return NULL;
}

static int running(const struct ring *r) { return r->enabled && r->kick >= 0 && r->desc; }

// ---------------------------------------------------------------------------------------------- guest memory

static void *at_guest(struct guest *g, uint64_t addr, uint64_t len)
{
    for (unsigned i = 0; i < g->regions; i++) {
        struct region *r = &g->region[i];
        if (addr >= r->guest && addr - r->guest < r->size && len <= r->size - (addr - r->guest))
            return r->map + r->offset + (addr - r->guest);
    }
    return NULL;
}

static void *at_user(struct guest *g, uint64_t addr, uint64_t len)
{
    for (unsigned i = 0; i < g->regions; i++) {
        struct region *r = &g->region[i];
        if (addr >= r->user && addr - r->user < r->size && len <= r->size - (addr - r->user))
            return r->map + r->offset + (addr - r->user);
    }
    return NULL;
}

static void unmap(struct guest *g)
{
    for (unsigned i = 0; i < g->regions; i++)
        munmap(g->region[i].map, g->region[i].map_size);
    g->regions = 0;
    for (int i = 0; i < 2; i++)
        g->ring[i].desc = NULL;
}

static int place_ring(struct guest *g, struct ring *r)
{
    if (!r->num || !r->desc_user)
        return 0;
    r->desc = at_user(g, r->desc_user, 16ull * r->num);
    r->avail = at_user(g, r->avail_user, 6 + 2ull * r->num);
    r->used = at_user(g, r->used_user, 6 + 8ull * r->num);
    if (!r->desc || !r->avail || !r->used)
        r->desc = NULL;
    return r->desc ? 0 : -1;
}

// ---------------------------------------------------------------------------------------------- virtqueues

#define MAX_SEGMENTS 64
struct segments {
    uint16_t head;
    unsigned n;
    size_t total;
    struct { uint8_t *at; size_t len; } s[MAX_SEGMENTS];
};

// The next buffer of a ring without taking it. 1: there is one; 0: none; -1: the guest's rings make no sense.
static int next_buffer(struct guest *g, struct ring *r, int writable, struct segments *out)
{
    uint16_t avail = __atomic_load_n(&r->avail->idx, __ATOMIC_ACQUIRE), d;
    unsigned count = 0;
    if (avail == r->seen)
        return 0;
    if ((uint16_t)(avail - r->seen) > r->num)
        return -1;
    out->head = d = r->avail->ring[r->seen % r->num];
    out->n = 0;
    out->total = 0;
    for (;;) {
        if (d >= r->num || count++ >= r->num || out->n == MAX_SEGMENTS)
            return -1;
        struct vring_desc v = r->desc[d];
        if (!!(v.flags & VRING_DESC_F_WRITE) == writable) {
            uint8_t *at = at_guest(g, v.addr, v.len);
            if (!at || (v.flags & VRING_DESC_F_INDIRECT))
                return -1;
            out->s[out->n].at = at;
            out->s[out->n++].len = v.len;
            out->total += v.len;
        }
        if (!(v.flags & VRING_DESC_F_NEXT))
            return 1;
        d = v.next;
    }
}

static void give_back(struct ring *r, uint16_t head, uint32_t written)
{
    uint16_t i = r->used->idx;
    r->used->ring[i % r->num].id = head;
    r->used->ring[i % r->num].len = written;
    __atomic_store_n(&r->used->idx, (uint16_t)(i + 1), __ATOMIC_RELEASE);
    r->seen++;
}

static void interrupt(struct ring *r)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (r->call >= 0 && !(r->avail->flags & VRING_AVAIL_F_NO_INTERRUPT))
        eventfd_write(r->call, 1);
}

static size_t copy(struct segments *s, size_t skip, void *data, size_t len, int to_guest)
{
    uint8_t *p = data;
    size_t done = 0;
    for (unsigned i = 0; i < s->n && done < len; i++) {
        if (skip >= s->s[i].len) {
            skip -= s->s[i].len;
            continue;
        }
        size_t k = s->s[i].len - skip;
        if (k > len - done)
            k = len - done;
        if (to_guest)
            memcpy(s->s[i].at + skip, p + done, k);
        else
            memcpy(p + done, s->s[i].at + skip, k);
        done += k;
        skip = 0;
    }
    return done;
}

// ---------------------------------------------------------------------------------------------- connections

static unsigned hash(uint64_t c, uint32_t p, uint64_t d, uint32_t q)
{
    // the same for both directions
    return ((c * 31 + p) * 2654435761u ^ (d * 31 + q) * 2654435761u) >> 16 & 65535;
}

static void remember(const struct virtio_vsock_hdr *h)
{
    unsigned k = hash(h->src_cid, h->src_port, h->dst_cid, h->dst_port);
    for (struct link *l = links[k]; l; l = l->next)
        for (int i = 0; i < 2; i++)
            if (l->cid[i] == h->src_cid && l->port[i] == h->src_port && l->cid[!i] == h->dst_cid && l->port[!i] == h->dst_port)
                return;
    struct link *l = malloc(sizeof *l);
    if (!l)
        abort();
    *l = (struct link){links[k], {h->src_cid, h->dst_cid}, {h->src_port, h->dst_port}, h->type};
    links[k] = l;
}

static void forget(const struct virtio_vsock_hdr *h)
{
    struct link **p = &links[hash(h->src_cid, h->src_port, h->dst_cid, h->dst_port)];
    for (; *p; p = &(*p)->next)
        for (int i = 0; i < 2; i++)
            if ((*p)->cid[i] == h->src_cid && (*p)->port[i] == h->src_port && (*p)->cid[!i] == h->dst_cid && (*p)->port[!i] == h->dst_port) {
                struct link *gone = *p;
                *p = gone->next;
                free(gone);
                return;
            }
}

// ---------------------------------------------------------------------------------------------- the switch

static void hang_up(struct guest *g, const char *why);
static void deliver(struct guest *g);

static void enqueue(struct guest *to, struct packet *p)
{
    p->next = NULL;
    *to->tail = p;
    to->tail = &p->next;
    to->backlog += sizeof *p + p->h.len;
}

static void send_reset(struct guest *to, const struct virtio_vsock_hdr *h)
{
    struct packet *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->h = (struct virtio_vsock_hdr){.src_cid = h->dst_cid, .dst_cid = h->src_cid, .src_port = h->dst_port, .dst_port = h->src_port, .type = h->type,
        .op = VIRTIO_VSOCK_OP_RST};
    enqueue(to, p);
}

static void route(struct guest *from, struct packet *p)
{
    struct guest *to = by_cid(p->h.dst_cid);
    from->tx_packets++;
    from->tx_bytes += p->h.len;
    if (verbose)
        note("%llu:%u > %llu:%u op %u len %u flags %u", (unsigned long long)p->h.src_cid, p->h.src_port, (unsigned long long)p->h.dst_cid, p->h.dst_port, p->h.op, p->h.len,
             p->h.flags);
    if (p->h.src_cid != from->cid) {
        from->dropped++;
        free(p);
        return;
    }
    if (!to || !running(&to->ring[RX]) || to == from) {
        from->unknown++;
        if (unknown_rst && p->h.op != VIRTIO_VSOCK_OP_RST)
            send_reset(from, &p->h);
        free(p);
        return;
    }
    if (p->h.op == VIRTIO_VSOCK_OP_REQUEST)
        remember(&p->h);
    else if (p->h.op == VIRTIO_VSOCK_OP_RST)
        forget(&p->h);
    enqueue(to, p);
}

// Puts what is held for a guest into its receive ring, as far as there are buffers.
static void deliver(struct guest *g)
{
    struct ring *r = &g->ring[RX];
    struct segments s;
    int some = 0;
    if (!running(r))
        return;
    while (g->head) {
        struct packet *p = g->head;
        int k = next_buffer(g, r, 1, &s);
        if (k < 0 || (k > 0 && s.total <= sizeof p->h)) {
            hang_up(g, "its receive ring makes no sense");
            return;
        }
        if (k == 0)
            break;
        // A packet larger than the buffer goes in parts, as the kernel's vhost does it.
        struct virtio_vsock_hdr h = p->h;
        size_t part = p->h.len - p->sent;
        if (part > s.total - sizeof h)
            part = s.total - sizeof h;
        h.len = part;
        copy(&s, 0, &h, sizeof h, 1);
        copy(&s, sizeof h, p->payload + p->sent, part, 1);
        give_back(r, s.head, sizeof h + part);
        some = 1;
        g->rx_packets++;
        g->rx_bytes += part;
        p->sent += part;
        if (p->sent < p->h.len)
            continue;
        g->head = p->next;
        if (!g->head)
            g->tail = &g->head;
        g->backlog -= sizeof *p + p->h.len;
        free(p);
    }
    if (some)
        interrupt(r);
}

static int someone_is_full(void)
{
    for (unsigned i = 0; i < n_guests; i++)
        if (guests[i].backlog > MAX_BACKLOG)
            return 1;
    return 0;
}

// Takes what a guest has to send.
static void collect(struct guest *g)
{
    struct ring *r = &g->ring[TX];
    struct segments s;
    int some = 0;
    if (!running(r))
        return;
    g->stalled = 0;
    for (;;) {
        if (someone_is_full()) {
            g->stalled = 1;
            break;
        }
        int k = next_buffer(g, r, 0, &s);
        if (k == 0)
            break;
        struct virtio_vsock_hdr h;
        if (k < 0 || copy(&s, 0, &h, sizeof h, 0) != sizeof h || h.len > MAX_PAYLOAD || s.total < sizeof h + h.len) {
            hang_up(g, "its transmit ring makes no sense");
            return;
        }
        struct packet *p = malloc(sizeof *p + h.len);
        if (!p)
            abort();
        p->h = h;
        p->sent = 0;
        copy(&s, sizeof h, p->payload, h.len, 0);
        give_back(r, s.head, 0);
        some = 1;
        route(g, p);
    }
    if (some)
        interrupt(r);
}

static void pump(void)
{
    for (unsigned i = 0; i < n_guests; i++)
        if (guests[i].head)
            deliver(&guests[i]);
    for (unsigned i = 0; i < n_guests; i++)
        if (guests[i].stalled && !someone_is_full()) {
            collect(&guests[i]);
            for (unsigned k = 0; k < n_guests; k++)
                if (guests[k].head)
                    deliver(&guests[k]);
        }
}

// ---------------------------------------------------------------------------------------------- vhost-user

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void hang_up(struct guest *g, const char *why)
{
    note("guest %llu: %s (sent %llu packets, %llu bytes; received %llu, %llu; to nowhere %llu; forged %llu)", (unsigned long long)g->cid, why,
         (unsigned long long)g->tx_packets, (unsigned long long)g->tx_bytes, (unsigned long long)g->rx_packets, (unsigned long long)g->rx_bytes,
         (unsigned long long)g->unknown, (unsigned long long)g->dropped);
    close_fd(&g->fd);
    for (int i = 0; i < 2; i++) {
        close_fd(&g->ring[i].kick);
        close_fd(&g->ring[i].call);
        g->ring[i] = (struct ring){.kick = -1, .call = -1};
    }
    unmap(g);
    while (g->head) {
        struct packet *p = g->head;
        g->head = p->next;
        free(p);
    }
    g->tail = &g->head;
    g->backlog = 0;
    g->stalled = 0;
    for (unsigned k = 0; k < 65536; k++)
        for (struct link **p = &links[k]; *p;) {
            struct link *l = *p;
            int i = l->cid[0] == g->cid ? 0 : l->cid[1] == g->cid ? 1 : -1;
            if (i < 0) {
                p = &l->next;
                continue;
            }
            struct guest *other = by_cid(l->cid[!i]);
            if (!death_silent && other && running(&other->ring[RX])) {
                struct virtio_vsock_hdr h = {.src_cid = l->cid[!i], .dst_cid = l->cid[i], .src_port = l->port[!i], .dst_port = l->port[i], .type = l->type};
                send_reset(other, &h);
            }
            *p = l->next;
            free(l);
        }
}

static void reply(struct guest *g, struct message *m, uint32_t size)
{
    m->flags = FLAG_VERSION | FLAG_REPLY;
    m->size = size;
    if (send(g->fd, m, HEADER + size, MSG_NOSIGNAL) != (ssize_t)(HEADER + size))
        note("guest %llu: cannot reply", (unsigned long long)g->cid);
}

static int map_memory(struct guest *g, const struct message *m, const int *fds, unsigned n_fds)
{
    unmap(g);
    if (m->memory.count > 8 || m->memory.count != n_fds || m->size < 8 + 32 * m->memory.count)
        return -1;
    for (unsigned i = 0; i < n_fds; i++) {
        struct region *r = &g->region[i];
        r->guest = m->memory.region[i].guest;
        r->size = m->memory.region[i].size;
        r->user = m->memory.region[i].user;
        r->offset = m->memory.region[i].offset;
        r->map_size = r->size + r->offset;
        r->map = mmap(NULL, r->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
        if (r->map == MAP_FAILED)
            return -1;
        g->regions++;
    }
    return place_ring(g, &g->ring[RX]) | place_ring(g, &g->ring[TX]);
}

// One message of the emulator. 0: go on; -1: it is gone or makes no sense.
static int talk(struct guest *g)
{
    struct message m;
    int fds[8], failed = 0, replied = 0;
    unsigned n_fds = 0, id = g - guests;
    char control[CMSG_SPACE(sizeof fds)];
    struct iovec iov = {&m, HEADER};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

    memset(&m, 0, sizeof m);
    if (recvmsg(g->fd, &h, MSG_WAITALL | MSG_CMSG_CLOEXEC) != HEADER)
        return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
        }
    if (m.size > sizeof m.bytes || (m.size && recv(g->fd, m.bytes, m.size, MSG_WAITALL) != (ssize_t)m.size))
        return -1;

    uint32_t flags = m.flags, index = m.request == SET_VRING_KICK || m.request == SET_VRING_CALL || m.request == SET_VRING_ERR ? m.u64 & 255 : m.state.index;
    struct ring *r = index < 2 ? &g->ring[index] : NULL;
    switch (m.request) {
    case GET_FEATURES: m.u64 = FEATURES; reply(g, &m, 8); replied = 1; break;
    case GET_PROTOCOL_FEATURES: m.u64 = PROTOCOL_FEATURES; reply(g, &m, 8); replied = 1; break;
    case GET_QUEUE_NUM: m.u64 = 2; reply(g, &m, 8); replied = 1; break;
    case GET_CONFIG: {
        uint32_t size = m.config.size;
        if (m.config.offset != 0 || size != 8) {
            failed = 1;
            break;
        }
        memcpy(m.config.data, &g->cid, 8);
        reply(g, &m, 12 + size);
        replied = 1;
        break;
    }
    case SET_FEATURES:
        // Without the protocol features, which always come with this emulator, rings would start enabled.
        failed = m.u64 & ~FEATURES ? 1 : 0;
        break;
    case SET_PROTOCOL_FEATURES:
    case SET_OWNER:
    case RESET_OWNER:
    case SET_CONFIG:
    case SET_VRING_ERR: break;
    case SET_MEM_TABLE: failed = map_memory(g, &m, fds, n_fds) != 0; break;
    case SET_VRING_NUM:
        if (!r || m.state.num == 0 || m.state.num > 32768 || m.state.num & (m.state.num - 1))
            failed = 1;
        else
            r->num = m.state.num;
        break;
    case SET_VRING_BASE:
        if (!r)
            failed = 1;
        else
            r->seen = m.state.num;
        break;
    case SET_VRING_ADDR:
        if (!r) {
            failed = 1;
            break;
        }
        r->desc_user = m.addr.desc;
        r->avail_user = m.addr.avail;
        r->used_user = m.addr.used;
        failed = place_ring(g, r) != 0;
        break;
    case SET_VRING_KICK:
        if (!r) {
            failed = 1;
            break;
        }
        close_fd(&r->kick);
        if (!(m.u64 & NO_FD) && n_fds == 1) {
            r->kick = fds[0];
            n_fds = 0;
            watch(r->kick, id, index == RX ? KICK_RX : KICK_TX);
        }
        break;
    case SET_VRING_CALL:
        if (!r) {
            failed = 1;
            break;
        }
        close_fd(&r->call);
        if (!(m.u64 & NO_FD) && n_fds == 1) {
            r->call = fds[0];
            n_fds = 0;
        }
        break;
    case SET_VRING_ENABLE:
        if (!r) {
            failed = 1;
            break;
        }
        r->enabled = m.state.num;
        if (verbose)
            note("guest %llu: ring %u %s", (unsigned long long)g->cid, index, r->enabled ? "on" : "off");
        if (r->enabled && running(r)) {
            if (index == TX)
                collect(g);
            else
                deliver(g);
        }
        break;
    case GET_VRING_BASE:
        if (!r) {
            failed = 1;
            break;
        }
        // Stops the ring: the guest's driver reset the device, or the emulator ends.
        close_fd(&r->kick);
        m.state.num = r->seen;
        reply(g, &m, 8);
        replied = 1;
        break;
    default:
        note("guest %llu: request %u is not known", (unsigned long long)g->cid, m.request);
        failed = 1;
    }
    // Region descriptors are mapped by now; whatever else came along is of no use.
    for (unsigned i = 0; i < n_fds; i++)
        close(fds[i]);
    if (failed)
        note("guest %llu: request %u failed", (unsigned long long)g->cid, m.request);
    if (!replied && (flags & FLAG_NEED_REPLY)) {
        m.u64 = failed;
        reply(g, &m, 8);
        failed = 0;
    }
    return failed ? -1 : 0;
}

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof a.sun_path) {
        fprintf(stderr, "vsock-switch: %s: too long\n", path);
        exit(2);
    }
    strcpy(a.sun_path, path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    sigset_t stop;
    int i, sig;

    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "-v"))
            verbose = 1;
        else if (!strcmp(argv[i], "--unknown") && i + 1 < argc)
            unknown_rst = !strcmp(argv[++i], "rst");
        else if (!strcmp(argv[i], "--death") && i + 1 < argc)
            death_silent = !strcmp(argv[++i], "silent");
        else
            break;
    }
    for (; i < argc && n_guests < MAX_GUESTS; i++) {
        char *eq = strchr(argv[i], '=');
        struct guest *g = &guests[n_guests];
        if (!eq || argv[i][0] == '-')
            break;
        g->cid = strtoull(argv[i], NULL, 10);
        g->path = eq + 1;
        g->fd = -1;
        g->tail = &g->head;
        g->ring[0].kick = g->ring[0].call = g->ring[1].kick = g->ring[1].call = -1;
        n_guests++;
    }
    if (i < argc || n_guests == 0) {
        fputs("usage: vsock-switch [--unknown drop|rst] [--death rst|silent] [-v] CID=SOCKET...\n", stderr);
        return 2;
    }

    ep = epoll_create1(EPOLL_CLOEXEC);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    sig = signalfd(-1, &stop, SFD_CLOEXEC);
    watch(sig, MAX_GUESTS, 0);
    for (unsigned k = 0; k < n_guests; k++) {
        guests[k].listener = listen_at(guests[k].path);
        watch(guests[k].listener, k, LISTENER);
    }
    note("ready");

    for (;;) {
        struct epoll_event e[32];
        int n = epoll_wait(ep, e, 32, -1);
        for (int k = 0; k < n; k++) {
            unsigned id = e[k].data.u64 >> 8, what = e[k].data.u64 & 255;
            eventfd_t count;
            if (id == MAX_GUESTS) {
                for (unsigned j = 0; j < n_guests; j++)
                    if (guests[j].fd >= 0)
                        hang_up(&guests[j], "stopped with the switch");
                return 0;
            }
            struct guest *g = &guests[id];
            switch (what) {
            case LISTENER: {
                int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0)
                    break;
                if (g->fd >= 0) {
                    // A new incarnation before the old one was seen to go.
                    hang_up(g, "replaced");
                }
                g->fd = fd;
                g->rx_packets = g->rx_bytes = g->tx_packets = g->tx_bytes = g->unknown = g->dropped = 0;
                watch(fd, id, CONNECTION);
                note("guest %llu: here", (unsigned long long)g->cid);
                break;
            }
            case CONNECTION:
                if (g->fd >= 0 && talk(g) < 0)
                    hang_up(g, "gone");
                break;
            case KICK_RX:
                if (g->ring[RX].kick >= 0 && read(g->ring[RX].kick, &count, sizeof count) == sizeof count)
                    deliver(g);
                break;
            case KICK_TX:
                if (g->ring[TX].kick >= 0 && read(g->ring[TX].kick, &count, sizeof count) == sizeof count)
                    collect(g);
                break;
            }
        }
        pump();
    }
}
