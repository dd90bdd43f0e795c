// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// listeners counts listening sockets per namespace and port, to clear the kernel's
// port tables when the last is gone. The kernel side only ever sets.
type listeners struct {
	sockets map[uint64]sockPortKey
	count   map[sockPortKey]int
	ports   *ebpf.Map
	tables  *ebpf.Map
	slots   *ebpf.Map
}

func newListeners(maps map[string]*ebpf.Map) *listeners {
	return &listeners{
		sockets: make(map[uint64]sockPortKey),
		count:   make(map[sockPortKey]int),
		ports:   maps["listening_ports"],
		tables:  maps["port_tables"],
		slots:   maps["namespace_slots"],
	}
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
	if l.count[key]--; l.count[key] > 0 {
		return nil
	}
	delete(l.count, key)
	return l.mark(key, false)
}

// namespaces are those with at least one listener.
func (l *listeners) namespaces() map[uint32]bool {
	namespaces := make(map[uint32]bool)
	for key := range l.count {
		namespaces[key.Netns] = true
	}
	return namespaces
}

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
	var slot uint32
	if err := l.slots.Lookup(&key.Netns, &slot); err != nil {
		return nil // no packets are looked at in that namespace
	}
	return l.markTable(slot, key.Port, on)
}

// markTable writes one byte of a mapped port table.
func (l *listeners) markTable(slot uint32, port uint32, on bool) error {
	memory, err := l.tables.Memory()
	if err != nil {
		return fmt.Errorf("map the port tables: %w", err)
	}
	var flag [1]byte
	if on {
		flag[0] = portListening
	}
	if _, err := memory.WriteAt(flag[:], int64(slot)*65536+int64(port)); err != nil {
		return fmt.Errorf("write port %d of port table %d: %w", port, slot, err)
	}
	return nil
}

// portListening is PORT_LISTENING of bpf/maps.h.
const portListening = 1
