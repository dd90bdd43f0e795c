// SPDX-License-Identifier: Apache-2.0

// Package host asks the host whom nobody may block: its own addresses, the next hops of its
// routes, its resolvers, and the clients of ssh sessions that are logged in. It is the only room
// below the connector that reads /proc and netlink, and it never writes.
//
// Everything is of the network namespace of the calling thread, or of what Root shows.
package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
)

// Addresses is what the routes of a network namespace say.
type Addresses struct {
	// Own are the addresses that the kernel routes as local, prefixes included.
	Own []allow.Entry
	// Gateways are the next hops of all routes.
	Gateways []allow.Entry
	// Networks are the host's own: those that it reaches without a gateway.
	Networks []netip.Prefix
}

// maxSessions is how many ssh sessions are allowed.
const maxSessions = 4096

// resolverFiles: behind a stub resolver on loopback, the second one has the real servers.
var resolverFiles = []string{"etc/resolv.conf", "run/systemd/resolve/resolv.conf"}

// Resolvers are the name servers that the files below root name. A file that does not exist
// names none.
func Resolvers(root string) ([]allow.Entry, error) {
	var entries []allow.Entry
	var faults []error
	for _, name := range resolverFiles {
		file, err := os.Open(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("read resolvers: %w", err))
			continue
		}
		found, err := allow.Resolvers(file, "/"+name)
		_ = file.Close()
		entries = append(entries, found...)
		faults = append(faults, err)
	}
	return entries, errors.Join(faults...)
}
