// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// testClock is a clock that a test moves.
type testClock struct{ time time.Time }

func newTestClock() *testClock { return &testClock{time.Unix(1_700_000_000, 0)} }

func (c *testClock) now() time.Time { return c.time }

func (c *testClock) advance(d time.Duration) { c.time = c.time.Add(d) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func listen(socket uint64, netns uint32, address string) *Listener {
	return &Listener{Socket: socket, NetNS: netns, Address: at(address)}
}

func TestListenersLookup(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		live   []*Listener
		ended  []*Listener
		netns  uint32
		server string
		want   uint64 // socket; 0 = none
	}{
		{name: "none", netns: 1, server: "10.0.0.1:80"},
		{name: "exact", live: []*Listener{listen(1, 1, "0.0.0.0:80"), listen(2, 1, "10.0.0.1:80")}, netns: 1, server: "10.0.0.1:80", want: 2},
		{name: "any, v4", live: []*Listener{listen(1, 1, "[::]:80"), listen(2, 1, "0.0.0.0:80")}, netns: 1, server: "10.0.0.1:80", want: 2},
		{name: "any, dual stack", live: []*Listener{listen(1, 1, "[::]:80")}, netns: 1, server: "10.0.0.1:80", want: 1},
		{name: "any, v6", live: []*Listener{listen(1, 1, "[::]:80")}, netns: 1, server: "[fd00::1]:80", want: 1},
		{name: "v4 takes no v6", live: []*Listener{listen(1, 1, "0.0.0.0:80")}, netns: 1, server: "[fd00::1]:80"},
		{name: "other namespace", live: []*Listener{listen(1, 2, "0.0.0.0:80")}, netns: 1, server: "10.0.0.1:80"},
		{name: "other port", live: []*Listener{listen(1, 1, "0.0.0.0:81")}, netns: 1, server: "10.0.0.1:80"},
		{name: "other address", live: []*Listener{listen(1, 1, "10.0.0.2:80")}, netns: 1, server: "10.0.0.1:80"},
		{name: "mapped listener", live: []*Listener{listen(1, 1, "[::ffff:10.0.0.1]:80")}, netns: 1, server: "10.0.0.1:80", want: 1},
		{name: "mapped server", live: []*Listener{listen(1, 1, "10.0.0.1:80")}, netns: 1, server: "[::ffff:10.0.0.1]:80", want: 1},
		{name: "zone", live: []*Listener{listen(1, 1, "[fe80::1%eth0]:80")}, netns: 1, server: "[fe80::1]:80", want: 1},
		{name: "reuseport, the latest", live: []*Listener{listen(1, 1, "0.0.0.0:80"), listen(2, 1, "0.0.0.0:80")}, netns: 1, server: "10.0.0.1:80", want: 2},
		{name: "reuseport, the latest ended", live: []*Listener{listen(1, 1, "0.0.0.0:80")}, ended: []*Listener{listen(2, 1, "0.0.0.0:80")}, netns: 1, server: "10.0.0.1:80", want: 1},
		{name: "ended", ended: []*Listener{listen(1, 1, "0.0.0.0:80")}, netns: 1, server: "10.0.0.1:80", want: 1},
		{name: "live before ended", live: []*Listener{listen(1, 1, "[::]:80")}, ended: []*Listener{listen(2, 1, "10.0.0.1:80")}, netns: 1, server: "10.0.0.1:80", want: 1},
		{name: "ended, exact first", ended: []*Listener{listen(1, 1, "10.0.0.1:80"), listen(2, 1, "0.0.0.0:80")}, netns: 1, server: "10.0.0.1:80", want: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			table := NewListeners(ListenerOptions{})
			for _, l := range append(test.live, test.ended...) {
				table.Add(l)
			}
			for _, l := range test.ended {
				table.Remove(l.Socket)
			}
			got, ok := table.Lookup(test.netns, at(test.server))
			if ok != (test.want != 0) {
				t.Fatalf("found = %v, want socket %d", ok, test.want)
			}
			if ok && got.Socket != test.want {
				t.Errorf("socket = %d, want %d", got.Socket, test.want)
			}
		})
	}
}

func TestListenersRemoveReportsTheLastOnPort(t *testing.T) {
	t.Parallel()
	table := NewListeners(ListenerOptions{})
	table.Add(listen(1, 7, "0.0.0.0:80"))
	table.Add(listen(2, 7, "[fd00::1]:80"))
	table.Add(listen(2, 7, "[fd00::1]:80")) // a scan repeats itself
	table.Add(listen(3, 8, "0.0.0.0:80"))
	for _, step := range []struct {
		socket uint64
		netns  uint32
		port   uint16
		last   bool
	}{
		{1, 7, 80, false},
		{2, 7, 80, true},
		{2, 0, 0, false},
		{9, 0, 0, false},
		{3, 8, 80, true},
	} {
		netns, port, last := table.Remove(step.socket)
		if netns != step.netns || port != step.port || last != step.last {
			t.Errorf("Remove(%d) = %d, %d, %v, want %d, %d, %v", step.socket, netns, port, last, step.netns, step.port, step.last)
		}
	}
	if table.Len() != 0 {
		t.Errorf("Len = %d, want 0", table.Len())
	}
}

func TestListenersAddAgain(t *testing.T) {
	t.Parallel()
	table := NewListeners(ListenerOptions{})
	first := listen(1, 1, "0.0.0.0:80")
	first.Owner = owner.Ref{Key: owner.Key{PID: 10, Start: 1}, Source: owner.ByHolder}
	table.Add(first)
	first.Owner.PID = 99 // Add must have copied

	again := listen(1, 1, "0.0.0.0:80")
	table.Add(again)
	got, _ := table.Lookup(1, at("10.0.0.1:80"))
	if got.Owner.PID != 10 {
		t.Errorf("owner's pid = %d after an addition that knows no owner, want 10", got.Owner.PID)
	}
	again.Owner = owner.Ref{Key: owner.Key{PID: 11, Start: 2}, Source: owner.ByHolder}
	table.Add(again)
	if got, _ = table.Lookup(1, at("10.0.0.1:80")); got.Owner.PID != 11 {
		t.Errorf("owner's pid = %d, want the later one, 11", got.Owner.PID)
	}

	// The same socket elsewhere: its end was missed.
	table.Add(listen(1, 1, "0.0.0.0:81"))
	if _, _, last := table.Remove(1); !last {
		t.Error("the socket was not the last on its new port")
	}
	if table.Len() != 0 {
		t.Errorf("Len = %d, want 0", table.Len())
	}
}

func TestListenersForget(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	table := NewListeners(ListenerOptions{Memory: time.Minute, Now: clock.now})
	table.Add(listen(1, 1, "0.0.0.0:80"))
	if !table.HasPort(1, 80) || table.HasPort(1, 81) || table.HasPort(2, 80) {
		t.Error("HasPort is wrong about a live listener")
	}
	clock.advance(time.Hour)
	if !table.HasPort(1, 80) {
		t.Error("a live listener was forgotten")
	}
	table.Remove(1)
	clock.advance(59 * time.Second)
	if _, ok := table.Lookup(1, at("10.0.0.1:80")); !ok || !table.HasPort(1, 80) {
		t.Error("forgotten too early")
	}
	// It begins and ends anew: the first end must not make the second forgotten.
	table.Add(listen(2, 1, "0.0.0.0:80"))
	table.Remove(2)
	clock.advance(59 * time.Second)
	if _, ok := table.Lookup(1, at("10.0.0.1:80")); !ok || !table.HasPort(1, 80) {
		t.Error("the second end was forgotten with the first")
	}
	clock.advance(time.Second)
	if _, ok := table.Lookup(1, at("10.0.0.1:80")); ok {
		t.Error("Lookup still remembers")
	}
	if table.HasPort(1, 80) {
		t.Error("HasPort still remembers")
	}
	if len(table.places) != 0 || len(table.ports) != 0 || table.ended.len() != 0 {
		t.Errorf("left over: %d places, %d ports, %d ends", len(table.places), len(table.ports), table.ended.len())
	}
}

func TestListenersAreBounded(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	table := NewListeners(ListenerOptions{Max: 4, Now: clock.now})
	for socket := range uint64(1000) {
		address := fmt.Sprintf("10.0.%d.%d:80", socket/256, socket%256)
		if !table.Add(listen(socket+1, 1, address)) {
			t.Fatalf("listener %d was refused", socket)
		}
		clock.advance(time.Millisecond)
		table.Remove(socket + 1)
	}
	if len(table.places) > 5 || len(table.ports) > 5 || cap(table.ended.items) > 64 {
		t.Errorf("remembered %d places, %d ports in a queue of %d", len(table.places), len(table.ports), cap(table.ended.items))
	}
	for socket := range uint64(4) {
		table.Add(listen(socket+1, 1, "0.0.0.0:81"))
	}
	if table.Add(listen(5, 1, "0.0.0.0:81")) || table.Rejected() != 1 {
		t.Errorf("the fifth of four was taken; %d rejected", table.Rejected())
	}
	for socket := range uint64(4) {
		if _, _, last := table.Remove(socket + 1); last {
			t.Error("called the last, though one is live that was refused")
		}
	}
}

func TestListenersLookupDoesNotAllocate(t *testing.T) {
	table := NewListeners(ListenerOptions{})
	table.Add(listen(1, 1, "[::]:80"))
	table.Add(listen(2, 1, "0.0.0.0:81"))
	table.Remove(2)
	allocated := testing.AllocsPerRun(100, func() {
		table.Lookup(1, at4)
		table.Lookup(1, at4Ended)
		table.HasPort(1, 81)
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}

var (
	at4      = netip.MustParseAddrPort("10.0.0.1:80")
	at4Ended = netip.MustParseAddrPort("10.0.0.1:81")
)

func BenchmarkListenersLookup(b *testing.B) {
	table := NewListeners(ListenerOptions{})
	for socket := range uint64(1000) {
		table.Add(listen(socket+1, uint32(socket%10), fmt.Sprintf("0.0.0.0:%d", 1+socket)))
	}
	table.Add(listen(5000, 1, "[::]:80"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := table.Lookup(1, at4); !ok {
			b.Fatal("not found")
		}
	}
}
