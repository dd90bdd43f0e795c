// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

// Outbound finds whom this process has connected to, such as backends of exporters. The zero value
// is ready. It belongs to one goroutine.
//
// Who has connected to this process is none of them: those sockets have the port of a listener.
type Outbound struct {
	// listened are the ports that this process listens on, or did: a listener may close before the
	// connections that it has accepted.
	listened map[uint16]bool
}

// Find returns the peers, also those that have not answered yet.
func (o *Outbound) Find() ([]allow.Entry, error) {
	inodes, err := held("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("list the collector's sockets: %w", err)
	}
	table, err := readTables("/proc/self/net")
	if err != nil {
		return nil, fmt.Errorf("read the collector's sockets: %w", err)
	}
	sockets := make([]socket, 0, len(inodes))
	for _, inode := range inodes {
		if s, ok := table[inode]; ok {
			sockets = append(sockets, s)
		}
	}
	return o.peers(sockets), nil
}

func (o *Outbound) peers(sockets []socket) []allow.Entry {
	if o.listened == nil {
		o.listened = map[uint16]bool{}
	}
	for _, s := range sockets {
		if s.state == listen {
			o.listened[s.local.Port()] = true
		}
	}
	var entries []allow.Entry
	for _, s := range sockets {
		peer := s.remote.Addr().Unmap()
		if s.state == listen || o.listened[s.local.Port()] || peer.IsLoopback() {
			continue
		}
		entries = append(entries, allow.Entry{Prefix: address.Of(peer), Why: allow.Peer, Detail: "port " + strconv.Itoa(int(s.remote.Port()))})
	}
	return entries
}
