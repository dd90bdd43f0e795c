// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
)

// listeners counts listening sockets per namespace and port, to clear the kernel's
// port tables when the last is gone. The kernel side only ever sets. It also hands the
// tables out to the namespaces that packets are looked at in.
type listeners struct {
	ports, tables, slots *ebpf.Map
	// sockets belong to the goroutine that is told of listeners.
	sockets map[uint64]sockPortKey

	// mu guards the rest: namespaces come and go by themselves.
	mu    sync.Mutex
	count map[sockPortKey]int
	// attached are the tables by namespace; free is a queue, so that a table rests
	// as long as possible: a hook may still be about to write to it.
	attached map[uint32]uint32
	free     []uint32
}

func newListeners(maps map[string]*ebpf.Map) *listeners {
	l := &listeners{
		ports:    maps["listening_ports"],
		tables:   maps["port_tables"],
		slots:    maps["namespace_slots"],
		sockets:  make(map[uint64]sockPortKey),
		count:    make(map[sockPortKey]int),
		attached: make(map[uint32]uint32),
	}
	for slot := range l.tables.MaxEntries() {
		l.free = append(l.free, slot)
	}
	return l
}

// opened may be told of the same socket twice: by the scan and by the hook.
func (l *listeners) opened(socket uint64, key sockPortKey) error {
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
func (l *listeners) mark(key sockPortKey, on bool) error {
	var err error
	if on {
		err = l.ports.Put(&key, uint32(1))
	} else if err = l.ports.Delete(&key); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("note that port %d listens (%t): %w", key.Port, on, err)
	}
	if slot, ok := l.attached[key.Netns]; ok {
		return l.markTable(slot, key.Port, on)
	}
	return nil // no packets are looked at in that namespace
}

const portTableSize = 65536

// enter gives a namespace a port table, with the listeners that are known by now.
func (l *listeners) enter(netns uint32) (slot uint32, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		return 0, fmt.Errorf("give namespace %d a port table: all %d are taken", netns, l.tables.MaxEntries())
	}
	slot = l.free[0]
	if err := l.write(slot, 0, make([]byte, portTableSize)); err != nil {
		return 0, err
	}
	if err := l.slots.Put(netns, slot); err != nil {
		return 0, fmt.Errorf("give namespace %d a port table: %w", netns, err)
	}
	l.free = l.free[1:]
	l.attached[netns] = slot
	for key := range l.count {
		if key.Netns == netns {
			err = errors.Join(err, l.markTable(slot, key.Port, true))
		}
	}
	return slot, err
}

// leave takes the table back, when no program uses it any more.
func (l *listeners) leave(netns uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot, ok := l.attached[netns]
	if !ok {
		return nil
	}
	if err := l.slots.Delete(netns); err != nil {
		return fmt.Errorf("take the port table of namespace %d back: %w", netns, err)
	}
	delete(l.attached, netns)
	l.free = append(l.free, slot)
	return nil
}

func (l *listeners) markTable(slot uint32, port uint32, on bool) error {
	var flag [1]byte
	if on {
		flag[0] = portListening
	}
	return l.write(slot, port, flag[:])
}

// write changes flags of a mapped port table.
func (l *listeners) write(slot uint32, port uint32, flags []byte) error {
	memory, err := l.tables.Memory()
	if err != nil {
		return fmt.Errorf("map the port tables: %w", err)
	}
	if _, err := memory.WriteAt(flags, int64(slot)*portTableSize+int64(port)); err != nil {
		return fmt.Errorf("write port %d of port table %d: %w", port, slot, err)
	}
	return nil
}

// portListening is PORT_LISTENING of bpf/maps.h.
const portListening = 1
