// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sockets

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// prepareScans loads nothing yet.
func (v *Vantage) prepareScans() {
	v.held = hook.Iterator{
		Feature: hook.FeatureExistingListener, Program: "scan_listeners", Point: "iter/task_file",
		Gives: "listeners that were there before",
	}
	v.connections = hook.Iterator{
		Feature: hook.FeatureExistingConnection, Program: "scan_connections", Point: "iter/task_file",
		Gives: "connections that were open before",
	}
	v.orphans = hook.Iterator{
		Feature: hook.FeatureOrphan, Program: "scan_orphans", Point: "iter/tcp",
		Gives: "connections open before that no process holds",
	}
	sources := &look.Sources{
		Host: v.Host, Maps: v.Maps, Iterators: &v.iterators, OwnNetNS: v.Context.OwnNetNS,
		Listening: v.Listeners.Ports.Namespaces, NetNSFiles: v.Config.NetworkNamespaces,
	}
	v.live = look.Connections(sources)
	v.Listeners.Queues, v.Listeners.Held = look.Listeners(sources), &v.held
}

func (v *Vantage) scans() []*hook.Iterator {
	return []*hook.Iterator{&v.held, &v.connections, &v.orphans}
}

// Scan loads what user space runs, and looks for listeners and connections that were there
// before the hooks.
func (v *Vantage) Scan() error {
	for _, scan := range v.scans() {
		_ = scan.Attach(&v.iterators) // its State has the error
	}
	v.live.Load()
	v.Listeners.Queues.Load()
	return v.scanExisting()
}

func (v *Vantage) scanStates() []hook.State {
	var states []hook.State
	for _, scan := range v.scans() {
		if scan.Tried() {
			states = append(states, scan.State())
		}
	}
	return append(append(states, v.live.States()...), v.Listeners.Queues.States()...)
}

func (v *Vantage) closeScans() error {
	err := errors.Join(v.live.Close(), v.Listeners.Queues.Close())
	for _, scan := range v.scans() {
		err = errors.Join(err, scan.Close())
	}
	return err
}

// scanExisting reports listeners first: a connection is adopted when its port has one.
func (v *Vantage) scanExisting() error {
	// A process of each network namespace that has listeners.
	insiders := make(map[uint32]uint32)
	outside := &outsideNetNS{namespaces: make(map[uint32]bool)}
	err := v.scanListeners(func(r *shared.ScanRecord) {
		where, pid := r.Listener.Head.Netns, r.Listener.Owner.Process.Pid
		if _, ok := insiders[where]; ok || where == v.Context.OwnNetNS {
			return
		}
		// A process may hold a listener of a namespace that it is not in itself.
		inside, err := netns.OfProcess(pid)
		if inside == where {
			insiders[where] = pid
		}
		outside.note(where, err)
	})
	err = errors.Join(err, hook.Each(&v.connections, v.Decoder.process), v.findOrphans())
	for where, pid := range insiders {
		delete(outside.namespaces, where)
		outside.note(where, v.runInNetNSOf(pid, v.findOrphans))
	}
	outside.warn(v.Logger)
	return err
}

// outsideNetNS are the network namespaces that could not be entered: the process ended, or
// capabilities are missing.
type outsideNetNS struct {
	namespaces map[uint32]bool
	// err is the last error.
	err error
}

func (o *outsideNetNS) note(inode uint32, err error) {
	if err != nil {
		o.namespaces[inode], o.err = true, err
	}
}

func (o *outsideNetNS) warn(logger *zap.Logger) {
	if len(o.namespaces) > 0 {
		logger.Warn("connections in other network namespaces that no process holds were not searched",
			zap.Int("namespaces", len(o.namespaces)), zap.Error(capability.Explain(o.err, capability.SysPtrace, capability.SysAdmin)))
	}
}

// scanListeners reports every listener that a process holds.
func (v *Vantage) scanListeners(also func(*shared.ScanRecord)) error {
	return hook.Each(&v.held, func(r *shared.ScanRecord) {
		if r.Process.Head.Kind == uint32(shared.RecordKindProcess) {
			v.Decoder.process(&r.Process)
		}
		v.Listeners.Found(&r.Listener)
		also(r)
	})
}

// findOrphans adopts sockets of the thread's network namespace, whoever holds them, and
// reports listeners that no process holds.
func (v *Vantage) findOrphans() error {
	return hook.Each(&v.orphans, func(r *shared.ScanRecord) {
		if !v.Listeners.Knows(r.Listener.Sk) {
			v.Listeners.Found(&r.Listener)
		}
	})
}

// RescanListeners makes up for records of listeners that the ring had no room for. It reports
// all listeners, and the end of those that are gone.
func (v *Vantage) RescanListeners() error {
	found := make(map[uint64]bool)
	note := func(r *shared.ScanRecord) { found[r.Listener.Sk] = true }
	// The map of listeners has those that no process holds, of all namespaces.
	err := errors.Join(v.scanListeners(note), hook.Each(&v.orphans, note), v.Listeners.Queues.Each(func(r *shared.ListenerLook) {
		found[r.Sk] = found[r.Sk] || r.Listens()
	}))
	if err != nil {
		return err
	}
	v.Listeners.KeepOnly(found)
	return nil
}

// runInNetNSOf runs f on a thread in the network namespace of a process.
func (v *Vantage) runInNetNSOf(pid uint32, f func() error) error {
	if err := v.Host.Excluded.Refuse(netns.Hook); err != nil {
		return err
	}
	namespace, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	return namespace.Run(f)
}
