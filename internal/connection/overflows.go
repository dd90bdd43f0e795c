// SPDX-License-Identifier: Apache-2.0

package connection

// Overflow counts segments that full accept queues of one network namespace dropped since
// the last snapshot, and whose listener is unknown.
type Overflow struct {
	NetNS uint32
	N     uint64
}

// Overflows finds the listener whose accept queue overflowed, where the kernel counts per
// network namespace only. A listener's own drop counter also grows with other events, such
// as deferred accepts. It can therefore only rule a listener out.
//
// Each snapshot is a pass: read the namespaces' counters, read every listener, call Share
// for each namespace, then EndPass. An overflow between the two readings shows in the
// drops of one pass and in the counter of the next. So every listener that dropped in
// either can be the cause.
type Overflows struct {
	// Selected is set if the configuration selects ports.
	Selected   bool
	namespaces map[uint32]*overflowing
	sockets    map[uint64]*suspect
	doubt      int
}

// doubtful is the number of passes until all drops belong to known listeners.
const doubtful = 2

type overflowing struct {
	suspects map[uint64]*suspect
	// count is the namespace's counter at the last pass that read it.
	count uint64
	known bool
	// kept namespaces stay without a listener.
	kept bool
	// hidden is set if the namespace has listeners that are not in this table.
	hidden bool
	doubt  int
}

type suspect struct {
	netns uint32
	// wanted is set if the configuration selects its port.
	wanted bool
	// total counts the overflows that belong to it.
	total uint64
	// drops are its counter at this pass and at the two before.
	drops  [3]uint32
	looked bool
}

// NewOverflows creates an Overflows without listeners.
func NewOverflows() *Overflows {
	return &Overflows{namespaces: make(map[uint32]*overflowing), sockets: make(map[uint64]*suspect)}
}

// Opened adds a listener, and again once its port is known. It reports whether the
// namespace is new; the caller then calls Begin.
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

// Ended removes a listener and returns its overflows.
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

// Begin sets a namespace's counter. Overflows count from there.
func (o *Overflows) Begin(netns uint32, count uint64) {
	if namespace, ok := o.namespaces[netns]; ok {
		namespace.count, namespace.known = count, true
	}
}

// Keep begins a namespace before it has a listener, and keeps it without one.
func (o *Overflows) Keep(netns uint32, count uint64) {
	o.namespaces[netns] = &overflowing{suspects: make(map[uint64]*suspect), kept: true}
	o.Begin(netns, count)
}

// Doubt says that there are listeners without a call of Opened.
func (o *Overflows) Doubt() { o.doubt = doubtful }

// Hide says that a namespace has a listener without room in this table. From then on, any
// increase of the counter can belong to that listener.
func (o *Overflows) Hide(netns uint32) {
	if namespace, ok := o.namespaces[netns]; ok {
		namespace.hidden = true
	}
}

// Look records a listener's drop counter.
func (o *Overflows) Look(socket uint64, drops uint32) {
	if s, ok := o.sockets[socket]; ok {
		s.drops[0], s.looked = drops, true
	}
}

// Share assigns the increase of a namespace's counter to its listener. It returns the
// increase if several listeners can be the cause, and false if unselected ports can.
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

// suspected returns one of the listeners that are not cleared, how many there are, and how
// many of them the configuration selects.
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

// cleared reports whether the listener dropped nothing.
func (s *suspect) cleared() bool { return s.looked && s.drops[0] == s.drops[2] }

// EndPass ends a pass and removes namespaces without listeners.
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

// Of returns a listener's overflows, and false if the namespace's counter could not be
// read.
func (o *Overflows) Of(socket uint64) (uint64, bool) {
	s, ok := o.sockets[socket]
	if !ok {
		return 0, false
	}
	return s.total, o.namespaces[s.netns].known
}

// Namespaces returns those with listeners now or recently.
func (o *Overflows) Namespaces() []uint32 {
	all := make([]uint32, 0, len(o.namespaces))
	for netns := range o.namespaces {
		all = append(all, netns)
	}
	return all
}
