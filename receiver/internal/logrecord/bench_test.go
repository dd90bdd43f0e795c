// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
)

const benchBatch = 1000

// BenchmarkClosed measures a close record, with its share of a batch.
func BenchmarkClosed(b *testing.B) {
	l := New(metadata.DefaultLogsBuilderConfig(), Options{HostName: "web-1"})
	c, p := facttest.Closed(), facttest.Process()
	b.ReportAllocs()
	for b.Loop() {
		l.Closed(c, 0, p, owner.ByAcceptor)
		if l.Len() == benchBatch {
			l.Take()
		}
	}
}

// TestClosedAllocates: a close record has no allocations but those of pdata itself, for the
// record, its attributes, each value and the body. Many records share one allocation of text.
func TestClosedAllocates(t *testing.T) {
	l := New(metadata.DefaultLogsBuilderConfig(), Options{HostName: "web-1"})
	c, p := facttest.Closed(), facttest.Process()
	l.Closed(c, 0, p, owner.ByAcceptor)
	needed := 3 + float64(single(t, l.Take()).Attributes().Len())
	ours := testing.AllocsPerRun(10, func() {
		for range benchBatch {
			l.Closed(c, 0, p, owner.ByAcceptor)
		}
		l.Take()
	})
	require.LessOrEqual(t, ours/benchBatch, needed+0.1)
}
