// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * connections.scope: the network namespaces whose sockets are reported.
 *
 * A user who creates a user namespace is root in it and in its network namespaces, and can
 * use any address and port there. A namespace that the host's root created belongs to the
 * initial user namespace, whoever runs in it.
 */
#ifndef EBPF_TCP_SCOPE_H
#define EBPF_TCP_SCOPE_H

#include "kernel.h"
#include "values.h"
#include "shares.h"

#include <bpf/bpf_core_read.h>

/* Unless configured, the verifier removes the loads below. */
const volatile __u8 scope; /* enum scope */

/* Direct loads: net must be a pointer that the verifier knows by BTF. */
static __always_inline bool is_in_scope(const struct net *net)
{
	if (!scope)
		return true;
	if (scope == SCOPE_OWN_NETNS)
		return net->ns.inum == own_netns;
	return !net->user_ns->level;
}

/* The same for a pointer that came as a number, if there is a scope. */
static __always_inline bool is_in_scope_checked(const struct net *net)
{
	if (scope == SCOPE_OWN_NETNS)
		return BPF_CORE_READ(net, ns.inum) == own_netns;
	return !BPF_CORE_READ(net, user_ns, level);
}

/* Of a socket that came as a number. */
static __always_inline bool is_socket_in_scope(const struct sock *sk)
{
	return !scope || is_in_scope_checked(BPF_CORE_READ(sk, __sk_common.skc_net.net));
}

static __always_inline bool is_device_in_scope(const struct net_device *dev)
{
	return !scope || is_in_scope_checked(BPF_CORE_READ(dev, nd_net.net));
}

#endif
