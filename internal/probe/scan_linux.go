// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// scans are what user space asks for: what was there before us, and the live figures.
type scans struct {
	listeners, connections, orphans scan
	live                            look[shared.LiveRecord]
	queues                          look[shared.ListenerLook]
}

type scan struct {
	feature, program, point, gives string
	// over is the map that is walked; nil for what is the kernel's own.
	over *ebpf.Map
	prog *ebpf.Program
	iter *link.Iter
	err  error
}

func (s *scans) all() []*scan {
	return []*scan{&s.listeners, &s.connections, &s.orphans}
}

// load comes when the listeners' table is there.
func (s *scans) load(p *Probe) {
	s.prepare(p)
	for _, scan := range s.all() {
		scan.attach(p.objects)
	}
	s.live.load(p.objects)
	s.queues.load(p.objects)
}

// prepare loads nothing yet.
func (s *scans) prepare(p *Probe) {
	s.listeners = scan{
		feature: "existing_listener", program: "scan_listeners", point: "iter/task_file",
		gives: "listeners that were there before",
	}
	s.connections = scan{
		feature: "existing_connection", program: "scan_connections", point: "iter/task_file",
		gives: "connections that were open before",
	}
	s.orphans = scan{
		feature: "orphan", program: "scan_orphans", point: "iter/tcp",
		gives: "connections open before that no process holds",
	}
	s.newLooks(p)
}

func (s *scan) attach(o *objects) {
	if s.err = cmp.Or(o.excluded.refuse(s.point), o.kernel.noBTF); s.err != nil {
		return
	}
	s.attachFrom(&o.scans)
}

func (s *scan) attachFrom(o *object) {
	if s.prog, s.err = o.load(s.program); s.err != nil {
		s.err = &hookError{"load", s.point, o.explainMissing(s.program, capability.Explain(s.err))}
		return
	}
	if s.iter, s.err = link.AttachIter(link.IterOptions{Program: s.prog, Map: s.over}); s.err != nil {
		s.err = &hookError{"attach", s.point, capability.Explain(s.err)}
	}
}

func (s *scans) states() []HookState {
	var states []HookState
	for _, scan := range s.all() {
		if scan.point == "" {
			continue // not loaded yet
		}
		state := HookState{Feature: scan.feature, Name: scan.point, Gives: scan.gives, Attached: scan.iter != nil, Err: scan.err}
		state.addStatistics(scan.prog)
		states = append(states, state)
	}
	return append(append(states, s.live.states()...), s.queues.states()...)
}

func (s *scans) close() error {
	err := errors.Join(s.live.close(), s.queues.close())
	for _, scan := range s.all() {
		err = errors.Join(err, scan.close())
	}
	return err
}

func (s *scan) close() error {
	var err error
	if s.iter != nil {
		err = s.iter.Close()
		s.iter = nil
	}
	if s.prog != nil {
		err = errors.Join(err, s.prog.Close())
		s.prog = nil
	}
	return err
}

// each runs the iterator once and hands every record it wrote to hand. An iterator
// that did not load is an empty one: its hook state tells.
func each[T any](s *scan, hand func(*T)) error {
	if s.iter == nil {
		return nil
	}
	stream, err := s.iter.Open()
	if err != nil {
		return fmt.Errorf("open %s: %w", s.point, err)
	}
	defer stream.Close()
	if err := eachRecord(stream, hand); err != nil {
		return fmt.Errorf("read %s: %w", s.point, err)
	}
	return nil
}

// streamBytes is what the kernel hands over at most per call: eight pages, see
// bpf_seq_read().
const streamBytes = 8 * 4096

// eachRecord hands every record of the stream to hand, which may change it. Records are
// multiples of 8 bytes, and so is where they lie in the buffer.
func eachRecord[T any](stream io.Reader, hand func(*T)) error {
	var record T
	size := int(unsafe.Sizeof(record))
	buffer := make([]byte, streamBytes+size)
	for filled := 0; ; {
		n, err := stream.Read(buffer[filled:])
		filled += n
		whole := filled - filled%size
		for at := 0; at < whole; at += size {
			hand((*T)(unsafe.Pointer(&buffer[at])))
		}
		filled = copy(buffer, buffer[whole:filled])
		switch {
		case err == io.EOF && filled > 0:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
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
	err = errors.Join(err, each(&p.scans.connections, d.process), p.findOrphans())
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
	return each(&p.scans.listeners, func(r *shared.ScanRecord) {
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
	return each(&p.scans.orphans, func(r *shared.ScanRecord) {
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
	err := errors.Join(p.scanListeners(see), each(&p.scans.orphans, see), p.scans.queues.each(func(r *shared.ListenerLook) {
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
func mayEnterNetNS(excluded hookPatterns) error {
	if err := excluded.refuse(netns.Hook); err != nil {
		return err
	}
	return netns.MayEnter()
}

// inNetNSOf runs f on a thread in the network namespace of a process.
func (p *Probe) inNetNSOf(pid uint32, f func() error) error {
	if err := p.objects.excluded.refuse(netns.Hook); err != nil {
		return err
	}
	namespace, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	return namespace.Run(f)
}
