// SPDX-License-Identifier: Apache-2.0

package capability

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// MemoryLimit returns the lowest limit, in bytes, of this process's memory cgroup and of
// its ancestors as far as they are visible; 0 and no name if there is none.
func MemoryLimit(root fs.FS) (group string, limit uint64) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return "", limit
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		folder, file := "sys/fs/cgroup", "memory.max"
		switch {
		case parts[1] == "memory":
			folder, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case parts[1] != "":
			continue
		}
		for at := path.Clean("/" + parts[2]); ; at = path.Dir(at) {
			// v1 writes "no limit" as a number of bytes larger than any memory.
			if n, err := readNumber(root, path.Join(folder, at, file)); err == nil && n < 1<<60 && (limit == 0 || n < limit) {
				group, limit = at, n
			}
			if at == "/" {
				break
			}
		}
	}
	return group, limit
}

func readNumber(root fs.FS, name string) (uint64, error) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}
