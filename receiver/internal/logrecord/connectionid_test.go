// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// kernelNumber makes a number of a CPU, a place and a count, like bpf/sock/connections.h.
func kernelNumber(cpu, space, count uint64) uint64 { return count<<19 | cpu<<3 | space }

// TestConnectionIDs gives ids to connections of a host with 1,024 CPUs, then to the same numbers
// in another receiver, or after a restart. No two are equal.
func TestConnectionIDs(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[a-z0-9]{12}-[a-z0-9]{1,13}$`)
	ids := map[string]bool{}
	for range 2 {
		l := New(allEvents(), Options{Instance: NewInstance()})
		for cpu := range uint64(1024) {
			for space := range uint64(4) {
				for _, count := range []uint64{1, 2, 1 << 44} {
					c := facttest.Closed()
					c.ID = kernelNumber(cpu, space, count)
					l.Closed(c, 0, nil, owner.None)
					value, ok := single(t, l.Take()).Attributes().Get("tcp.connection.id")
					require.True(t, ok)
					require.Equal(t, pcommon.ValueTypeStr, value.Type())
					require.Regexp(t, form, value.Str())
					require.False(t, ids[value.Str()], "%s is not unique", value.Str())
					ids[value.Str()] = true
				}
			}
		}
	}
}

// TestConnectionIDStays: all records of one connection have the same id.
func TestConnectionIDStays(t *testing.T) {
	t.Parallel()
	l := testLogs(allEvents())
	l.Opened(facttest.Opened(), nil, owner.None)
	opened, _ := single(t, l.Take()).Attributes().Get("tcp.connection.id")
	l.Closed(facttest.Closed(), 0, nil, owner.None)
	closed, _ := single(t, l.Take()).Attributes().Get("tcp.connection.id")
	require.Equal(t, opened.Str(), closed.Str())
}
