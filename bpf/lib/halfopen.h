// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Handshakes in progress, followed by their packets.
 *
 * An attempt ends when it ends in the kernel, see tcp_check_req(): by an acknowledgment
 * of the SYN-ACK with a sequence number in the window, or by a reset with the next sequence
 * number. The kernel keeps its request socket for any other packet, and the attempt stays.
 * This holds for Debian's 6.1.0-57, 6.12, 6.18 and 7.2. 5.10 accepts a reset from anywhere
 * in the window, unless it acknowledges another number. No client sends such a reset; if
 * one did, its attempt would be reported as a timeout there.
 *
 * An attempt that finds no room in half_open_handshakes leaves a mark. The mark only shows
 * whether the attempt ended within the timeout. Attempts that did not are counted as lost.
 */
#ifndef EBPF_TCP_HALFOPEN_H
#define EBPF_TCP_HALFOPEN_H

#include "emit.h"
#include "flowhash.h"
#include "maps.h"
#include "shares.h"

const volatile __u32 handshake_timeout_ms;
/* Sets of half_open_marks, a power of two, less one. */
const volatile __u32 half_open_marks_mask;

static __always_inline __u32 boot_ms(void)
{
	return bpf_ktime_get_boot_ns() / 1000000;
}

/* Whether a mark may still be young. A jiffy is a millisecond or longer. */
static __always_inline bool has_recent_mark(void)
{
	__u32 first = 0;
	__u64 *last = bpf_map_lookup_elem(&last_half_open_mark, &first);

	return last && *last && bpf_jiffies64() - *last <= handshake_timeout_ms;
}

static __always_inline void note_mark(void)
{
	__u64 *last, now = bpf_jiffies64();
	__u32 first = 0;

	last = bpf_map_lookup_elem(&last_half_open_mark, &first);
	if (last)
		*last = now;
}

static __always_inline struct half_open_marks *marks_of(__u64 hash)
{
	__u32 set = hash & half_open_marks_mask;

	return bpf_map_lookup_elem(&half_open_marks, &set);
}

static __always_inline __u32 fingerprint_of(__u64 hash)
{
	return (hash >> 32 & ~MARK_OF_SHARE) | MARK_TAKEN;
}

/* The mark of an attempt that may still end within the timeout, or NULL. */
static __noinline struct half_open_mark *find_mark(const struct half_open_key *key)
{
	__u64 hash = flow_hash(key);
	struct half_open_marks *marks = marks_of(hash);

	if (!marks)
		return NULL;
#pragma unroll
	for (int i = 0; i < HALF_OPEN_MARKS; i++) {
		struct half_open_mark *mark = &marks->marks[i];

		if ((mark->fingerprint & ~MARK_OF_SHARE) == fingerprint_of(hash) &&
		    boot_ms() - mark->since <= handshake_timeout_ms)
			return mark;
	}
	return NULL;
}

static __always_inline void mark_half_open(const struct half_open_key *key, __u32 client_next,
					   bool of_share)
{
	__u64 hash = flow_hash(key);
	struct half_open_marks *marks = marks_of(hash);
	struct half_open_mark *oldest;

	LEDGER_ADD(marked[of_share ? CAUSE_MAP_SHARE : CAUSE_MAP_FULL], 1);
	if (!marks)
		return;
	oldest = &marks->marks[0];
#pragma unroll
	for (int i = 1; i < HALF_OPEN_MARKS; i++) {
		struct half_open_mark *mark = &marks->marks[i];

		if (oldest->fingerprint &&
		    (!mark->fingerprint || (__s32)(mark->since - oldest->since) < 0))
			oldest = mark;
	}
	oldest->since = boot_ms();
	oldest->numbers.client_next = client_next;
	oldest->numbers.server_next = 0;
	oldest->fingerprint = fingerprint_of(hash) | (of_share ? MARK_OF_SHARE : 0);
	note_mark();
}

static __always_inline void clear_mark(struct half_open_mark *mark)
{
	enum cause cause = mark->fingerprint & MARK_OF_SHARE ? CAUSE_MAP_SHARE : CAUSE_MAP_FULL;

	mark->fingerprint = 0;
	LEDGER_ADD(marks_ended[cause], 1);
}

static __always_inline bool delete_half_open(const struct half_open_key *key)
{
	if (bpf_map_delete_elem(&half_open_handshakes, key))
		return false;
	count_room(key->netns, ROOM_HALF_OPEN, -1);
	return true;
}

static __always_inline void enter_half_open(const struct half_open_key *key,
					    const struct half_open *value)
{
	bool of_share = !has_room(key->netns, ROOM_HALF_OPEN);
	long error = 0;

	if (!of_share)
		error = bpf_map_update_elem(&half_open_handshakes, key, value, BPF_NOEXIST);
	if (error == -EEXIST)
		return;
	if (of_share || error)
		mark_half_open(key, value->numbers.client_next, of_share);
	else
		count_room(key->netns, ROOM_HALF_OPEN, 1);
}

/* The attempt ended otherwise, and another place reports it. */
static __noinline int forget_half_open(const struct half_open_key *key)
{
	struct half_open_mark *mark;

	if (delete_half_open(key) || !has_recent_mark())
		return 0;
	mark = find_mark(key);
	if (mark)
		clear_mark(mark);
	return 0;
}

#endif
