// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// scans are the iterators: what was there before us, and the live figures.
type scans struct {
	listeners, connections, orphans, snapshot scan
}

type scan struct {
	program, point, gives string
	iter                  *link.Iter
	err                   error
}

func (s *scans) all() []*scan {
	return []*scan{&s.listeners, &s.connections, &s.orphans, &s.snapshot}
}

func (s *scans) load(o *objects) {
	s.listeners = o.scan("scan_listeners", "iter/task_file", "listeners that were there before", nil)
	s.connections = o.scan("scan_connections", "iter/task_file", "connections that were open before", nil)
	s.orphans = o.scan("scan_orphans", "iter/tcp", "connections open before that no process holds", nil)
	s.snapshot = o.scan("snapshot", "iter/bpf_map_elem", "tcp.server.connection.active; tcp.server.io before the close",
		o.maps.Maps["connections"])
}

func (o *objects) scan(program, point, gives string, over *ebpf.Map) scan {
	s := scan{program: program, point: point, gives: gives}
	prog, err := o.load(program)
	if err != nil {
		s.err = fmt.Errorf("load %s: %w", point, hint(err))
		return s
	}
	// The link holds the program.
	defer prog.Close()
	if s.iter, err = link.AttachIter(link.IterOptions{Program: prog, Map: over}); err != nil {
		s.err = fmt.Errorf("attach %s: %w", point, hint(err))
	}
	return s
}

func (s *scans) states() []HookState {
	var states []HookState
	for _, scan := range s.all() {
		if scan.point != "" {
			states = append(states, HookState{Name: scan.point, Gives: scan.gives, Attached: scan.iter != nil, Err: scan.err})
		}
	}
	return states
}

func (s *scans) close() error {
	var err error
	for _, scan := range s.all() {
		if scan.iter != nil {
			err = errors.Join(err, scan.iter.Close())
			scan.iter = nil
		}
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
	var record T
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&record)), unsafe.Sizeof(record))
	reader := bufio.NewReaderSize(stream, 1<<16)
	for {
		switch _, err := io.ReadFull(reader, raw); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read %s: %w", s.point, err)
		}
		hand(&record)
	}
}

// scanExisting tells of listeners first: a connection is adopted when its port has
// one.
func (p *Probe) scanExisting() error {
	d := &p.decoder
	err := each(&p.scans.listeners, func(r *sockScanRecord) {
		if r.Process.Head.Kind == uint32(sockRecordKindRECORD_PROCESS) {
			d.process(&r.Process)
		}
		d.listen(&r.Listener)
	})
	err = errors.Join(err, each(&p.scans.connections, d.process))
	// Reading the iterator runs it; it writes nothing.
	return errors.Join(err, each(&p.scans.orphans, func(*byte) {}))
}
