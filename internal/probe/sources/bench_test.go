// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package sources

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// BenchmarkPass reads 65,536 sources that all did something since the pass before. A thousand get a
// record.
func BenchmarkPass(b *testing.B) {
	v := newVantage(b, func(s *settings.Sources) { s.MaxSources, s.MaxRecords, s.MinAttempts = 65536, 1000, 20 })
	m := v.reader.m
	keys, values := make([]shared.SourceKey, m.MaxEntries()), make([]shared.Source, m.MaxEntries())
	for i := range keys {
		keys[i] = keyOf(uint32(i))
		values[i].Last = keys[i].Address
	}
	least := time.Duration(math.MaxInt64)
	for b.Loop() {
		for i := range values {
			values[i].Counts[0]++
			if i%64 == 0 {
				values[i].Counts[1] += 2
			}
			values[i].Ports[0][i%4] |= 1 << (i % 64)
		}
		_, err := m.BatchUpdate(keys, values, nil)
		require.NoError(b, err)
		begin := time.Now()
		v.Pass(begin)
		least = min(least, time.Since(begin))
	}
	require.Len(b, v.known, len(keys))
	b.ReportMetric(float64(least)/float64(len(keys)), "ns/source")
	b.ReportMetric(100*least.Seconds(), "%core")
}
