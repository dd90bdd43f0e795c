// SPDX-License-Identifier: Apache-2.0

package declared

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventOf(t *testing.T) {
	for event := range Events {
		got, ok := EventOf(event.String())
		require.True(t, ok)
		require.Equal(t, event, got)
	}
	_, ok := EventOf("tcp.server")
	require.False(t, ok)
}
