// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"maps"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// scans are what user space asks for: what was there before us, and the live figures.
type scans struct {
	listeners, connections, orphans hook.Iterator
	live                            look[shared.LiveRecord]
	queues                          look[shared.ListenerLook]
}

func (s *scans) all() []*hook.Iterator {
	return []*hook.Iterator{&s.listeners, &s.connections, &s.orphans}
}

// load comes when the listeners' table is there.
func (s *scans) load(p *Probe) {
	s.prepare(p)
	for _, scan := range s.all() {
		_ = scan.Attach(&p.objects.scans) // its State has the error
	}
	s.live.load(p.objects)
	s.queues.load(p.objects)
}

// prepare loads nothing yet.
func (s *scans) prepare(p *Probe) {
	s.listeners = hook.Iterator{
		Feature: hook.FeatureExistingListener, Program: "scan_listeners", Point: "iter/task_file",
		Gives: "listeners that were there before",
	}
	s.connections = hook.Iterator{
		Feature: hook.FeatureExistingConnection, Program: "scan_connections", Point: "iter/task_file",
		Gives: "connections that were open before",
	}
	s.orphans = hook.Iterator{
		Feature: hook.FeatureOrphan, Program: "scan_orphans", Point: "iter/tcp",
		Gives: "connections open before that no process holds",
	}
	s.newLooks(p)
}

func (s *scans) states() []HookState {
	var states []HookState
	for _, scan := range s.all() {
		if scan.Point == "" {
			continue // not loaded yet
		}
		states = append(states, scan.State())
	}
	return append(append(states, s.live.states()...), s.queues.states()...)
}

func (s *scans) close() error {
	err := errors.Join(s.live.close(), s.queues.close())
	for _, scan := range s.all() {
		err = errors.Join(err, scan.Close())
	}
	return err
}

// scanExisting tells of listeners first: a connection is adopted when its port has
// one.
func (p *Probe) scanExisting() error {
	d := &p.decoder
	// A process of each network namespace that has listeners.
	insiders := make(map[uint32]uint32)
	outside := &outsideNetNS{namespaces: make(map[uint32]bool)}
	err := p.scanListeners(func(r *shared.ScanRecord) {
		where, pid := r.Listener.Head.Netns, r.Listener.Owner.Process.Pid
		if _, ok := insiders[where]; ok || where == d.ownNetNS {
			return
		}
		// A process may hold a listener of a namespace that it is not in itself.
		inside, err := netns.OfProcess(pid)
		if inside == where {
			insiders[where] = pid
		}
		outside.note(where, err)
	})
	err = errors.Join(err, hook.Each(&p.scans.connections, d.process), p.findOrphans())
	for netns, pid := range insiders {
		delete(outside.namespaces, netns)
		outside.note(netns, p.inNetNSOf(pid, p.findOrphans))
	}
	outside.warn(p.logger)
	return err
}

// outsideNetNS are the network namespaces that could not be looked into: the process
// ended, or capabilities are missing.
type outsideNetNS struct {
	namespaces map[uint32]bool
	// err is the last one's.
	err error
}

func (o *outsideNetNS) note(netns uint32, err error) {
	if err != nil {
		o.namespaces[netns], o.err = true, err
	}
}

func (o *outsideNetNS) warn(logger *zap.Logger) {
	if len(o.namespaces) > 0 {
		logger.Warn("connections open before that no process holds were not looked for in other network namespaces",
			zap.Int("namespaces", len(o.namespaces)), zap.Error(capability.Explain(o.err, capability.SysPtrace, capability.SysAdmin)))
	}
}

// scanListeners tells of every listener that a process holds.
func (p *Probe) scanListeners(also func(*shared.ScanRecord)) error {
	return hook.Each(&p.scans.listeners, func(r *shared.ScanRecord) {
		if r.Process.Head.Kind == uint32(shared.RecordKindProcess) {
			p.decoder.process(&r.Process)
		}
		p.decoder.listen(&r.Listener)
		also(r)
	})
}

// findOrphans adopts sockets of the thread's network namespace, whoever holds them,
// and tells of listeners that no process holds.
func (p *Probe) findOrphans() error {
	return hook.Each(&p.scans.orphans, func(r *shared.ScanRecord) {
		if _, known := p.decoder.listeners.sockets[r.Listener.Sk]; !known {
			p.decoder.listen(&r.Listener)
		}
	})
}

// rescanListeners makes good for records of listeners that the ring had no room for:
// it tells of all, and of the end of those that are gone.
func (p *Probe) rescanListeners() error {
	found := make(map[uint64]bool)
	see := func(r *shared.ScanRecord) { found[r.Listener.Sk] = true }
	// What no process holds, the map of listeners tells, of all namespaces.
	err := errors.Join(p.scanListeners(see), hook.Each(&p.scans.orphans, see), p.scans.queues.each(func(r *shared.ListenerLook) {
		found[r.Sk] = found[r.Sk] || r.Listens()
	}))
	if err != nil {
		return err
	}
	maps.DeleteFunc(p.decoder.unbound, func(socket uint64, _ shared.ListenRecord) bool { return !found[socket] })
	for socket := range p.decoder.listeners.sockets {
		if !found[socket] {
			p.decoder.unlisten(&shared.ListenRecord{Sk: socket})
		}
	}
	p.decoder.overflowing.keepOnly(found)
	return nil
}

// mayEnterNetNS returns an error when this process may not move between namespaces, or the
// configuration excludes that.
func mayEnterNetNS(excluded hook.Patterns) error {
	if err := excluded.Refuse(netns.Hook); err != nil {
		return err
	}
	return netns.MayEnter()
}

// inNetNSOf runs f on a thread in the network namespace of a process.
func (p *Probe) inNetNSOf(pid uint32, f func() error) error {
	if err := p.objects.host.Excluded.Refuse(netns.Hook); err != nil {
		return err
	}
	namespace, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	return namespace.Run(f)
}
