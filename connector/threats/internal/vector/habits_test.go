// SPDX-License-Identifier: Apache-2.0

package vector

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestConnectionsUnlikeTheirService(t *testing.T) {
	h := habits{limit: 2, services: map[Service]*habit{}}
	ssh, web := Service{Port: 22}, Service{Port: 80}
	login, guess := &Closed{Received: 3700, Duration: 1.4}, &Closed{Received: 1200, Duration: 0.2}
	for range leastHabit {
		assert.True(t, math.IsNaN(h.rarity(ssh, login, 0)), "too few are known")
		h.rarity(web, guess, 0)
	}
	usual := h.rarity(ssh, login, 0)
	assert.Less(t, usual, 0.1)
	assert.Greater(t, h.rarity(ssh, guess, perWindow), 3.)
	assert.Less(t, h.rarity(web, guess, perWindow), 0.1, "usual elsewhere")
	for range 1000 {
		h.rarity(ssh, guess, perWindow)
	}
	assert.Greater(t, h.rarity(ssh, guess, perWindow), 3., "one source teaches little")
	assert.True(t, math.IsNaN(h.rarity(Service{Port: 443}, login, 0)), "no room")
	assert.True(t, math.IsNaN(h.rarity(ssh, &Closed{Received: -1, Duration: 1}, 0)))
	for range 3 * habitMemory {
		h.rarity(ssh, guess, 0)
	}
	assert.Less(t, h.rarity(ssh, guess, 0), 0.1, "what was long ago counts less")
	assert.LessOrEqual(t, h.services[ssh].total, float32(habitMemory))
	for _, value := range []float64{0, 1e-9, 1e300, math.Inf(1)} {
		assert.False(t, math.IsNaN(h.rarity(ssh, &Closed{Received: value, Duration: value}, 0)))
	}
}
