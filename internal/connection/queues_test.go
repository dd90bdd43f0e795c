// SPDX-License-Identifier: Apache-2.0

package connection

import "testing"

func TestListenersQueues(t *testing.T) {
	t.Parallel()
	table := NewListeners(ListenerOptions{Max: plenty})
	look := func(q Queues, want uint64) {
		t.Helper()
		listener, added := table.Look(&q)
		if listener == nil || listener.Socket != q.Socket {
			t.Fatalf("listener = %+v, want the one of socket %d", listener, q.Socket)
		}
		if added != want {
			t.Errorf("added = %d, want %d", added, want)
		}
	}
	if listener, added := table.Look(&Queues{Socket: 1, Overflows: 7}); listener != nil || added != 0 {
		t.Errorf("an unknown socket gave %+v, %d", listener, added)
	}
	table.Add(listen(1, 1, "0.0.0.0:80"))
	table.Add(listen(2, 1, "0.0.0.0:80"))
	table.Add(listen(3, 2, "0.0.0.0:80")) // never read
	look(Queues{Socket: 1, Since: 10, Accept: 3, Overflows: 7}, 7)
	look(Queues{Socket: 1, Since: 10, Accept: 4, Overflows: 7}, 0)
	look(Queues{Socket: 1, Since: 10, Accept: 5, Overflows: 9}, 2)
	look(Queues{Socket: 2, Since: 11, Accept: 1, Overflows: 100}, 100)
	look(Queues{Socket: 1, Since: 20, Overflows: 30}, 30) // another listener, at the same address
	look(Queues{Socket: 1, Since: 20, Accept: 2, Overflows: 4}, 4)
	look(Queues{Socket: 1, Since: 20, Unread: true, OverflowsUnread: true}, 0)
	look(Queues{Socket: 1, Since: 20, Accept: 2, Overflows: 4}, 0)

	seen := map[uint64]uint32{}
	for listener, queues := range table.Queues() {
		if listener.Socket != queues.Socket {
			t.Errorf("listener %d has the queues of %d", listener.Socket, queues.Socket)
		}
		seen[listener.Socket] = queues.Accept
	}
	if len(seen) != 2 || seen[1] != 2 || seen[2] != 1 {
		t.Errorf("lengths by socket = %v, want 1: 2, 2: 1", seen)
	}

	for _, last := range []struct{ overflows, want uint64 }{{6, 2}, {4, 0}, {0, 0}} {
		if listener, added := table.LastLook(1, last.overflows); listener == nil || added != last.want {
			t.Errorf("last look at %d: %+v, added %d, want %d", last.overflows, listener, added, last.want)
		}
	}
	table.Remove(1)
	if listener, added := table.LastLook(1, 9); listener != nil {
		t.Errorf("an ended socket gave %+v, %d", listener, added)
	}
	for listener := range table.Queues() {
		if listener.Socket != 2 {
			t.Errorf("socket %d still has queues", listener.Socket)
		}
	}
	// Its address is another listener's now.
	table.Add(listen(1, 1, "0.0.0.0:81"))
	look(Queues{Socket: 1, Since: 20, Overflows: 1}, 1)
}
