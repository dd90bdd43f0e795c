// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
)

// TestUpdates: the records of a connection add up to what it transferred, and are in the books.
func TestUpdates(t *testing.T) {
	for name, change := range map[string]func(*Options){"logs": withoutMetrics, "both": func(*Options) {}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(change, func(o *Options) {
				o.Updates = connection.UpdateOptions{Interval: time.Nanosecond, PerPass: 10}
			})
			closed := closedConnection(owner.Ref{})
			for n := range uint64(3) {
				r.BeginPass()
				r.Live(&connection.Live{Connection: closed.Connection, ReceivedBytes: 100 * (n + 1), TransmittedBytes: 7})
				r.EndPass()
			}
			closed.ReceivedBytes, closed.TransmittedBytes = 350, 7
			r.ConnectionClosed(closed)
			assert.EqualValues(t, 350, closed.ReceivedBytes, "the fact is not changed")
			r.Flush()
			require.Len(t, r.batches, 1)
			var received, transmitted int64
			var names []string
			for _, record := range r.batches[0].Logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
				names = append(names, record.EventName())
				attributes := record.Attributes().AsRaw()
				received += attributes["tcp.receive.size"].(int64)
				transmitted += attributes["tcp.transmit.size"].(int64)
				assert.EqualValues(t, min(len(names), 3), attributes["tcp.connection.update.count"])
			}
			update := "tcp.server.connection.update"
			assert.Equal(t, []string{update, update, update, "tcp.server.connection.close"}, names)
			assert.EqualValues(t, 350, received)
			assert.EqualValues(t, 7, transmitted)
			assert.EqualValues(t, 3, r.ledger.Balance(ledger.Update).Produced)
			assert.Zero(t, r.ledger.Balance(ledger.Update).Difference())
		})
	}
}
