// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package inspect

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// times notes those of segments.
type times []int64

func (t *times) Segment(_ *request.Connection, s *stream.Segment) { *t = append(*t, s.Time) }

// TestDecodeTimes: the record says which clock its time is of.
func TestDecodeTimes(t *testing.T) {
	context := &record.Context{}
	require.NoError(t, context.Clock.Refresh())
	decoder := NewDecoder(context)
	var seen times
	sample := make([]byte, segmentHeader)
	r := (*shared.SegmentRecord)(unsafe.Pointer(unsafe.SliceData(sample)))
	r.Head.Time = 1_000_000
	decoder.Decode(sample, &seen)
	r.Known = uint8(shared.SegmentKnownMonotonic)
	decoder.Decode(sample, &seen)
	assert.Equal(t, times{context.Clock.Unix(1_000_000), context.Clock.FromMonotonic(1_000_000)}, seen)
}
