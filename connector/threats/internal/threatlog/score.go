// SPDX-License-Identifier: Apache-2.0

package threatlog

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// featurePrefix begins the names of a vector's values.
const featurePrefix = "tcp.threat.feature."

// nameOf is the name of the rule, or of the model that gave a score.
func nameOf(f *finding.Finding) string {
	name := catalogue.All[f.Rule].Name
	if f.Score != nil && f.Score.Model != "" {
		return name + "/" + clean.String(f.Score.Model)
	}
	return name
}

func putScore(a pcommon.Map, s *finding.Score) {
	a.EnsureCapacity(a.Len() + 4 + len(s.Vector))
	a.PutDouble("tcp.threat.score", s.Value)
	a.PutBool("tcp.threat.proven", s.Proven)
	if s.Windows > 0 {
		a.PutInt("tcp.threat.windows", int64(s.Windows))
	}
	if len(s.Causes) > 0 {
		putStrings(a.PutEmptySlice("tcp.threat.causes"), s.Causes)
	}
	for _, fact := range s.Vector {
		a.PutDouble(featurePrefix+fact.Key, fact.Value)
	}
}
