// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package record

import (
	"fmt"
	"net/netip"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

func TestView(t *testing.T) {
	sample := make([]byte, unsafe.Sizeof(shared.RecordHead{}))
	head := View[shared.RecordHead](sample)
	require.NotNil(t, head)
	head.Netns = 7
	assert.EqualValues(t, 7, View[shared.RecordHead](sample).Netns, "in place")
	assert.Nil(t, View[shared.RecordHead](sample[1:]))
}

// losses notes what is lost.
type losses struct {
	fact.Nop
	all []string
}

func (l *losses) FactsLost(e ledger.Event, c ledger.Cause, n int) {
	l.all = append(l.all, fmt.Sprintf("%s: %s %s (%d)", e, c.Place(), c.Reason(), n))
}

func TestTake(t *testing.T) {
	var lost losses
	c := &Context{Sink: &lost}
	taken := 0
	take := func(*shared.RecordHead) { taken++ }
	Take(c, make([]byte, unsafe.Sizeof(shared.RecordHead{})), ledger.Open, take)
	assert.Equal(t, 1, taken)
	assert.Empty(t, lost.all)
	Take(c, nil, ledger.Open, take)
	assert.Equal(t, 1, taken)
	assert.Equal(t, []string{"open: drain undecodable (1)"}, lost.all)
}

func TestFlow(t *testing.T) {
	for _, test := range []struct{ record, client, server string }{
		{"::ffff:198.51.100.7", "198.51.100.7:40000", "198.51.100.7:443"},
		{"2001:db8::7", "[2001:db8::7]:40000", "[2001:db8::7]:443"},
	} {
		address := netip.MustParseAddr(test.record).As16()
		r := &shared.Flow{Remote: address, RemotePort: 40000, Local: address, LocalPort: 443}
		want := flow.Flow{Client: netip.MustParseAddrPort(test.client), Server: netip.MustParseAddrPort(test.server)}
		assert.Equal(t, want, Flow(r))
	}
}

func TestOwner(t *testing.T) {
	r := &shared.Owner{Process: shared.ProcessKey{Start: 5, Pid: 6}, Source: uint32(shared.OwnerSourceCloser)}
	assert.Equal(t, owner.Ref{Key: owner.Key{Start: 5, PID: 6}, Source: owner.ByCloser}, Owner(r))
}

func TestString(t *testing.T) {
	assert.Equal(t, "sh", String(&[16]int8{'s', 'h', 0, 'x'}))
	assert.Empty(t, String(&[64]int8{}))
	var full [16]int8
	for i := range full {
		full[i] = 'a'
	}
	assert.Equal(t, "aaaaaaaaaaaaaaaa", String(&full))
}

func TestInterfaceName(t *testing.T) {
	c := &Context{OwnNetNS: 1}
	const loopback = 1
	assert.Empty(t, c.InterfaceName(1, 0), "not known")
	assert.Equal(t, "lo", c.InterfaceName(1, loopback))
	assert.Empty(t, c.InterfaceName(1, 1<<30), "gone")
	assert.Empty(t, c.InterfaceName(2, loopback), "another namespace")
	c.OtherNames = func(netns, index uint32) string { return fmt.Sprint(netns, ":", index) }
	assert.Equal(t, "2:1", c.InterfaceName(2, loopback))

	c.names.byIndex[loopback] = "renamed"
	assert.Equal(t, "renamed", c.InterfaceName(1, loopback), "remembered")
	c.ForgetNames()
	assert.Equal(t, "lo", c.InterfaceName(1, loopback))
}

func TestInterfaceNamesAreBounded(t *testing.T) {
	c := &Context{OwnNetNS: 1}
	for index := range uint32(3 * maxInterfaceNames) {
		c.InterfaceName(1, 1<<20+index)
		require.LessOrEqual(t, len(c.names.byIndex), maxInterfaceNames)
	}
}
