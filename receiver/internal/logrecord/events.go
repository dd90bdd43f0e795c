// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// EventOf is the account of the event that records of a name tell of; false when no
// event has that name.
func EventOf(name string) (ledger.Event, bool) {
	switch name {
	case declared.EventClose:
		return ledger.Connection, true
	case declared.EventOpen:
		return ledger.Open, true
	case declared.EventFailed:
		return ledger.Failed, true
	case declared.EventPacket:
		return ledger.Packet, true
	default:
		return 0, false
	}
}
