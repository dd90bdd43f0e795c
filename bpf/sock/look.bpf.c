// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Live figures of the socket vantage point, for kernels that refuse the iterators of maps
 * (snapshot and snapshot_listeners of scan.bpf.c). User space reads the entries in batches,
 * and these programs read their sockets:
 *
 *   look_at_connections  one batch of connections  -> bytes, in the batch
 *   look_at_listeners    one batch of listeners    -> queues, in the batch
 *   visit_connections    TCP sockets               -> bytes, written to the stream
 *   visit_listeners      TCP sockets               -> queues, written to the stream
 *
 * The first two are of BPF_PROG_TYPE_SYSCALL (5.14, commit 79a7f8bdb159), and user space
 * runs them by BPF_PROG_RUN. A batch is a map that is mapped into user space, and not
 * the context of the program: verifiers before 7.1 allow no variable offset there.
 * The other two see one network namespace: that of the thread that opens the iterator.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "look.h"
#include "records.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/*
 * A batch of connections. User space writes keys and ids, look_at_connections the rest. The
 * key 0 ends a batch that is not full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct connection_look);
} connection_batch SEC(".maps");

/* A batch of listeners: user space writes keys and copies, look_at_listeners the rest. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct listener_look);
} listener_batch SEC(".maps");

static long look_at_connection_of_batch(struct bpf_map *map, const __u32 *index,
					struct connection_look *look, void *unused)
{
	const struct connection *connection;
	__u64 key = look->sk;

	if (!key)
		return 1;
	connection = bpf_map_lookup_elem(&connections, &key);
	if (connection)
		look_at_connection(key, connection, look);
	else
		look->outcome = LOOK_ENDED;
	return 0;
}

SEC("syscall")
int look_at_connections(void *ctx)
{
	bpf_for_each_map_elem(&connection_batch, look_at_connection_of_batch, NULL, 0);
	return 0;
}

static long look_at_listener_of_batch(struct bpf_map *map, const __u32 *index,
				      struct listener_look *look, void *unused)
{
	struct listener *listener;
	__u64 key = look->sk;

	if (!key)
		return 1;
	listener = bpf_map_lookup_elem(&listeners, &key);
	if (listener)
		look_at_listener(key, listener, look);
	else
		look->outcome = LOOK_ENDED;
	return 0;
}

SEC("syscall")
int look_at_listeners(void *ctx)
{
	bpf_for_each_map_elem(&listener_batch, look_at_listener_of_batch, NULL, 0);
	return 0;
}

SEC("iter/tcp")
int visit_connections(struct bpf_iter__tcp *ctx)
{
	const struct sock_common *common = ctx->sk_common;
	const struct connection *connection;
	struct connection_look look = {};

	look.sk = (__u64)common;
	if (!look.sk)
		return 0;
	connection = bpf_map_lookup_elem(&connections, &look.sk);
	if (!connection)
		return 0;
	look.id = connection->id;
	look_at_connection(look.sk, connection, &look);
	bpf_seq_write(ctx->meta->seq, &look, sizeof(look));
	return 0;
}

SEC("iter/tcp")
int visit_listeners(struct bpf_iter__tcp *ctx)
{
	const struct sock_common *common = ctx->sk_common;
	struct listener_look look = {};
	struct listener *listener;

	look.sk = (__u64)common;
	if (!look.sk)
		return 0;
	listener = bpf_map_lookup_elem(&listeners, &look.sk);
	if (!listener)
		return 0;
	look.listener = *listener;
	look_at_listener(look.sk, listener, &look);
	bpf_seq_write(ctx->meta->seq, &look, sizeof(look));
	return 0;
}
