// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// portCounts follows the SYNs and completed connections of ports with a listener.
type portCounts struct {
	counters *ebpf.Map
	// placed are the SYNs of ports that have a place in a port table. Others are in counters.
	placed func(shared.PortKey) uint64
	// syns and completed are set if hooks count them.
	syns, completed bool
	ports           map[shared.PortKey]*portCount
	perCPU          []uint64
}

// portCount is what the kernel had counted at the last report, and how many listeners the port has.
type portCount struct {
	listeners       int
	syns, completed uint64
}

func newPortCounts(counters *ebpf.Map, placed func(shared.PortKey) uint64) portCounts {
	return portCounts{counters: counters, placed: placed, ports: make(map[shared.PortKey]*portCount), perCPU: make([]uint64, ebpf.MustPossibleCPU())}
}

// begin takes one more listener of a port. What was counted before its first one is not its own.
func (p *portCounts) begin(key shared.PortKey) {
	if p.ports == nil {
		return
	}
	known := p.ports[key]
	if known == nil {
		known = &portCount{syns: p.readSYNs(key), completed: p.read(key, shared.PortCountOpened)}
		p.ports[key] = known
	}
	known.listeners++
}

func (p *portCounts) end(key shared.PortKey) {
	known := p.ports[key]
	if known == nil {
		return
	}
	if known.listeners--; known.listeners == 0 {
		delete(p.ports, key)
	}
}

// advance returns what was added since the last time; nil for what no hook counts.
func (p *portCounts) advance(key shared.PortKey) (syns, completed *uint64) {
	known := p.ports[key]
	if known == nil {
		return nil, nil
	}
	if p.syns {
		syns = grown(&known.syns, p.readSYNs(key))
	}
	if p.completed {
		completed = grown(&known.completed, p.read(key, shared.PortCountOpened))
	}
	return syns, completed
}

// grown moves a count. One that went back begins again: its entry was deleted.
func grown(last *uint64, now uint64) *uint64 {
	added := now
	if now >= *last {
		added = now - *last
	}
	*last = now
	return &added
}

// readSYNs adds up what was counted before the port had its place, and since.
func (p *portCounts) readSYNs(key shared.PortKey) uint64 {
	return p.read(key, shared.PortCountSyn) + p.placed(key)
}

// read adds up a count over all CPUs and both families. An entry that is not there has counted
// nothing.
func (p *portCounts) read(key shared.PortKey, count shared.PortCount) (sum uint64) {
	for _, family := range []uint8{4, 6} {
		k := shared.PortCounterKey{Netns: key.Netns, Port: uint16(key.Port), Family: family, Count: uint8(count)}
		if p.counters.Lookup(&k, &p.perCPU) != nil {
			continue
		}
		for _, n := range p.perCPU {
			sum += n
		}
	}
	return sum
}
