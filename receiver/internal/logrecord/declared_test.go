// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord/columns"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/tlsview"
)

func TestEventsAreAsDeclared(t *testing.T) {
	d := facttest.Declared(t)
	require.Equal(t, d.ScopeName, metadata.ScopeName)
	l := testLogs(allEvents())
	for _, p := range []*owner.Process{facttest.Process(), nil} {
		for source := owner.None; source <= owner.ByAcceptor; source++ {
			l.Opened(facttest.Opened(), p, source)
		}
		for reason := connection.CloseUnknown; reason <= connection.CloseTimeout; reason++ {
			c := facttest.Closed()
			c.Reason = reason
			l.Closed(c, 0, p, owner.ByCloser)
		}
		c := facttest.Connection()
		l.Updated(&connection.Update{Connection: &c, Time: c.Opened + 1, Number: 1, ReceivedBytes: 2}, p, owner.ByCloser)
		l.Closed(facttest.Closed(), 1, p, owner.ByCloser)
		for malformed := packet.WellFormed; malformed < packet.MalformedKinds; malformed++ {
			k := facttest.Packet()
			k.Malformed, k.Egress = malformed, malformed%2 == 0
			l.Packet(k, p, owner.ByHolder)
		}
	}
	for failure := connection.FailureOther; failure <= connection.FailureAcceptQueueOverflow; failure++ {
		f := facttest.Failed()
		f.Type = failure
		l.Failed(f, facttest.Process())
	}

	for _, e := range exchanges() {
		appendRequestRecord(t, l, e)
	}
	appendBodies(t, l)
	appendCall(t, l)
	for _, h := range handshakes() {
		l.Handshake(view(h), facttest.Process(), owner.ByListener)
	}
	redact, err := privacy.New(privacy.Options{Patterns: []string{"shop"}})
	require.NoError(t, err)
	l.Handshake(tlsview.New(tlsview.Options{Redact: redact}).Of(facttest.Handshake()), nil, owner.None)

	appendSources(t, l)

	require.Zero(t, l.row.values[columns.Most], "an attribute that the event does not declare")

	got := facttest.Emitted{}
	for _, resource := range l.Take().Logs.ResourceLogs().All() {
		require.Subset(t, facttest.Keys(d.ResourceAttributes), facttest.Keys(resource.Resource().Attributes().AsRaw()))
		for _, record := range resource.ScopeLogs().At(0).LogRecords().All() {
			event, ok := d.Events[record.EventName()]
			require.True(t, ok, "%s is not declared", record.EventName())
			got.Add(t, record.EventName(), record.Attributes(), d.Names(event.Attributes))
			require.Regexp(t, "^"+record.EventName()+" ", record.Body().Str())
		}
	}
	require.Equal(t, facttest.Keys(d.Events), facttest.Keys(got))
	for name, event := range d.Events {
		require.Equal(t, facttest.Keys(d.Names(event.Attributes)), facttest.Keys(got[name]), name)
	}
}
