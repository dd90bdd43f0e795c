// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// BenchmarkMemory measures what an upstream request takes that waits: with nothing that Kong says
// of its client, and with as much as is kept.
func BenchmarkMemory(b *testing.B) {
	long := strings.Repeat("x", maxSaid)
	for name, said := range map[string][]string{
		"no_consumer": nil,
		"most": {
			"X-Consumer-Id", long, "X-Consumer-Username", long, "X-Consumer-Custom-Id", long, "X-Consumer-Groups", long,
			"X-Anonymous-Consumer", "true",
		},
	} {
		b.Run(name, func(b *testing.B) {
			const entries = 8192
			for b.Loop() {
				before := heap()
				tie := NewTie(DefaultNames(), entries, time.Hour)
				for i := range entries {
					id := fields(append([]string{kongID, fmt.Sprintf("%032d", i)}, said...)...)
					tie.Hold(exchange(7, 110, 150, id, nil), 200)
				}
				b.ReportMetric(float64(heap()-before)/entries, "B/request")
				runtime.KeepAlive(tie)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
