// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
)

// documentedMap is a line of the table in docs/limits.md.
type documentedMap struct{ entries, bytes, perCPU float64 }

func documentedMaps(t *testing.T) map[string]documentedMap {
	t.Helper()
	text, err := os.ReadFile("../../docs/limits.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "<!-- maps: ")
	require.True(t, found)
	number := func(text string) float64 {
		n, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(text), ",", ""), 64)
		require.NoError(t, err)
		return n
	}
	maps := map[string]documentedMap{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			if len(maps) > 0 {
				break
			}
			continue
		}
		name := strings.TrimSpace(cells[1])
		if !strings.HasPrefix(name, "`") {
			continue
		}
		each, perCPU, _ := strings.Cut(strings.Replace(cells[4], " × CPUs", "", 1), " + ")
		m := documentedMap{entries: number(cells[3]), bytes: number(each)}
		if perCPU != "" {
			m.perCPU = number(perCPU)
		}
		maps[strings.Trim(name, "`")] = m
	}
	return maps
}

// TestMapsTakeWhatIsDocumented compares docs/limits.md with what the kernel charges.
func TestMapsTakeWhatIsDocumented(t *testing.T) {
	const others = 704 << 10
	enterNetNS(t)
	d, err := Diagnose(testConfig(func(c *Config) {
		c.HalfOpen, c.TCMode = true, TCAuto
		c.MaxConnections, c.RingBytes = 128<<10, 16<<20
		c.IncludePorts = []PortRange{{First: 80, Last: 80}}
		c.Inspect.HTTP = []settings.InspectedPorts{{PortRange: PortRange{First: 80, Last: 80}}}
		c.Inspect.MaxConnections, c.Inspect.RingBytes = 64<<10, 8<<20
		c.Sources.Enabled, c.Sources.MaxSources, c.MaxNetworkNamespaces = true, 64<<10, 128
	}))
	require.NoError(t, err)
	documented := documentedMaps(t)
	require.GreaterOrEqual(t, len(documented), 10)
	cpus := float64(ebpf.MustPossibleCPU())
	var rest uint64
	for _, m := range d.Maps {
		said, ok := documented[m.Name]
		if !ok {
			rest += m.Bytes
			continue
		}
		delete(documented, m.Name)
		assert.InDelta(t, said.entries, m.Entries, 0, m.Name)
		each := float64(m.Bytes) / float64(m.Entries)
		// Some kernels round each part of a map to whole pages.
		want := said.bytes + said.perCPU*cpus
		slack := max(0.03*want, float64(2*os.Getpagesize())/float64(m.Entries))
		assert.InDelta(t, want, each, slack, fmt.Sprintf("bytes per entry of %s", m.Name))
	}
	assert.Empty(t, documented, "documented, but no map")
	assert.Less(t, rest, uint64(others), "maps that are not listed")
}
