// SPDX-License-Identifier: Apache-2.0

package connection

import "iter"

// Queues is one reading of the two queues of a listening socket.
type Queues struct {
	// Socket is the Listener's.
	Socket uint64
	// Since is when counting began, in nanoseconds of the boot clock. A new value
	// means another listener whose socket reuses the kernel address.
	Since uint64
	// Accept counts connections that are established and wait for accept(). The kernel
	// refuses more when they exceed AcceptLimit, so one over it is possible.
	Accept, AcceptLimit uint32
	// SYN counts handshakes in progress. Those with SYN cookies are in no queue.
	SYN uint32
	// Overflows counts the segments that the full accept queue dropped since
	// counting began: SYNs, and ACKs that would have completed a handshake.
	Overflows uint64
	// Unread means that the socket could not be read, and lengths and limit are unknown.
	// OverflowsUnread means that the overflows are unknown.
	Unread, OverflowsUnread bool
}

// Look keeps a reading of a listener's queues until the next one. It returns the listener
// and the increase of its overflows; nil if the socket is unknown. The caller must not
// change the listener.
func (l *Listeners) Look(q *Queues) (listener *Listener, added uint64) {
	listener, known := l.sockets[q.Socket]
	if !known {
		return nil, 0
	}
	last, now := l.queues[q.Socket], *q
	switch {
	case last.Since != q.Since:
		last.Overflows = 0
	case q.OverflowsUnread:
		now.Overflows = last.Overflows
	case last.Overflows > q.Overflows:
		last.Overflows = 0
	}
	l.queues[q.Socket] = now
	return listener, now.Overflows - last.Overflows
}

// LastLook is Look for a listener that ends, with its overflows only. A lower count than
// in the last reading adds nothing. Remove follows.
func (l *Listeners) LastLook(socket, overflows uint64) (listener *Listener, added uint64) {
	if last := l.queues[socket].Overflows; overflows > last {
		added = overflows - last
	}
	return l.sockets[socket], added
}

// Queues yields the last readings of the listeners that have not ended. If the kernel's
// pass misses a listener, its previous reading stays valid.
func (l *Listeners) Queues() iter.Seq2[*Listener, *Queues] {
	return func(yield func(*Listener, *Queues) bool) {
		for socket, queues := range l.queues {
			if !yield(l.sockets[socket], &queues) {
				return
			}
		}
	}
}
