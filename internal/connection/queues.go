// SPDX-License-Identifier: Apache-2.0

package connection

import "iter"

// Queues is one look at the two queues of a listening socket.
type Queues struct {
	// Socket is that of the Listener.
	Socket uint64
	// Since is when counting began, in nanoseconds of the boot clock. A new value is
	// another listener, whose socket has the address of an earlier one.
	Since uint64
	// Accept counts connections that are established and wait for accept(). The kernel
	// refuses more when they exceed AcceptLimit, so one over it is possible.
	Accept, AcceptLimit uint32
	// SYN counts handshakes in progress; those answered by SYN cookies are in no queue.
	SYN uint32
	// Overflows counts the segments that the full accept queue turned away since
	// counting began: SYNs, and ACKs that would have ended a handshake.
	Overflows uint64
	// Unread: nobody could ask the socket, and the lengths and the limit are not known.
	// OverflowsUnread: the overflows are not known.
	Unread, OverflowsUnread bool
}

// Look keeps the look at a listener's queues until the next one. It returns the
// listener, which must not be changed, and by how much the overflows grew since the
// look before; nil when the socket is unknown.
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

// LastLook is Look for a listener that ends, of which nothing but the overflows is
// told; a count below that of the look before is none. Remove follows.
func (l *Listeners) LastLook(socket, overflows uint64) (listener *Listener, added uint64) {
	if last := l.queues[socket].Overflows; overflows > last {
		added = overflows - last
	}
	return l.sockets[socket], added
}

// Queues are the last looks at the listeners that have not ended, those that were
// looked at. A pass of the kernel's may miss one: the look before it stands.
func (l *Listeners) Queues() iter.Seq2[*Listener, *Queues] {
	return func(yield func(*Listener, *Queues) bool) {
		for socket, queues := range l.queues {
			if !yield(l.sockets[socket], &queues) {
				return
			}
		}
	}
}
