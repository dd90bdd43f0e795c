// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// accounts are the events of the ledger that records are accounted as.
var accounts = [declared.Events]ledger.Event{
	declared.EventConnectionClose:  ledger.Connection,
	declared.EventConnectionFailed: ledger.Failed,
	declared.EventConnectionOpen:   ledger.Open,
	declared.EventHTTPRequest:      ledger.Request,
	declared.EventPacket:           ledger.Packet,
	declared.EventTLSHandshake:     ledger.Handshake,
}

// Account returns the event that records of a name are accounted as; false if no event has that
// name.
func Account(name string) (ledger.Event, bool) {
	event, ok := declared.EventOf(name)
	if !ok {
		return 0, false
	}
	return accounts[event], true
}
