// SPDX-License-Identifier: Apache-2.0

package vector

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var (
	ssh, web     = Service{Port: 22}, Service{Port: 80}
	login, guess = &Closed{Received: 3700, Duration: 1.4}, &Closed{Received: 1200, Duration: 0.2}
)

// teaching has windows, of which those of sources under 0 are not ordinary.
type teaching struct {
	*Windows[int, string]
	now    time.Time
	unlike float64
}

func newTeaching(services int) *teaching {
	return &teaching{Windows: NewWindows[int, string](10*time.Second, 8, services), now: start}
}

// window has one of a source with so many connections. It returns how unlike the others of their
// service they were.
func (h *teaching) window(source int, of Service, c *Closed, connections int) float64 {
	h.Add(source, h.now, facts(map[Count]float64{Completed: float64(connections)}))
	for range connections {
		h.AddClosed(source, h.now, of, c)
	}
	h.now = h.now.Add(10 * time.Second)
	h.Expire(h.now, func(at *Window[int, string]) {
		h.unlike, at.Ordinary = at.Vector[UnlikeService], at.Key >= 0
	})
	return h.unlike
}

// rarity is that of a connection that nobody learns of.
func (h *teaching) rarity(of Service, c *Closed) float64 { return h.habits.rarity(of, c, &lessons{}) }

func TestConnectionsUnlikeTheirService(t *testing.T) {
	h := newTeaching(8)
	for range leastHabit / perWindow {
		assert.True(t, math.IsNaN(h.window(1, ssh, login, 100)), "too few are known")
		h.window(1, web, guess, perWindow)
	}
	assert.True(t, math.IsNaN(h.rarity(ssh, login)), "one source teaches little in a window")
	h.window(1, ssh, login, 2)
	h.window(1, web, guess, 2)
	assert.Less(t, h.rarity(ssh, login), 0.1)
	assert.Greater(t, h.rarity(ssh, guess), 3.)
	assert.Less(t, h.rarity(web, guess), 0.1, "usual elsewhere")
	assert.True(t, math.IsNaN(h.rarity(Service{Port: 443}, login)))
	assert.True(t, math.IsNaN(h.rarity(ssh, &Closed{Received: -1, Duration: 1})))
	for range habitMemory {
		h.window(1, ssh, guess, perWindow)
	}
	assert.Less(t, h.rarity(ssh, guess), 0.1, "what was long ago counts less")
	for _, value := range []float64{0, 1e-9, 1e300, math.Inf(1)} {
		assert.False(t, math.IsNaN(h.rarity(ssh, &Closed{Received: value, Duration: value})))
	}
}

// TestGuessersTeachNothing: a source whose windows are not ordinary stays as unlike its service as it was,
// however long it goes on.
func TestGuessersTeachNothing(t *testing.T) {
	h := newTeaching(8)
	for range leastHabit {
		h.window(1, ssh, login, perWindow)
	}
	before := h.window(-1, ssh, guess, 40)
	assert.Greater(t, before, 3.)
	for range 1000 {
		assert.Equal(t, before, h.window(-1, ssh, guess, 40))
	}
	assert.Less(t, h.window(1, ssh, login, perWindow), 0.1)
}

// TestServicesLeave: those without a connection make room for those that have some, and it is counted.
func TestServicesLeave(t *testing.T) {
	h := newTeaching(8)
	known := func(port int) bool { return !math.IsNaN(h.rarity(Service{Port: uint16(port)}, login)) }
	for port := range 8 {
		for range leastHabit {
			h.window(1, Service{Port: uint16(port)}, login, 1)
		}
	}
	for port := range 6 {
		assert.True(t, known(port), port)
	}
	for port := 100; port < 110; port++ {
		for range leastHabit {
			h.window(1, Service{Port: uint16(port)}, login, 1)
		}
		assert.True(t, known(port), port)
		assert.True(t, known(5), "it has connections")
	}
	assert.False(t, known(0))
	assert.Equal(t, uint64(10), h.Displaced()[0]+h.Displaced()[1])
	for port := range 1000 {
		h.window(-1, Service{Port: uint16(1000 + port)}, login, 1)
	}
	assert.True(t, known(5), "nobody learns of a scan")
}
