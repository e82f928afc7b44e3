/* The processes of a libzmq system: `proxy`, `worker` and `client`, which speak
 * with the harness as the Go programs do. Errors go to stderr and end the
 * process with status 1; it ends with its standard input.
 *
 *   peer proxy  SECURE SERVER_SECRET
 *   peer worker SECURE SERVER_PUBLIC PUBLIC SECRET ENDPOINT CONNECTIONS
 *   peer client SECURE SERVER_PUBLIC PUBLIC SECRET ENDPOINT
 *   peer crowd  SECURE SERVER_PUBLIC PUBLIC SECRET ENDPOINT
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

static void die(const char *what) {
	fprintf(stderr, "%s: %s\n", what, zmq_strerror(zmq_errno()));
	exit(1);
}
#define CHECK(call) do { if ((call) < 0) die(#call); } while (0)

static double now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* The processor seconds of a process so far; 0 if pid is 0: there is none. */
static double cpu(int pid) {
	struct timespec ts;
	clockid_t clock;
	if (pid == 0) return 0;
	int failed = clock_getcpuclockid(pid, &clock);
	if (!failed && clock_gettime(clock, &ts)) failed = errno;
	if (failed) {
		fprintf(stderr, "the processor time of process %d: %s\n", pid, strerror(failed));
		exit(1);
	}
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* Adds the processor seconds of the client, of the broker and of the workers, times
 * sign, to sum. */
static void add_cpu(double *sum, int sign, const int *pids) {
	sum[0] += sign * cpu(getpid());
	sum[1] += sign * cpu(pids[0]);
	sum[2] += sign * (cpu(pids[1]) + cpu(pids[2]));
}

static void *make(void *ctx, int type) {
	void *s = zmq_socket(ctx, type);
	int zero = 0;
	if (!s) die("zmq_socket");
	/* No message is dropped, and none stops a sender: the work is bounded by
	 * the calls in flight. */
	CHECK(zmq_setsockopt(s, ZMQ_SNDHWM, &zero, sizeof zero));
	CHECK(zmq_setsockopt(s, ZMQ_RCVHWM, &zero, sizeof zero));
	CHECK(zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero));
	return s;
}

static void as_server(void *s, int secure, const char *secret) {
	int one = 1;
	if (!secure) return;
	CHECK(zmq_setsockopt(s, ZMQ_CURVE_SERVER, &one, sizeof one));
	CHECK(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, secret, 41));
}

static void as_client(void *s, int secure, char **keys) {
	if (!secure) return;
	CHECK(zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, keys[0], 41));
	CHECK(zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, keys[1], 41));
	CHECK(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, keys[2], 41));
}

static void *end_with_input(void *unused) {
	char buf[256];
	while (read(0, buf, sizeof buf) > 0) {}
	_exit(0);
	return unused;
}

static void watch_input(void) {
	pthread_t t;
	if (pthread_create(&t, NULL, end_with_input, NULL)) die("pthread_create");
}

static void bind_any(void *s, char *endpoint, size_t size) {
	CHECK(zmq_bind(s, "tcp://127.0.0.1:*"));
	CHECK(zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, endpoint, &size));
}

/* Makes connections to one endpoint, which begins with tcp://. A DEALER ignores
 * a second zmq_connect to what it is connected to; each has a source address of
 * its own on the loopback network, and so another name. */
static void connect_all(void *s, const char *endpoint, int connections) {
	char from[256];
	CHECK(zmq_connect(s, endpoint));
	for (int i = 1; i < connections; i++) {
		snprintf(from, sizeof from, "tcp://127.1.%d.%d:0;%s", i / 250, 1 + i % 250, endpoint + strlen("tcp://"));
		CHECK(zmq_connect(s, from));
	}
}

static int proxy(void *ctx, int secure, const char *secret) {
	void *front = make(ctx, ZMQ_ROUTER), *back = make(ctx, ZMQ_DEALER);
	char f[256], b[256];
	int backlog = 4096;
	CHECK(zmq_setsockopt(front, ZMQ_BACKLOG, &backlog, sizeof backlog));
	CHECK(zmq_setsockopt(back, ZMQ_BACKLOG, &backlog, sizeof backlog));
	as_server(front, secure, secret);
	as_server(back, secure, secret);
	bind_any(front, f, sizeof f);
	bind_any(back, b, sizeof b);
	printf("{\"ready\":\"%s %s\"}\n", f, b);
	zmq_proxy(front, back, NULL);
	return 1;
}

/* Reports each handshake of a socket that succeeds. */
static void *watch_handshakes(void *ctx, void *s) {
	static int watched;
	char events[64];
	void *monitor = zmq_socket(ctx, ZMQ_PAIR);
	if (!monitor) die("zmq_socket");
	snprintf(events, sizeof events, "inproc://events-%d", watched++);
	CHECK(zmq_socket_monitor(s, events, ZMQ_EVENT_HANDSHAKE_SUCCEEDED));
	CHECK(zmq_connect(monitor, events));
	return monitor;
}

static void await_handshakes(void *monitor, int n) {
	zmq_msg_t m;
	CHECK(zmq_msg_init(&m));
	for (int i = 0; i < 2 * n; i++) CHECK(zmq_msg_recv(&m, monitor, 0)); /* two frames an event */
	zmq_msg_close(&m);
}

static int worker(void *ctx, int secure, char **keys, const char *endpoint, int connections) {
	void *s = make(ctx, ZMQ_REP);
	as_client(s, secure, keys);
	void *monitor = watch_handshakes(ctx, s);
	connect_all(s, endpoint, connections);
	await_handshakes(monitor, connections);
	CHECK(zmq_socket_monitor(s, NULL, 0));
	printf("{\"ready\":\"worker\"}\n");
	zmq_msg_t m;
	CHECK(zmq_msg_init(&m));
	for (;;) {
		CHECK(zmq_msg_recv(&m, s, 0));
		CHECK(zmq_msg_send(&m, s, 0)); /* the same buffer goes back, uncopied */
	}
	return 0;
}

/* One call in flight. Its payload is the common pattern behind 8 bytes of its
 * own: the number of the slot and of its turn. */
struct slot { uint32_t turn; int busy; double sent; long calls; };

struct load {
	void *s;
	size_t size;
	uint32_t n, stride;
	char *pattern;
	struct slot *slots;
	long calls, wrong;
	long wanted; /* answers of one timed slot in the window, which waits for them */
	int counted; /* a slot has had as many */
	double *latency; size_t latencies, room;
};

static void send_slot(struct load *l, uint32_t i) {
	struct slot *slot = &l->slots[i];
	zmq_msg_t m;
	slot->turn++;
	slot->busy = 1;
	CHECK(zmq_msg_init_size(&m, l->size));
	memcpy(zmq_msg_data(&m), l->pattern, l->size);
	if (l->size >= 8) {
		memcpy(zmq_msg_data(&m), &i, 4);
		memcpy((char *)zmq_msg_data(&m) + 4, &slot->turn, 4);
	}
	if (i % l->stride == 0) slot->sent = now();
	CHECK(zmq_send(l->s, "", 0, ZMQ_SNDMORE)); /* the delimiter that REP needs */
	CHECK(zmq_msg_send(&m, l->s, 0));
}

/* Takes one answer and returns the slot that it belongs to; without 8 bytes the
 * answers are alike, and any busy slot is as good as another. */
static uint32_t take(struct load *l, zmq_msg_t *m, int measuring) {
	static uint32_t any;
	uint32_t i, turn;
	char *data = zmq_msg_data(m);
	int wrong = zmq_msg_size(m) != l->size;
	if (!wrong && l->size >= 8) {
		memcpy(&i, data, 4);
		memcpy(&turn, data + 4, 4);
		wrong = i >= l->n || !l->slots[i].busy || l->slots[i].turn != turn || memcmp(data + 8, l->pattern + 8, l->size - 8);
		if (i >= l->n) i = 0;
	} else {
		do any = (any + 1) % l->n; while (!l->slots[any].busy);
		i = any;
		wrong = wrong || memcmp(data, l->pattern, l->size);
	}
	l->slots[i].busy = 0;
	l->wrong += wrong;
	if (!measuring) return i;
	l->calls++;
	l->slots[i].calls++;
	if (i % l->stride == 0) {
		if (l->slots[i].calls == l->wanted) l->counted = 1;
		if (l->latencies == l->room) {
			l->room = l->room ? 2 * l->room : 4096;
			l->latency = realloc(l->latency, l->room * sizeof *l->latency);
			assert(l->latency);
		}
		l->latency[l->latencies++] = now() - l->slots[i].sent;
	}
	return i;
}

static int ascending(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void run(void *s, size_t size, uint32_t n, double warm, double measure, long wanted, const int *pids) {
	struct load l = {.s = s, .size = size, .n = n, .stride = n < 200 ? 1 : n / 100, .wanted = wanted};
	double used[3] = {0};
	zmq_msg_t m;
	int measuring = 0, over = 0, more;
	size_t more_size = sizeof more;
	uint32_t busy = n, unanswered = n, i;
	l.pattern = malloc(size + 1);
	l.slots = calloc(n, sizeof *l.slots);
	assert(l.pattern && l.slots);
	for (size_t j = 0; j < size; j++) l.pattern[j] = (char)(j * 7);
	double start = 0, stop = 0, end = 0, t, last = now();
	CHECK(zmq_msg_init(&m));
	for (i = 0; i < n; i++) send_slot(&l, i);
	while (busy > 0) {
		int got = zmq_msg_recv(&m, s, 0);
		t = now();
		if (!measuring && !over && unanswered == 0 && t >= start) {
			add_cpu(used, -1, pids);
			start = now();
			stop = start + measure;
			measuring = 1;
		} else if (measuring && t >= stop && l.counted) {
			end = t;
			add_cpu(used, 1, pids);
			measuring = 0;
			over = 1;
		}
		if (got < 0) {
			if (zmq_errno() != EAGAIN) die("zmq_msg_recv");
			if (t - last > 60) {
				fprintf(stderr, "no answer for 60 s, %u calls in flight\n", busy);
				exit(1);
			}
			continue;
		}
		last = t;
		CHECK(zmq_getsockopt(s, ZMQ_RCVMORE, &more, &more_size));
		if (more) continue; /* the delimiter */
		i = take(&l, &m, measuring);
		/* The window waits for as many answers as there are calls in flight: what
		 * came while a deep queue was filled is taken then. */
		if (unanswered > 0 && --unanswered == 0) start = t + warm;
		if (over) busy--;
		else send_slot(&l, i);
	}
	zmq_msg_close(&m);
	qsort(l.latency, l.latencies, sizeof *l.latency, ascending);
	printf("{\"done\":{\"calls\":%ld,\"wrong\":%ld,\"seconds\":%.9f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"cpu_s\":[%.9f,%.9f,%.9f]}}\n", l.calls, l.wrong, end - start,
	       l.latencies ? l.latency[l.latencies / 2] * 1e6 : 0, l.latencies ? l.latency[l.latencies * 99 / 100] * 1e6 : 0, used[0], used[1], used[2]);
	free(l.pattern);
	free(l.slots);
	free(l.latency);
}

/* Has each connection carry one message there and back: a DEALER hands them out
 * in turn, also to connections that are not up yet. */
static void prime(void *s, uint32_t connections) {
	struct load l = {.s = s, .n = connections, .stride = 1, .size = 8, .pattern = "        "};
	int more;
	size_t more_size = sizeof more;
	zmq_msg_t m;
	l.slots = calloc(connections, sizeof *l.slots);
	assert(l.slots);
	CHECK(zmq_msg_init(&m));
	for (uint32_t i = 0; i < connections; i++) send_slot(&l, i);
	for (double start = now(); connections > 0 && now() - start < 60;) {
		if (zmq_msg_recv(&m, s, 0) < 0) continue; /* RCVTIMEO */
		CHECK(zmq_getsockopt(s, ZMQ_RCVMORE, &more, &more_size));
		if (more) continue; /* the delimiter */
		take(&l, &m, 0);
		connections--;
	}
	zmq_msg_close(&m);
	free(l.slots);
	if (connections > 0 || l.wrong > 0) {
		fprintf(stderr, "%u connections do not come up, %ld wrong answers\n", connections, l.wrong);
		exit(1);
	}
}

static void *dial(void *ctx, int secure, char **keys, const char *endpoint, int connections) {
	void *s = make(ctx, ZMQ_DEALER);
	int wait = 100;
	CHECK(zmq_setsockopt(s, ZMQ_RCVTIMEO, &wait, sizeof wait));
	as_client(s, secure, keys);
	connect_all(s, endpoint, connections);
	prime(s, connections);
	return s;
}

static int client(void *ctx, int secure, char **keys, const char *endpoint) {
	char line[256];
	int opened = 1;
	void *s = dial(ctx, secure, keys, endpoint, opened);
	printf("{\"ready\":\"client\"}\n");
	while (fgets(line, sizeof line, stdin)) {
		unsigned long size;
		unsigned n;
		int connections, warm, measure, wanted, pids[3];
		if (sscanf(line, "measure %lu %u %d %d %d %d %d %d %d", &size, &n, &connections, &warm, &measure, &wanted, pids, pids + 1, pids + 2) != 9) {
			fprintf(stderr, "the command %s\n", line);
			return 1;
		}
		if (connections != opened) {
			CHECK(zmq_close(s));
			s = dial(ctx, secure, keys, endpoint, opened = connections);
		}
		run(s, size, n, warm / 1e3, measure / 1e3, wanted, pids);
	}
	return 0;
}

/* Opens connections of one DEALER and waits until each has passed its handshake. */
static int crowd(void *ctx, int secure, char **keys, const char *endpoint) {
	char line[256];
	int n;
	printf("{\"ready\":\"crowd\"}\n");
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "open %d", &n) != 1) {
			fprintf(stderr, "the command %s\n", line);
			return 1;
		}
		double start = now();
		void *s = make(ctx, ZMQ_DEALER), *monitor = watch_handshakes(ctx, s);
		as_client(s, secure, keys);
		connect_all(s, endpoint, n);
		await_handshakes(monitor, n);
		printf("{\"done\":{\"calls\":%d,\"seconds\":%.9f}}\n", n, now() - start);
	}
	return 0;
}

int main(int argc, char **argv) {
	void *ctx = zmq_ctx_new();
	int secure = argc > 2 && atoi(argv[2]);
	CHECK(zmq_ctx_set(ctx, ZMQ_MAX_SOCKETS, 20000));
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "proxy")) {
		watch_input();
		return proxy(ctx, secure, argv[3]);
	}
	if (argc == 8 && !strcmp(argv[1], "worker")) {
		watch_input();
		return worker(ctx, secure, argv + 3, argv[6], atoi(argv[7]));
	}
	if (argc == 7 && !strcmp(argv[1], "client")) return client(ctx, secure, argv + 3, argv[6]);
	if (argc == 7 && !strcmp(argv[1], "crowd")) return crowd(ctx, secure, argv + 3, argv[6]);
	fprintf(stderr, "usage: peer proxy|worker|client|crowd ...\n");
	return 2;
}
