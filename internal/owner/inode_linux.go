// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"io/fs"
	"syscall"
)

// inode returns the file's inode number, 0 when the file system has none.
func inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}

// owningUser returns the file's user id, 0 when the file system has none.
func owningUser(info fs.FileInfo) uint32 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Uid
	}
	return 0
}
