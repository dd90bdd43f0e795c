// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// listeners counts listening sockets per namespace and port, to clear the kernel's
// port tables when the last is gone. The kernel side only ever sets. It also hands the
// tables out to the namespaces that packets are looked at in.
type listeners struct {
	ports, tables *ebpf.Map
	// selected ports of the configuration are not 0; nil = all. Only they are in
	// port tables.
	selected *[shared.PortTableSize]uint8
	// sockets belong to the goroutine that is told of listeners.
	sockets map[uint64]shared.PortKey

	// mu guards the rest: namespaces come and go by themselves.
	mu    sync.Mutex
	count map[shared.PortKey]int
	// attached are the tables by namespace.
	attached map[uint32]*ebpf.Map
}

func newListeners(maps map[string]*ebpf.Map, selected *[shared.PortTableSize]uint8) *listeners {
	return &listeners{
		ports:    maps["listening_ports"],
		tables:   maps["port_tables"],
		selected: selected,
		sockets:  make(map[uint64]shared.PortKey),
		count:    make(map[shared.PortKey]int),
		attached: make(map[uint32]*ebpf.Map),
	}
}

// opened may be told of the same socket twice: by the scan and by the hook.
func (l *listeners) opened(socket uint64, key shared.PortKey) error {
	if known, ok := l.sockets[socket]; ok {
		if known == key {
			return nil
		}
		if err := l.closed(socket); err != nil {
			return err
		}
	}
	l.sockets[socket] = key
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[key]++
	// Again, though the hook has done it: closing an earlier listener of the port
	// may have cleared it since.
	return l.mark(key, true)
}

func (l *listeners) closed(socket uint64) error {
	key, ok := l.sockets[socket]
	if !ok {
		return nil
	}
	delete(l.sockets, socket)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[key]--; l.count[key] > 0 {
		return nil
	}
	delete(l.count, key)
	return l.mark(key, false)
}

// namespaces are those with at least one listener.
func (l *listeners) namespaces() map[uint32]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	namespaces := make(map[uint32]bool)
	for key := range l.count {
		namespaces[key.Netns] = true
	}
	return namespaces
}

// mark is for callers that hold mu.
func (l *listeners) mark(key shared.PortKey, on bool) error {
	var err error
	if on {
		err = l.ports.Put(&key, uint32(1))
	} else if err = l.ports.Delete(&key); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("note that port %d listens (%t): %w", key.Port, on, err)
	}
	if table := l.attached[key.Netns]; table != nil && l.selects(key.Port) {
		return shared.MarkPort(table, key.Port, on)
	}
	return nil // no packets are looked at in that namespace
}

func (l *listeners) selects(port uint32) bool { return l.selected == nil || l.selected[port] != 0 }

// enter gives a namespace a port table, with the listeners that are known by now.
func (l *listeners) enter(netns uint32) (*ebpf.Map, error) {
	table, err := shared.NewPortTable()
	if err == nil {
		err = l.attach(netns, table)
	}
	if err != nil {
		return nil, fmt.Errorf("give namespace %d a port table: %w", netns, err)
	}
	return table, nil
}

func (l *listeners) attach(netns uint32, table *ebpf.Map) error {
	l.mu.Lock()
	l.attached[netns] = table
	var err error
	for key := range l.count {
		if key.Netns == netns && l.selects(key.Port) {
			err = errors.Join(err, shared.MarkPort(table, key.Port, true))
		}
	}
	l.mu.Unlock()
	if err == nil {
		// Not under the lock: the kernel waits for a grace period. What begins to
		// listen meanwhile is marked when its record arrives.
		err = l.tables.Put(netns, table)
	}
	if err != nil {
		return errors.Join(err, l.detach(netns, table))
	}
	return nil
}

// leave takes the table back, when no packets are looked at in the namespace any more.
func (l *listeners) leave(netns uint32) error {
	l.mu.Lock()
	table := l.attached[netns]
	l.mu.Unlock()
	if table == nil {
		return nil
	}
	err := l.tables.Delete(netns)
	if err = errors.Join(err, l.detach(netns, table)); err != nil {
		return fmt.Errorf("take the port table of namespace %d back: %w", netns, err)
	}
	return nil
}

// detach closes a table that the kernel's hooks have no longer.
func (l *listeners) detach(netns uint32, table *ebpf.Map) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.attached, netns)
	return table.Close()
}

// memory is what a namespace's table takes.
func (l *listeners) memory(netns uint32) ([]MapMemory, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	table := l.attached[netns]
	if table == nil {
		return nil, nil
	}
	return mapMemory("tc", map[string]*ebpf.Map{"port_table": table}, nil)
}

// close gives all tables up, after the hooks.
func (l *listeners) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	for _, table := range l.attached {
		err = errors.Join(err, table.Close())
	}
	clear(l.attached)
	return err
}
