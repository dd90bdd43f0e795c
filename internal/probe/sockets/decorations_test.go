// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package sockets

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook/hooktest"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

func member(owner, name string) hook.Member { return hook.Member{Struct: owner, Name: name} }

func hasStruct(spec *btf.Spec, name string) bool {
	var s *btf.Struct
	return spec.TypeByName(name, &s) == nil
}

// testVantage has all maps and programs.
func testVantage(t *testing.T) *Vantage {
	t.Helper()
	cfg := &settings.Config{
		Sockets:     settings.Sockets{Drops: true},
		Attribution: settings.Attribution{Process: true},
		Limits:      settings.Limits{MaxConnections: 4096, MaxListeners: 4096, MaxPortCounters: 4096, RingBytes: 1 << 20},
	}
	all, err := shared.NewMaps(cfg)
	require.NoError(t, err)
	t.Cleanup(all.Close)
	v, err := New(Options{
		Config: cfg, Host: hook.NewHost(testbed.ExcludedHooks(), nil), Context: &record.Context{OwnNetNS: 1}, Maps: all.Maps,
		Shares: shared.NewShares(all.Maps, shared.CapacitiesOf(cfg), 1), Logger: zaptest.NewLogger(t),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

// loadable are the names of the programs that load on a kernel, and the refusals of the
// others.
func (v *Vantage) loadable(t *testing.T, kernel *btf.Spec, only ...string) (all []string, refused map[string]error) {
	t.Helper()
	refused = make(map[string]error)
	spec, err := look.Programs()
	require.NoError(t, err)
	looks := &hook.Object{Spec: spec, Maps: shared.MapsOf(spec, v.Maps)}
	host := hook.NewHost(nil, kernel)
	for _, object := range []*hook.Object{&v.hooks, &v.iterators, looks} {
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
	for _, load := range []func() (*ebpf.CollectionSpec, error){loadSock, loadScan, look.Programs} {
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
	assert.Empty(t, unsorted, "programs read members that are neither in coreMembers nor among hook.Decorations")
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
	v := testVantage(t)
	want, _ := v.loadable(t, nil)
	require.Contains(t, want, "state")
	read, _ := programMembers(t)
	var all []hook.Member
	for _, d := range hook.Decorations() {
		m := d.Member
		all = append(all, m)
		t.Run(m.String(), func(t *testing.T) {
			kernel := hooktest.KernelWithout(t, m)
			got, refused := v.loadable(t, kernel, read[m]...)
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
		got, refused := v.loadable(t, hooktest.KernelWithout(t, all...))
		assert.Equal(t, want, got, "%v", refused)
	})
}

// TestMissingCoreIsNamed renames members that a program can't be without: its refusal
// names the member, and has none of the verifier's words.
func TestMissingCoreIsNamed(t *testing.T) {
	v := testVantage(t)
	for _, m := range []hook.Member{member("sock_common", "skc_dport"), member("sock", "sk_err"), member("ns_common", "inum")} {
		_, refused := v.loadable(t, hooktest.KernelWithout(t, m), "state")
		want := "this kernel's " + m.Struct + " has no member " + m.Name + ": the program is refused"
		require.EqualError(t, refused["state"], want)
	}
}
