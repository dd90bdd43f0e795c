// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
)

func TestLimitsByMemory(t *testing.T) {
	tests := []struct {
		name, meminfo         string
		connections, ringByte int
	}{
		{"128 MiB", "MemTotal:         131072 kB\nMemFree: 1 kB\n", 4096, 1 << 20},
		{"1 GiB", "MemTotal:        1048576 kB\n", 16384, 2 << 20},
		{"a bit less than 4 GiB", "MemTotal:        4030000 kB\n", 32768, 4 << 20},
		{"8 GiB", "MemTotal:        8388608 kB\n", 131072, 16 << 20},
		{"1 TiB", "MemTotal:     1073741824 kB\n", 131072, 16 << 20},
		{"unreadable", "nonsense", 131072, 16 << 20},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{"proc/meminfo": {Data: []byte(test.meminfo)}}
			limits := createDefaultConfig().Limits
			sized := limits.sized(root)
			assert.Equal(t, test.connections, sized.Connections)
			assert.Equal(t, test.ringByte, sized.RingBytes)
			limits.Connections, limits.RingBytes = 7, 4096
			assert.Equal(t, limits, limits.sized(root), "what is set stays")
		})
	}
	assert.Equal(t, 131072, createDefaultConfig().Limits.sized(fstest.MapFS{}).Connections)
}

// TestLimitsByCgroup: the kernel's maps are charged to the cgroup.
func TestLimitsByCgroup(t *testing.T) {
	sized := createDefaultConfig().Limits.sized(fstest.MapFS{
		"proc/meminfo":             {Data: []byte("MemTotal:        8388608 kB\n")},
		"proc/self/cgroup":         {Data: []byte("0::/\n")},
		"sys/fs/cgroup/memory.max": {Data: []byte("1073741824\n")},
	})
	assert.Equal(t, 16384, sized.Connections)
	assert.Equal(t, 2<<20, sized.RingBytes)
}

// TestLossesNameKeys: a warning of a loss names a key of the configuration.
func TestLossesNameKeys(t *testing.T) {
	keys := map[string]bool{"": true}
	loadSchema(t).leaves(nil, func(path []string, _ *schema) { keys[strings.Join(path, "::")] = true })
	for e := range ledger.Events {
		for c := range ledger.Causes {
			assert.True(t, keys[e.Limit(c)], "%s is no key", e.Limit(c))
		}
	}
}

// TestLimitsAreLogged: every limit is in the log under its key.
func TestLimitsAreLogged(t *testing.T) {
	core, messages := observer.New(zap.InfoLevel)
	limits := createDefaultConfig().Limits
	limits.log(zap.New(core), kerneltest.New(t))
	logged := messages.All()[0].ContextMap()
	for key := range loadSchema(t).Properties["limits"].Properties {
		assert.Contains(t, logged, key)
	}
	assert.EqualValues(t, limits.Series, logged["series"])
	assert.EqualValues(t, 36<<20, logged["kernel_map_bytes"])
}
