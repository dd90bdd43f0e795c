// SPDX-License-Identifier: Apache-2.0

package model

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
)

func TestDefaultIsNoModel(t *testing.T) {
	c := DefaultConfig()
	assert.False(t, c.Enabled())
	require.NoError(t, c.Validate())
	c.Client.Endpoint, c.Name = "https://models.example", "m"
	assert.True(t, c.Enabled())
	require.NoError(t, c.Validate())
	chosen, err := c.chosen()
	require.NoError(t, err)
	assert.Len(t, chosen, vector.Size)
}

func TestFaultsOfAConfiguration(t *testing.T) {
	for says, change := range map[string]func(*Config){
		`endpoint: "" is no URL`:                         func(c *Config) { c.Client.Endpoint = "" },
		`endpoint: "localhost:8000" is no URL`:           func(c *Config) { c.Client.Endpoint = "localhost:8000" },
		`endpoint: "grpc://x" is no URL`:                 func(c *Config) { c.Client.Endpoint = "grpc://x" },
		"name: the model needs a name":                   func(c *Config) { c.Name = "" },
		"timeout: must be above 0":                       func(c *Config) { c.Client.Timeout = 0 },
		"column: must be -1 or more":                     func(c *Config) { c.Column = -2 },
		"threshold: must be a finite number":             func(c *Config) { c.Threshold = math.NaN() },
		"max_batch: must be from 1 to 4096":              func(c *Config) { c.MaxBatch = 0 },
		"queue_size: must be from 1 to 1048576":          func(c *Config) { c.QueueSize = 1<<20 + 1 },
		"breaker::failures: must be from 1 to 1000":      func(c *Config) { c.Breaker.Failures = 0 },
		"breaker::pause: must be at least 1s":            func(c *Config) { c.Breaker.Pause = time.Millisecond },
		`features: there is no feature "age"`:            func(c *Config) { c.Features = []string{"age"} },
		"features: failed is listed twice":               func(c *Config) { c.Features = []string{"failed", "failed"} },
		`normalise::form: "z" is neither raw nor log`:    func(c *Config) { c.Normalise.Form = "z" },
		"normalise::center: has 1 values for 2 features": func(c *Config) { c.Normalise.Center = []float64{1} },
		"normalise::scale: must not be 0":                func(c *Config) { c.Normalise.Scale = []float64{1, 0} },
		"normalise::scale: must be finite numbers":       func(c *Config) { c.Normalise.Scale = []float64{1, math.Inf(1)} },
		"normalise::absent: must be a finite number":     func(c *Config) { c.Normalise.Absent = math.NaN() },
	} {
		t.Run(says, func(t *testing.T) {
			c := DefaultConfig()
			c.Client.Endpoint, c.Name, c.Features = "http://localhost:8000", "m", []string{"attempts", "failed"}
			require.NoError(t, c.Validate())
			change(&c)
			require.ErrorContains(t, c.Validate(), says)
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	c := DefaultConfig()
	c.Name, c.MaxBatch, c.Normalise.Absent = "m", -1, math.Inf(1)
	err := c.Validate()
	for _, says := range []string{"endpoint:", "max_batch:", "normalise::absent:"} {
		require.ErrorContains(t, err, says)
	}
}
