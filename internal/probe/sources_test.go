// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// countingSources follows sources, and reports each that did anything.
func countingSources(change ...func(*Sources)) func(*Config) {
	return func(c *Config) {
		c.Sources = Sources{
			Enabled: true, Interval: 100 * time.Millisecond, IPv6Prefix: 64, MaxRecords: 100,
			MinAttempts: 1, IdleTimeout: time.Hour, MaxSources: 1024, Records: true,
		}
		for _, f := range change {
			f(&c.Sources)
		}
	}
}

// did sums up what a source did, and what all others did.
func (r *recorder) did(prefix string) (one, others [source.Counts]uint64) {
	for i := range r.sources {
		s := &r.sources[i]
		sum := &others
		if s.Rest == 0 && s.Prefix == netip.MustParsePrefix(prefix) {
			sum = &one
		}
		for c, n := range s.Counts {
			sum[c] += n
		}
	}
	return one, others
}

// TestScans: each kind of scan of 100 ports, two of which listen, gives its count.
func TestScans(t *testing.T) {
	const ports = "1001-1098,8001,8002"
	for scan, want := range map[string]map[source.Count]uint64{
		"-sS": {source.SYNListening: 2, source.SYNClosed: 98},
		"-sF": {source.FlagsFIN: 100},
		"-sN": {source.FlagsNull: 100},
		"-sX": {source.FlagsXmas: 100},
		"-sA": {},
	} {
		t.Run(scan, func(t *testing.T) {
			enterNetNS(t)
			client := wire.NewPeer(t)
			client.Veth(t, "server")
			for _, port := range []uint16{8001, 8002} {
				listen(t, "tcp4", netip.AddrPortFrom(wire.Server4, port).String())
			}
			k := startProbe(t, testConfig(mode(TCAuto), included("server"), countingSources()))
			client.In(func() {
				out, err := exec.Command("nmap", "-n", "-Pn", "--max-retries", "0", scan, "-p", ports, wire.Server4.String()).CombinedOutput()
				require.NoError(t, err, string(out))
				require.True(t, strings.Contains(string(out), "Nmap done"))
			})
			var got, others [source.Counts]uint64
			k.until("counts of the scan", func() bool {
				got, others = k.did("192.0.2.7/32")
				return got[source.SYNListening]+got[source.SYNClosed]+got[source.FlagsFIN]+got[source.FlagsNull]+got[source.FlagsXmas] >= 100 || scan == "-sA"
			})
			for c := source.SYNListening; c <= source.Land; c++ {
				assert.Equal(t, want[c], got[c], c)
			}
			assert.Zero(t, others)
		})
	}
}
