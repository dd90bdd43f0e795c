// SPDX-License-Identifier: Apache-2.0

package account

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// TestEventsAreAccountedApart: each event has a line of its own in the ledger.
func TestEventsAreAccountedApart(t *testing.T) {
	events := map[ledger.Event]bool{}
	for event := range declared.Events {
		account, ok := ByName(event.String())
		require.True(t, ok)
		require.True(t, account.Accounted(), event)
		require.Equal(t, account, Of(event))
		events[account] = true
	}
	require.Len(t, events, int(declared.Events))
	_, ok := ByName("tcp.server.nothing")
	assert.False(t, ok)
}
