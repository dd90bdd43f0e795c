// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook/hooktest"
)

func member(owner, name string) hook.Member { return hook.Member{Struct: owner, Name: name} }

func hasStruct(spec *btf.Spec, name string) bool {
	var s *btf.Struct
	return spec.TypeByName(name, &s) == nil
}

// TestWithoutIPv6 follows a connection where sockets have no IPv6 addresses.
func TestWithoutIPv6(t *testing.T) {
	enterNetNS(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	cfg := testConfig(onlyPort(portOf(l.Addr())))
	addresses := []hook.Member{member("sock_common", "skc_v6_daddr"), member("sock_common", "skc_v6_rcv_saddr")}
	k := startOn(t, hooktest.KernelWithout(t, addresses...), cfg)
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
	kernel := hooktest.KernelWithout(t, all...)
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
