// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// findNetNS lists the namespaces at the paths that patterns match: by inode, with
// one path each. What is not a namespace is left out, and so is a file that is yet
// to become one; whether it is a network namespace shows when it is opened. Nothing is
// opened here, so nothing is kept alive.
func findNetNS(patterns []string) map[uint32]string {
	found := make(map[uint32]string)
	for _, pattern := range patterns {
		// The configuration was validated, and what can't be read is not there.
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if inode, ok := namespaceAt(path); ok && found[inode] == "" {
				found[inode] = path
			}
		}
	}
	return found
}

// namespaceAt is the inode of the namespace at a path, false if there is none.
func namespaceAt(path string) (inode uint32, ok bool) {
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

// leaveOutForeign keeps the namespaces that belong to the initial user namespace. Each is
// open for a moment, to be asked.
func leaveOutForeign(found map[uint32]string) {
	for inode, path := range found {
		if owner, err := userNSOf(path); err != nil || owner != initialUserNS {
			delete(found, inode)
		}
	}
}

// userNSOf is the inode of the user namespace that a namespace belongs to.
func userNSOf(path string) (uint64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if err != nil {
		return 0, fmt.Errorf("ask for the user namespace of %s: %w", path, err)
	}
	defer unix.Close(owner)
	var stat unix.Stat_t
	if err := unix.Fstat(owner, &stat); err != nil {
		return 0, fmt.Errorf("look at the user namespace of %s: %w", path, err)
	}
	return stat.Ino, nil
}
