// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package owner

import "io/fs"

// inode returns 0: only Linux has cgroups.
func inode(fs.FileInfo) uint64 { return 0 }

// owningUser returns 0: only Linux has cgroups.
func owningUser(fs.FileInfo) uint32 { return 0 }
