// SPDX-License-Identifier: Apache-2.0

package declared

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/facttest"
)

// TestInternalEnumsAreAsDeclared holds the attributes of the internal metrics.
func TestInternalEnumsAreAsDeclared(t *testing.T) {
	d := facttest.Declared(t)
	var events []string
	for event := range ledger.Events {
		events = append(events, event.String())
	}
	places, reasons := map[string]bool{}, map[string]bool{}
	for cause := range ledger.Causes {
		places[cause.Place()], reasons[cause.Reason()] = true, true
	}
	require.ElementsMatch(t, events, d.Attributes["event"].Enum)
	require.ElementsMatch(t, facttest.Keys(places), d.Attributes["place"].Enum)
	require.ElementsMatch(t, facttest.Keys(reasons), d.Attributes["reason"].Enum)
}
