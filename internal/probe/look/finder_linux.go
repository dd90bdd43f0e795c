// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package look

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
)

// netNSFinder finds ways into network namespaces: a file, or a process or thread inside.
type netNSFinder struct {
	// patterns of files are in the order of what they cost.
	patterns []string
	ways     map[uint32]wayIn
}

// wayIn leads to a namespace.
type wayIn struct {
	// path is "" where none was found.
	path string
	// sought is when it was looked for.
	sought time.Time
}

// seekAgain is how long a namespace without a path is left alone: to look at the threads of
// all processes takes long. A process may enter it later.
const seekAgain = time.Minute

// newNetNSFinder also looks where ip-netns and Docker keep their namespaces.
func newNetNSFinder(patterns []string) *netNSFinder {
	return &netNSFinder{
		patterns: append(slices.Clone(patterns), "/run/netns/*", "/run/docker/netns/*",
			"/proc/[1-9]*/ns/net", "/proc/[1-9]*/task/[1-9]*/ns/net"),
		ways: make(map[uint32]wayIn),
	}
}

// find looks for paths to the namespaces that are wanted, and forgets all others. It looks for
// those that are new, those whose path leads elsewhere by now, and now and then for those
// that had none.
func (f *netNSFinder) find(wanted map[uint32]bool, now time.Time) {
	maps.DeleteFunc(f.ways, func(inode uint32, w wayIn) bool { return !wanted[inode] || !w.holds(inode, now) })
	missing := make(map[uint32]bool)
	for inode := range wanted {
		if _, known := f.ways[inode]; !known {
			missing[inode] = true
			f.ways[inode] = wayIn{sought: now}
		}
	}
	for _, pattern := range f.patterns {
		if len(missing) == 0 {
			return
		}
		for inode, path := range netns.Find([]string{pattern}) {
			if missing[inode] {
				f.ways[inode] = wayIn{path, now}
				delete(missing, inode)
			}
		}
	}
}

// holds reports whether there is no need to look for the namespace now.
func (w *wayIn) holds(inode uint32, now time.Time) bool {
	if w.path == "" {
		return now.Sub(w.sought) < seekAgain
	}
	there, err := netns.InodeAt(w.path)
	return err == nil && there == inode
}

var errNetNSNotFound = errors.New("no process and no file leads to the network namespace")

func (f *netNSFinder) open(inode uint32) (*netns.Namespace, error) {
	path := f.ways[inode].path
	if path == "" {
		return nil, errNetNSNotFound
	}
	namespace, err := netns.Open(path)
	if err == nil && namespace.Inode != inode {
		namespace.Close()
		err = errNetNSNotFound
	}
	return namespace, err
}
