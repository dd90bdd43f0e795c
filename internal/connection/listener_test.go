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
			table := NewListeners(ListenerOptions{Max: plenty})
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

func TestListenersByPort(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	table := NewListeners(ListenerOptions{Max: plenty, Memory: time.Minute, Now: clock.now})
	expect := func(netns uint32, port uint16, want uint64) {
		t.Helper()
		got, ok := table.ByPort(netns, port)
		switch {
		case ok != (want != 0):
			t.Errorf("found = %v, want socket %d", ok, want)
		case ok && got.Socket != want:
			t.Errorf("socket = %d, want %d", got.Socket, want)
		}
	}
	expect(7, 80, 0)
	table.Add(listen(1, 7, "0.0.0.0:80"))
	table.Add(listen(2, 7, "[fd00::1]:80"))
	table.Add(listen(1, 7, "0.0.0.0:80")) // a scan repeats itself
	table.Add(listen(3, 8, "0.0.0.0:80"))
	expect(7, 80, 2)
	expect(8, 80, 3)
	expect(7, 81, 0)
	table.Remove(2)
	expect(7, 80, 1)
	clock.advance(time.Second)
	table.Remove(1)
	table.Remove(1)
	expect(7, 80, 1)
	table.Add(listen(4, 7, "127.0.0.1:80"))
	expect(7, 80, 4)
	clock.advance(time.Hour)
	expect(7, 80, 4)
	table.Remove(4)
	clock.advance(59 * time.Second)
	expect(7, 80, 4)
	clock.advance(time.Second)
	expect(7, 80, 0)
}

func TestListenersAddAgain(t *testing.T) {
	t.Parallel()
	table := NewListeners(ListenerOptions{Max: plenty})
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
	if got, ok := table.ByPort(1, 81); !ok || got.Socket != 1 {
		t.Error("the socket is not on its new port")
	}
	table.Remove(1)
	if len(table.sockets) != 0 {
		t.Errorf("%d sockets are left over", len(table.sockets))
	}
}

func TestListenersForget(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	table := NewListeners(ListenerOptions{Max: plenty, Memory: time.Minute, Now: clock.now})
	table.Add(listen(1, 1, "0.0.0.0:80"))
	clock.advance(time.Hour)
	if _, ok := table.Lookup(1, at("10.0.0.1:80")); !ok {
		t.Error("a live listener was forgotten")
	}
	table.Remove(1)
	clock.advance(59 * time.Second)
	if _, ok := table.Lookup(1, at("10.0.0.1:80")); !ok {
		t.Error("forgotten too early")
	}
	// It begins and ends again. The first end must not forget the second.
	table.Add(listen(2, 1, "0.0.0.0:80"))
	table.Remove(2)
	clock.advance(59 * time.Second)
	if _, ok := table.Lookup(1, at("10.0.0.1:80")); !ok {
		t.Error("the second end was forgotten with the first")
	}
	clock.advance(time.Second)
	if _, ok := table.Lookup(1, at("10.0.0.1:80")); ok {
		t.Error("Lookup still remembers")
	}
	table.Remove(3) // whatever happens next drops what is too old
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
	if table.Add(listen(5, 1, "0.0.0.0:81")) {
		t.Error("the fifth of four was taken")
	}
	table.Remove(1)
	if !table.Add(listen(5, 1, "0.0.0.0:81")) {
		t.Error("refused, though one has ended")
	}
}

func TestListenersLookupDoesNotAllocate(t *testing.T) {
	table := NewListeners(ListenerOptions{Max: plenty})
	table.Add(listen(1, 1, "[::]:80"))
	table.Add(listen(2, 1, "0.0.0.0:81"))
	table.Remove(2)
	allocated := testing.AllocsPerRun(100, func() {
		table.Lookup(1, at4)
		table.Lookup(1, at4Ended)
		table.ByPort(1, 80)
		table.ByPort(1, 81)
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
	table := NewListeners(ListenerOptions{Max: plenty})
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
