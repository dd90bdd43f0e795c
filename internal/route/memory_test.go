// SPDX-License-Identifier: Apache-2.0

package route

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// BenchmarkMemory measures what a segment takes, where levels are full and have candidates.
func BenchmarkMemory(b *testing.B) {
	const servers, nodes = 64, 500
	for b.Loop() {
		before := heap()
		l := NewLearner(Options{Children: 20, Nodes: nodes, Servers: servers})
		random := rand.New(rand.NewPCG(1, 2))
		kept := 0
		for port := range servers {
			s := Server{Port: uint16(port)}
			for i := range 20 * 20 {
				for range established {
					l.Learn(s, []byte("/"+name(1+i%20)+"/"+name(1+i/20)))
				}
			}
			for i := range 20 * 50 { // these become candidates
				l.Learn(s, []byte("/"+name(1+i%20)+"/"+name(random.IntN(1<<40))))
			}
			kept += l.servers[s].nodes
		}
		b.ReportMetric(float64(heap()-before)/float64(kept), "B/segment")
		b.ReportMetric(float64(kept), "segments")
		runtime.KeepAlive(l)
	}
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
