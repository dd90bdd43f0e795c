// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package netns

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Find lists the namespaces at the paths that patterns match: one path for each inode. It
// leaves out files that are no namespace, or none yet. Namespaces of other kinds are
// included: only opening them tells. Nothing is opened here, so nothing is kept alive.
func Find(patterns []string) map[uint32]string {
	found := make(map[uint32]string)
	for _, pattern := range patterns {
		// The configuration was validated, and unreadable folders count as empty.
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if inode, ok := At(path); ok && found[inode] == "" {
				found[inode] = path
			}
		}
	}
	return found
}

// At returns the inode of the namespace at a path; false if there is none.
func At(path string) (inode uint32, ok bool) {
	var system unix.Statfs_t
	if unix.Statfs(path, &system) != nil || system.Type != unix.NSFS_MAGIC {
		return 0, false
	}
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil {
		return 0, false
	}
	return uint32(stat.Ino), true
}

// initialUserNS is the inode of the initial user namespace, PROC_USER_INIT_INO.
const initialUserNS = 0xEFFFFFFD

// LeaveOutForeign removes the namespaces that do not belong to the initial user namespace.
// It opens each for a moment, to ask.
func LeaveOutForeign(found map[uint32]string) {
	for inode, path := range found {
		if owner, err := userNSOf(path); err != nil || owner != initialUserNS {
			delete(found, inode)
		}
	}
}

// userNSOf returns the inode of the user namespace that a namespace belongs to.
func userNSOf(path string) (uint64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if err != nil {
		return 0, fmt.Errorf("open the user namespace of %s: %w", path, err)
	}
	defer unix.Close(owner)
	var stat unix.Stat_t
	if err := unix.Fstat(owner, &stat); err != nil {
		return 0, fmt.Errorf("read the user namespace of %s: %w", path, err)
	}
	return stat.Ino, nil
}
