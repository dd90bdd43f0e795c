// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// backlogless keeps the addresses of listeners that asked for a backlog of 0. A connection
// that such a listener accepted has no sign of being inbound, see bpf/sock/inbound.h.
type backlogless struct {
	addresses *ebpf.Map
	// total is how many there are, for the kernel side.
	total   *ebpf.Map
	sockets map[uint64][]shared.BackloglessKey
	count   map[shared.BackloglessKey]int
}

func newBacklogless(maps map[string]*ebpf.Map) *backlogless {
	return &backlogless{
		addresses: maps["backlogless_listeners"],
		total:     maps["backlogless_count"],
		sockets:   make(map[uint64][]shared.BackloglessKey),
		count:     make(map[shared.BackloglessKey]int),
	}
}

// opened counts a socket once, however often it is reported.
func (b *backlogless) opened(r *shared.ListenRecord) error {
	keys := backloglessKeys(r)
	if slices.Equal(b.sockets[r.Sk], keys) {
		return nil
	}
	err := b.forget(r.Sk)
	for _, key := range keys {
		b.sockets[r.Sk] = append(b.sockets[r.Sk], key)
		if b.count[key]++; b.count[key] > 1 {
			continue
		}
		if put := b.addresses.Put(&key, uint32(1)); put != nil {
			err = errors.Join(err, fmt.Errorf("record a listener without backlog on port %d: %w", key.Port, put))
		}
	}
	return errors.Join(err, b.tell())
}

func (b *backlogless) closed(socket uint64) error {
	if len(b.sockets[socket]) == 0 {
		return nil
	}
	return errors.Join(b.forget(socket), b.tell())
}

func (b *backlogless) tell() error {
	if err := b.total.Put(uint32(0), uint32(len(b.count))); err != nil {
		return fmt.Errorf("count listeners without backlog: %w", err)
	}
	return nil
}

func (b *backlogless) forget(socket uint64) error {
	var all error
	for _, key := range b.sockets[socket] {
		if b.count[key]--; b.count[key] > 0 {
			continue
		}
		delete(b.count, key)
		// It is not there if there was no room.
		if err := b.addresses.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			all = errors.Join(all, fmt.Errorf("delete a listener without backlog on port %d: %w", key.Port, err))
		}
	}
	delete(b.sockets, socket)
	return all
}

// backloglessKeys are the addresses of a listener without backlog: its own, and the IPv4
// wildcard if it also accepts IPv4.
func backloglessKeys(r *shared.ListenRecord) []shared.BackloglessKey {
	if shared.Backlogless(r.Backlogless) == shared.BackloglessNot {
		return nil
	}
	key := shared.BackloglessKey{Address: r.Address, Netns: r.Head.Netns, Port: uint32(r.Port)}
	keys := []shared.BackloglessKey{key}
	if shared.Backlogless(r.Backlogless) == shared.BackloglessBoth && netip.AddrFrom16(r.Address).IsUnspecified() {
		key.Address = netip.AddrFrom4([4]byte{}).As16()
		keys = append(keys, key)
	}
	return keys
}
