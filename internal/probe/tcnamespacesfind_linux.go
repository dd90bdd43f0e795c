// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
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
