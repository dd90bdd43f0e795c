// SPDX-License-Identifier: Apache-2.0

// Package account knows which event of the ledger each log record is accounted as.
package account

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

var accounts = [declared.Events]ledger.Event{
	declared.EventConnectionClose:  ledger.Connection,
	declared.EventConnectionFailed: ledger.Failed,
	declared.EventConnectionOpen:   ledger.Open,
	declared.EventConnectionUpdate: ledger.Update,
	declared.EventHTTPRequest:      ledger.Request,
	declared.EventListener:         ledger.Service,
	declared.EventPacket:           ledger.Packet,
	declared.EventSource:           ledger.Source,
	declared.EventTLSHandshake:     ledger.Handshake,
}

// Of returns the event that records of a kind are accounted as.
func Of(e declared.Event) ledger.Event { return accounts[e] }

// ByName does the same by the name of the records; false if no event has that name.
func ByName(name string) (ledger.Event, bool) {
	event, ok := declared.EventOf(name)
	if !ok {
		return 0, false
	}
	return accounts[event], true
}
