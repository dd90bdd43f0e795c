// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel's types, trimmed by hand to the members in use. CO-RE relocates each
 * access to the layout of the running kernel, so order and gaps have no meaning here. A
 * type whose layout changed has a flavour (name___what) beside it, with the commit
 * that changed it.
 */
#ifndef EBPF_TCP_KERNEL_H
#define EBPF_TCP_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define PF_KTHREAD 0x00200000
#define ECONNABORTED 103
#define ECONNRESET 104
#define ETIMEDOUT 110
#define EPIPE 32
#define EEXIST 17
#define EDQUOT 122

/* include/net/tcp_states.h */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};

/* include/net/sock.h, enum sock_flags: the position of a flag in sk_flags. */
#define SOCK_DEAD 0
#define SOCK_DONE 1

/* include/net/sock.h, sk_shutdown */
#define RCV_SHUTDOWN 1

#define IPPROTO_MPTCP 262
#define S_IFMT 0170000
#define S_IFSOCK 0140000

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct user_namespace {
	int level; /* 0 = the initial one */
};

struct net {
	struct ns_common ns;
	struct user_namespace *user_ns; /* whose root may change it */
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	union {
		struct {
			__be32 skc_daddr;
			__be32 skc_rcv_saddr;
		};
	};
	union {
		__u32 skc_portpair;
		struct {
			__be16 skc_dport;
			__u16 skc_num;
		};
	};
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	unsigned long skc_flags; /* sk_flags */
};

typedef struct {
	int counter;
} atomic_t;

struct socket;

struct sock {
	struct sock_common __sk_common;
	struct {
		int owned; /* a process is in a system call with it */
	} sk_lock;
	struct socket *sk_socket; /* of a process; NULL before accept and after close */
	atomic_t sk_drops;
	__u32 sk_ack_backlog; /* connections of a listener that wait for accept */
	__u32 sk_max_ack_backlog;
	int sk_err;
	int sk_err_soft;
	int sk_rx_dst_ifindex; /* since 5.16, commit 0c0a5ef809f9 */
	__u8 sk_shutdown;
	__u16 sk_protocol;
};

struct mptcp_sock {
	struct sock *first; /* the initial subflow */
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
	int rx_dst_ifindex; /* until 5.16 */
};

struct request_sock_queue {
	__u8 rskq_defer_accept; /* TCP_DEFER_ACCEPT: how many SYN-ACKs may be sent */
	atomic_t qlen; /* since 4.4, commit aac065c50aba */
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
};

struct minmax_sample {
	__u32 t;
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_options_received {
	__u32 ts_recent; /* the timestamp to echo */
	__u32 rcv_tsval; /* of the last segment, if saw_tstamp */
	__u16 saw_tstamp : 1;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_received;
	__u64 bytes_acked;
	__u64 tcp_mstamp; /* the last packet, microseconds of the monotonic clock */
	__u32 segs_in;
	__u32 data_segs_in; /* counted on arrival, before the segment is processed */
	__u32 segs_out;
	__u32 rcv_wup; /* the receive window begins here */
	__u32 snd_una;
	__u32 rcv_wnd;
	__u32 write_seq;
	__u32 srtt_us; /* smoothed RTT, in eighths of a microsecond */
	struct tcp_options_received rx_opt;
	struct minmax rtt_min;
	__u32 total_retrans;
	__u32 rcv_ooopack;
	bool is_mptcp;
};

struct request_sock {
	struct sock_common __req_common;
};

struct inet_request_sock {
	struct request_sock req;
};

struct tcp_request_sock {
	struct inet_request_sock req;
	__u64 snt_synack; /* first SYN-ACK, microseconds of the monotonic clock */
	__u32 rcv_isn; /* the number of the SYN */
};

struct socket {
	struct sock *sk;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct inode {
	__u16 i_mode;
};

struct file {
	void *private_data;
	struct path f_path;
	struct inode *f_inode;
};

struct fdtable {
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct mm_struct {
	struct file *exe_file;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[16];
	struct cgroup *dfl_cgrp;
};

/* Values differ by kernel configuration: ask bpf_core_enum_value. */
enum cgroup_subsys_id {
	memory_cgrp_id = 4,
	pids_cgrp_id = 11,
};

struct task_struct {
	unsigned int flags;
	int tgid;
	struct task_struct *group_leader;
	__u64 start_boottime; /* since 5.5, commit cf25e24db61c */
	struct mm_struct *mm;
	struct files_struct *files;
	struct css_set *cgroups;
	char comm[16];
};

struct net_device {
	int ifindex;
	possible_net_t nd_net;
};

/* Values differ by version: ask bpf_core_enum_value. */
enum skb_drop_reason {
	SKB_DROP_REASON_NOT_SPECIFIED = 2,
};

/* In the cb of a buffer, while TCP owns it. */
struct tcp_skb_cb {
	__u16 tcp_gso_segs;
};

struct sk_buff {
	char cb[48];
	struct net_device *dev;
	struct sock *sk;
	__u16 network_header;
	unsigned int tail; /* an offset, on 64 bits */
	unsigned char *head;
	int skb_iif;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct trace_event_raw_sys_exit {
	long ret;
};

/* Registers at a kprobe; FUNCTION_ARGUMENT reads the first arguments. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di;
	unsigned long si;
	unsigned long dx;
	unsigned long cx;
};
#define FUNCTION_ARGUMENT_1(registers) ((registers)->di)
#define FUNCTION_ARGUMENT_2(registers) ((registers)->si)
#define FUNCTION_ARGUMENT_3(registers) ((registers)->dx)
#define FUNCTION_ARGUMENT_4(registers) ((registers)->cx)
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs;
struct user_pt_regs {
	__u64 regs[31];
};
#define FUNCTION_ARGUMENT(registers, n) (((const struct user_pt_regs *)(registers))->regs[n])
#define FUNCTION_ARGUMENT_1(registers) FUNCTION_ARGUMENT(registers, 0)
#define FUNCTION_ARGUMENT_2(registers) FUNCTION_ARGUMENT(registers, 1)
#define FUNCTION_ARGUMENT_3(registers) FUNCTION_ARGUMENT(registers, 2)
#define FUNCTION_ARGUMENT_4(registers) FUNCTION_ARGUMENT(registers, 3)
#endif

#pragma clang attribute pop

#endif
