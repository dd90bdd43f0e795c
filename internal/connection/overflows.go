// SPDX-License-Identifier: Apache-2.0

package connection

// Overflow is what the accept queues of one network namespace turned away since the
// snapshot before, as far as no listener is known for it.
type Overflow struct {
	NetNS uint32
	N     uint64
}

// Overflows finds the listener whose accept queue overflowed where the kernel counts
// per network namespace only. A listener's own drop counter grows with each overflow
// and with much else, such as deferred accepts: it only tells who was not the one.
//
// Each snapshot is a pass: first the namespaces' counters are read, then every listener
// is looked at, then Share is called for each namespace, then EndPass. An overflow
// between the two readings shows in the drops of one pass and in the counter of the
// next; whoever dropped in either may be the one.
type Overflows struct {
	// Selected: the configuration asks for some ports only.
	Selected   bool
	namespaces map[uint32]*overflowing
	sockets    map[uint64]*suspect
	doubt      int
}

// doubtful is how many passes have to end until all drops are those of known listeners.
const doubtful = 2

type overflowing struct {
	suspects map[uint64]*suspect
	// count is the namespace's counter at the last pass that read it.
	count uint64
	known bool
	// kept: it is not forgotten when it has no listener.
	kept bool
	// hidden: it has listeners that are not here.
	hidden bool
	doubt  int
}

type suspect struct {
	netns uint32
	// wanted: the configuration asks for its port.
	wanted bool
	// total is what was found to be its own.
	total uint64
	// drops are its counter at this pass, the one before, and the one before that.
	drops  [3]uint32
	looked bool
}

// NewOverflows makes one without listeners.
func NewOverflows() *Overflows {
	return &Overflows{namespaces: make(map[uint32]*overflowing), sockets: make(map[uint64]*suspect)}
}

// Opened adds a listener; again when its port is known. It reports whether the namespace
// is new: Begin follows then.
func (o *Overflows) Opened(netns uint32, socket uint64, wanted bool) bool {
	if known, ok := o.sockets[socket]; ok {
		if known.netns == netns {
			known.wanted = wanted
			return false
		}
		o.Ended(socket)
	}
	s := &suspect{netns: netns, wanted: wanted}
	o.sockets[socket] = s
	namespace, ok := o.namespaces[netns]
	if !ok {
		namespace = &overflowing{suspects: make(map[uint64]*suspect)}
		o.namespaces[netns] = namespace
	}
	namespace.suspects[socket] = s
	return !ok
}

// Ended forgets a listener. It returns what was found to be its own.
func (o *Overflows) Ended(socket uint64) uint64 {
	s, ok := o.sockets[socket]
	if !ok {
		return 0
	}
	delete(o.sockets, socket)
	namespace := o.namespaces[s.netns]
	delete(namespace.suspects, socket)
	namespace.doubt = doubtful
	return s.total
}

// Begin sets a namespace's counter, from which on overflows count.
func (o *Overflows) Begin(netns uint32, count uint64) {
	if namespace, ok := o.namespaces[netns]; ok {
		namespace.count, namespace.known = count, true
	}
}

// Keep begins a namespace before it has a listener, and keeps it when it has none.
func (o *Overflows) Keep(netns uint32, count uint64) {
	o.namespaces[netns] = &overflowing{suspects: make(map[uint64]*suspect), kept: true}
	o.Begin(netns, count)
}

// Doubt tells that there are listeners which nobody opened here.
func (o *Overflows) Doubt() { o.doubt = doubtful }

// Hide tells that a namespace has a listener for which there is no room here: what the
// counter grows by can be that one's from now on.
func (o *Overflows) Hide(netns uint32) {
	if namespace, ok := o.namespaces[netns]; ok {
		namespace.hidden = true
	}
}

// Look takes a listener's drop counter.
func (o *Overflows) Look(socket uint64, drops uint32) {
	if s, ok := o.sockets[socket]; ok {
		s.drops[0], s.looked = drops, true
	}
}

// Share gives what a namespace's counter has grown by to the listener that it was, and
// returns what may be several listeners'. It returns false when that may be of ports
// which nobody asks for.
func (o *Overflows) Share(netns uint32, count uint64) (Overflow, bool) {
	rest := Overflow{NetNS: netns}
	namespace, ok := o.namespaces[netns]
	if !ok {
		return rest, false
	}
	var grown uint64
	if namespace.known && count > namespace.count {
		grown = count - namespace.count
	}
	namespace.count, namespace.known = count, true
	if grown == 0 {
		return rest, true
	}
	last, suspects, wanted := namespace.suspected((*suspect).cleared)
	if suspects == 0 { // a kernel may not count a listener's drops
		last, suspects, wanted = namespace.suspected(func(*suspect) bool { return false })
	}
	doubt := o.doubt > 0 || namespace.doubt > 0 || namespace.hidden
	switch {
	case suspects == 1 && !doubt:
		last.total += grown
		return rest, true
	case o.Selected && (doubt || wanted < suspects):
		return rest, false
	default:
		rest.N = grown
		return rest, true
	}
}

// suspected are the listeners that are not cleared: one of them, how many there are, and
// how many the configuration asks for.
func (n *overflowing) suspected(cleared func(*suspect) bool) (one *suspect, all, wanted int) {
	for _, s := range n.suspects {
		if cleared(s) {
			continue
		}
		one = s
		all++
		if s.wanted {
			wanted++
		}
	}
	return one, all, wanted
}

// cleared: it has dropped nothing.
func (s *suspect) cleared() bool { return s.looked && s.drops[0] == s.drops[2] }

// EndPass ends a pass. Namespaces without listeners are forgotten.
func (o *Overflows) EndPass() {
	o.doubt = max(0, o.doubt-1)
	for _, s := range o.sockets {
		s.drops[2], s.drops[1] = s.drops[1], s.drops[0]
		s.looked = false
	}
	for netns, namespace := range o.namespaces {
		namespace.doubt = max(0, namespace.doubt-1)
		if len(namespace.suspects) == 0 && namespace.doubt == 0 && !namespace.kept {
			delete(o.namespaces, netns)
		}
	}
}

// Of is what was found to be a listener's own. It returns false where the namespace's
// counter could not be read.
func (o *Overflows) Of(socket uint64) (uint64, bool) {
	s, ok := o.sockets[socket]
	if !ok {
		return 0, false
	}
	return s.total, o.namespaces[s.netns].known
}

// Namespaces are those with listeners, or that had some lately.
func (o *Overflows) Namespaces() []uint32 {
	all := make([]uint32, 0, len(o.namespaces))
	for netns := range o.namespaces {
		all = append(all, netns)
	}
	return all
}
