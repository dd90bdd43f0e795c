// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package look

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Sources are what looks at sockets are made from.
type Sources struct {
	Host *hook.Host
	// Maps are the shared maps.
	Maps map[string]*ebpf.Map
	// Iterators has the programs that walk the entries of a map.
	Iterators *hook.Object
	// OwnNetNS is the network namespace of this process.
	OwnNetNS uint32
	// Listening returns the network namespaces that have listeners.
	Listening func() map[uint32]bool
	// NetNSFiles are patterns of files of network namespaces.
	NetNSFiles []string

	// programs is read when the first of its programs is wanted.
	programs *hook.Object
}

// object has the programs of the ways below the iterators.
func (s *Sources) object() (*hook.Object, error) {
	if s.programs == nil {
		spec, err := Programs()
		if err != nil {
			return nil, err
		}
		s.programs = &hook.Object{Host: s.Host, Spec: spec, Maps: shared.MapsOf(spec, s.Maps)}
	}
	return s.programs, nil
}

// Programs describes the programs of bpf/sock/look.bpf.c.
func Programs() (*ebpf.CollectionSpec, error) {
	spec, err := loadLook()
	if err != nil {
		return nil, fmt.Errorf("read the looks' object: %w", err)
	}
	return spec, nil
}

const (
	elementHook = "iter/bpf_map_elem"
	liveBytes   = "tcp.server.io before the close"
	liveQueues  = "tcp.server.accept_queue.*, tcp.server.syn_queue.length"
)

// Connections looks at the sockets of open connections.
func Connections(s *Sources) *Ladder[shared.LiveRecord] {
	entries := s.Maps["connections"]
	by := func(r socketReader[shared.ConnectionLook]) way[shared.LiveRecord] {
		return &batchWay[shared.LiveRecord, shared.Connection, shared.ConnectionLook]{
			entries: entries, reader: r, ask: askConnection, answer: answerConnection,
			netns: func(c *shared.Connection) uint32 { return c.Netns }, without: liveBytes,
		}
	}
	return &Ladder[shared.LiveRecord]{
		sources: s,
		feature: hook.FeatureLive, gives: "tcp.server.connection.active; " + liveBytes,
		ways: []way[shared.LiveRecord]{
			&iteratorWay[shared.LiveRecord]{hook.Iterator{Program: "snapshot", Point: elementHook, Over: entries}},
			by(&runReader[shared.ConnectionLook]{name: "look_at_connections", batch: "connection_batch"}),
			by(newVisitor[shared.ConnectionLook](s, "visit_connections", liveBytes)),
			by(nil),
		},
	}
}

// Listeners looks at the queues of listening sockets.
func Listeners(s *Sources) *Ladder[shared.ListenerLook] {
	entries := s.Maps["listeners"]
	by := func(r socketReader[shared.ListenerLook]) way[shared.ListenerLook] {
		return &batchWay[shared.ListenerLook, shared.Listener, shared.ListenerLook]{
			entries: entries, reader: r, ask: askListener, answer: answerListener,
			netns: func(l *shared.Listener) uint32 { return l.Netns }, without: liveQueues,
		}
	}
	return &Ladder[shared.ListenerLook]{
		sources: s,
		feature: hook.FeatureQueue, gives: liveQueues + "; the port of listeners that bind none",
		ways: []way[shared.ListenerLook]{
			&iteratorWay[shared.ListenerLook]{hook.Iterator{Program: "snapshot_listeners", Point: elementHook, Over: entries}},
			by(&runReader[shared.ListenerLook]{name: "look_at_listeners", batch: "listener_batch"}),
			by(newVisitor[shared.ListenerLook](s, "visit_listeners", liveQueues)),
			by(nil),
		},
	}
}

func askConnection(key uint64, c *shared.Connection) shared.ConnectionLook {
	return shared.ConnectionLook{Sk: key, Id: c.Id}
}

func answerConnection(to *shared.LiveRecord, c *shared.Connection, l *shared.ConnectionLook) {
	to.Look, to.Connection = *l, *c
}

func askListener(key uint64, l *shared.Listener) shared.ListenerLook {
	return shared.ListenerLook{Sk: key, Listener: *l}
}

func answerListener(to *shared.ListenerLook, _ *shared.Listener, l *shared.ListenerLook) { *to = *l }

// Came reports whether a look came to one of several ends.
func Came(outcome uint32, ends ...shared.LookOutcome) bool {
	for _, end := range ends {
		if shared.LookOutcome(outcome) == end {
			return true
		}
	}
	return false
}
