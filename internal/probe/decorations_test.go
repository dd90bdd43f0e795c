// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
)

// kernelWithout is the running kernel's BTF with members renamed, as another kernel may
// have it: the programs are loaded as though it were that one.
func kernelWithout(t *testing.T, members ...hook.Member) *btf.Spec {
	t.Helper()
	kernel, err := btf.LoadKernelSpec()
	require.NoError(t, err)
	spec := kernel.Copy()
	for _, m := range members {
		types, err := spec.AnyTypesByName(m.Struct)
		if errors.Is(err, btf.ErrNotFound) {
			continue // this kernel is without the whole struct
		}
		require.NoError(t, err, m.Struct)
		for _, found := range types {
			switch s := btf.UnderlyingType(found).(type) {
			case *btf.Struct:
				rename(s.Members, m.Name)
			case *btf.Union:
				rename(s.Members, m.Name)
			}
		}
		assert.False(t, m.In(spec), "%s is still there", m)
	}
	return spec
}

func rename(members []btf.Member, name string) {
	for i := range members {
		switch {
		case members[i].Name == name:
			members[i].Name = "renamed"
		case members[i].Name == "":
			switch inner := btf.UnderlyingType(members[i].Type).(type) {
			case *btf.Struct:
				rename(inner.Members, name)
			case *btf.Union:
				rename(inner.Members, name)
			}
		}
	}
}

func member(owner, name string) hook.Member { return hook.Member{Struct: owner, Name: name} }

func hasStruct(spec *btf.Spec, name string) bool {
	var s *btf.Struct
	return spec.TypeByName(name, &s) == nil
}

// testObjects are the maps and programs of the socket vantage point.
func testObjects(t *testing.T) *objects {
	t.Helper()
	cfg := testConfig()
	cfg.Drops = true
	o, err := newObjects(&cfg, 1, hook.NewHost(cfg.ExcludeHooks, nil))
	require.NoError(t, err)
	t.Cleanup(o.close)
	return o
}

// loadable are the names of the programs that load on a kernel, and the refusals of the
// others.
func (o *objects) loadable(t *testing.T, kernel *btf.Spec, only ...string) (all []string, refused map[string]error) {
	t.Helper()
	refused = make(map[string]error)
	looks, err := o.looks()
	require.NoError(t, err)
	host := hook.NewHost(nil, kernel)
	for _, object := range []*hook.Object{&o.hooks, &o.scans, looks} {
		from := hook.Object{Host: host, Spec: object.Spec, Maps: object.Maps}
		for name := range from.Spec.Programs {
			if len(only) > 0 && !slices.Contains(only, name) {
				continue
			}
			program, err := from.Load(name)
			if err != nil {
				refused[name] = from.ExplainMissing(name, err)
				continue
			}
			require.NoError(t, program.Close())
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all, refused
}

// programMembers are the members that each program reads, the optional ones apart.
func programMembers(t *testing.T) (read, optional map[hook.Member][]string) {
	t.Helper()
	read, optional = make(map[hook.Member][]string), make(map[hook.Member][]string)
	for _, load := range []func() (*ebpf.CollectionSpec, error){loadSock, loadScan, loadLook} {
		spec, err := load()
		require.NoError(t, err)
		for program := range spec.Programs {
			reads, asks := hook.MembersRead(spec, program)
			for _, m := range reads {
				if !slices.Contains(read[m], program) {
					read[m] = append(read[m], program)
				}
			}
			for _, m := range asks {
				optional[m] = append(optional[m], program)
			}
		}
	}
	return read, optional
}

// coreMembers are what no record can be without, by struct: a program that reads one is
// refused by a kernel without it.
func coreMembers() map[string][]string {
	return map[string][]string{
		"sock":                     {"__sk_common", "sk_err", "sk_protocol", "sk_ack_backlog"},
		"sock_common":              {"skc_daddr", "skc_rcv_saddr", "skc_dport", "skc_num", "skc_portpair", "skc_family", "skc_state", "skc_net"},
		"possible_net_t":           {"net"},
		"net":                      {"ns", "user_ns"},
		"user_namespace":           {"level"},
		"ns_common":                {"inum"},
		"in6_addr":                 {"in6_u"},
		"inet_sock":                {"sk"},
		"inet_connection_sock":     {"icsk_inet", "icsk_accept_queue"},
		"request_sock_queue":       {"qlen"},
		"request_sock":             {"__req_common"},
		"tcp_sock":                 {"inet_conn"},
		"atomic_t":                 {"counter"},
		"sk_buff":                  {"cb", "dev", "head", "network_header", "sk", "tail"},
		"tcp_skb_cb":               {"tcp_gso_segs"},
		"net_device":               {"nd_net"},
		"socket":                   {"sk"},
		"file":                     {"f_inode", "private_data"},
		"inode":                    {"i_mode"},
		"task_struct":              {"files"},
		"files_struct":             {"fdt"},
		"fdtable":                  {"fd"},
		"trace_event_raw_sys_exit": {"ret"},
		"bpf_iter_meta":            {"seq"},
		"bpf_iter__task_file":      {"meta", "task", "file"},
		"bpf_iter__tcp":            {"meta", "sk_common"},
		"bpf_iter__bpf_map_elem":   {"meta", "key", "value"},
	}
}

// coreOf are programs that a member is the core of, though it decorates others' records.
func coreOf(m hook.Member) []string {
	switch m {
	case member("sock", "sk_max_ack_backlog"):
		return []string{"syn_fentry", "syn_kprobe", "ack4_fentry", "ack4_kprobe", "ack6_fentry", "ack6_kprobe", "snapshot_listeners", "look_at_listeners", "visit_listeners"}
	case member("task_struct", "tgid"), member("task_struct", "group_leader"), member("task_struct", "start_boottime"):
		return []string{"exec", "cgroup_move"}
	}
	return nil
}

// alternatives are members of which kernels have one or another, or none.
func alternatives() []hook.Member {
	return []hook.Member{
		member("sock", "sk_rx_dst_ifindex"),
		member("inet_sock", "rx_dst_ifindex"),
		member("tcp_sock", "is_mptcp"),
	}
}

// TestEveryMemberIsSorted: whatever a program reads of the kernel is known to be its
// core or a decoration, and what is a decoration is guarded in every program.
func TestEveryMemberIsSorted(t *testing.T) {
	read, optional := programMembers(t)
	var decorating []hook.Member
	for _, d := range hook.Decorations() {
		decorating = append(decorating, d.Member)
	}
	var unsorted []string
	for _, m := range slices.SortedFunc(maps.Keys(read), func(a, b hook.Member) int { return len(a.String()) - len(b.String()) }) {
		core := slices.Contains(coreMembers()[m.Struct], m.Name) || strings.HasSuffix(m.Struct, "pt_regs")
		if !core && !slices.Contains(decorating, m) && !slices.Contains(alternatives(), m) {
			unsorted = append(unsorted, m.String())
		}
	}
	assert.Empty(t, unsorted)
	for owner, names := range coreMembers() {
		for _, name := range names {
			assert.Contains(t, read, member(owner, name), "nobody reads it")
		}
	}
	for _, m := range decorating {
		assert.Contains(t, optional, m, "%s is guarded nowhere", m)
	}
}

// TestDecorationsCostNoProgram renames each member that only decorates a record: all
// programs load, and the figures that it feeds are told to be absent.
func TestDecorationsCostNoProgram(t *testing.T) {
	o := testObjects(t)
	want, _ := o.loadable(t, nil)
	require.Contains(t, want, "state")
	read, _ := programMembers(t)
	var all []hook.Member
	for _, d := range hook.Decorations() {
		m := d.Member
		all = append(all, m)
		t.Run(m.String(), func(t *testing.T) {
			kernel := kernelWithout(t, m)
			got, refused := o.loadable(t, kernel, read[m]...)
			for _, program := range read[m] {
				switch {
				case slices.Contains(coreOf(m), program):
					assert.ErrorContains(t, refused[program], "has no member "+m.Name)
				case slices.Contains(want, program):
					assert.Contains(t, got, program, "%v", refused[program])
				}
			}
			host := hook.NewHost(nil, kernel)
			if !hasStruct(kernel, d.Struct) {
				assert.Empty(t, host.Missing, "the kernel has no use for it")
				return
			}
			assert.Equal(t, d.Absent, host.Absent())
			assert.Equal(t, []hook.Decoration{d}, host.Missing)
		})
	}
	t.Run("all", func(t *testing.T) {
		for _, m := range all {
			want = slices.DeleteFunc(want, func(program string) bool { return slices.Contains(coreOf(m), program) })
		}
		got, refused := o.loadable(t, kernelWithout(t, all...))
		assert.Equal(t, want, got, "%v", refused)
	})
}

// TestMissingCoreIsNamed renames members that a program can't be without: its refusal
// names the member, and has none of the verifier's words.
func TestMissingCoreIsNamed(t *testing.T) {
	o := testObjects(t)
	for _, m := range []hook.Member{member("sock_common", "skc_dport"), member("sock", "sk_err"), member("ns_common", "inum")} {
		_, refused := o.loadable(t, kernelWithout(t, m), "state")
		want := "this kernel's " + m.Struct + " has no member " + m.Name + ": the program is refused"
		require.EqualError(t, refused["state"], want)
	}
}

// TestWithoutIPv6 follows a connection where sockets have no IPv6 addresses.
func TestWithoutIPv6(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	cfg := testConfig(onlyPort(portOf(l.Addr())))
	addresses := []hook.Member{member("sock_common", "skc_v6_daddr"), member("sock_common", "skc_v6_rcv_saddr")}
	k := startOn(t, kernelWithout(t, addresses...), cfg)
	client, server := connect(t, l, "127.0.0.1")
	send(t, client, server, exchangeReceived)
	finish(t, client, server)
	k.until("close", func() bool { return len(k.closed) == 1 })
	assert.Equal(t, addressOf(client), k.closed[0].Client)
	assert.EqualValues(t, exchangeReceived, k.closed[0].ReceivedBytes)
	for _, state := range k.probe.Hooks() {
		assert.Equal(t, state.Feature == hook.FeatureMember, state.Gives == "connections over IPv6", "%+v", state)
	}
}

// TestWithoutDecorations follows a connection on a kernel that has only the core.
func TestWithoutDecorations(t *testing.T) {
	enterNetNS(t)
	var all []hook.Member
	for _, d := range hook.Decorations() {
		all = append(all, d.Member)
	}
	l := listen(t, "tcp4", "127.0.0.1:0")
	cfg := testConfig(onlyPort(portOf(l.Addr())))
	kernel := kernelWithout(t, all...)
	k := startOn(t, kernel, cfg)
	client, server := connect(t, l, "127.0.0.1")
	send(t, client, server, exchangeReceived)
	finish(t, client, server)
	k.until("close", func() bool { return len(k.closed) == 1 })
	closed := k.closed[0]
	assert.Equal(t, addressOf(client), closed.Client)
	assert.Equal(t, connection.CloseClientFIN, closed.Reason)
	const every = connection.AbsentReceivedBytes | connection.AbsentTransmittedBytes | connection.AbsentReceivedSegments |
		connection.AbsentTransmittedSegments | connection.AbsentRetransmits | connection.AbsentOutOfOrder
	assert.Equal(t, every, closed.Absent)
	assert.Zero(t, closed.Counters)
	assert.Zero(t, closed.Handshake)
	assert.Zero(t, closed.Owner)
	told := make(map[string]bool)
	for _, state := range k.probe.Hooks() {
		if state.Feature == hook.FeatureMember {
			assert.ErrorContains(t, state.Err, "has no member")
			told[state.Name] = true
		}
	}
	for _, m := range all {
		assert.Equal(t, hasStruct(kernel, m.Struct), told[m.String()], "whether %s is told to be missing", m)
	}
}
