// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package capability

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

func TestMemoryLimit(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tests := []struct {
		name  string
		root  fstest.MapFS
		group string
		limit uint64
	}{
		{"unknown", fstest.MapFS{}, "", 0},
		{"v2", fstest.MapFS{
			"proc/self/cgroup": file("0::/system.slice/a.service\n"),
			"sys/fs/cgroup/system.slice/a.service/memory.max": file("104857600\n"),
			"sys/fs/cgroup/system.slice/memory.max":           file("max\n"),
		}, "/system.slice/a.service", 100 << 20},
		{"v2, the one above is lower", fstest.MapFS{
			"proc/self/cgroup": file("0::/system.slice/a.service\n"),
			"sys/fs/cgroup/system.slice/a.service/memory.max": file("104857600\n"),
			"sys/fs/cgroup/system.slice/memory.max":           file("1048576\n"),
		}, "/system.slice", 1 << 20},
		{"v2 without a limit", fstest.MapFS{
			"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n"),
		}, "", 0},
		{"v1", fstest.MapFS{
			"proc/self/cgroup": file("5:cpu:/other\n4:memory:/a\n0::/\n"),
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("2097152\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
		}, "/a", 2 << 20},
		{"v1 without a limit", fstest.MapFS{
			"proc/self/cgroup": file("4:memory:/\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, "", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			group, limit := MemoryLimit(test.root)
			assert.Equal(t, test.group, group)
			assert.Equal(t, test.limit, limit)
		})
	}
}

func TestShortage(t *testing.T) {
	err := Explain(fmt.Errorf("map create: %w", unix.EMFILE))
	assert.Regexp(t, `^RLIMIT_NOFILE is too low: it allows \d+ open files: too many open files$`, err.Error())
	assert.True(t, Mendable(err))
	err = Explain(fmt.Errorf("map create: %w", unix.ENOMEM))
	assert.ErrorContains(t, err, "limits::connections and limits::ring_bytes take less: cannot allocate memory")
	assert.True(t, Mendable(err))
	assert.Equal(t, unix.ENOSPC, Explain(unix.ENOSPC))
}
