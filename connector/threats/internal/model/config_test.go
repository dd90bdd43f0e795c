// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/vector"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
)

// faults are those of a configuration.
func faults(c *Config) error {
	var f fault.Faults
	c.Validate(&f)
	return errors.Join(f...)
}

func TestDefaultIsNoModel(t *testing.T) {
	c := DefaultConfig()
	assert.False(t, c.Enabled())
	require.NoError(t, faults(&c))
	c.Client.Endpoint, c.Name = "https://models.example", "m"
	assert.True(t, c.Enabled())
	require.NoError(t, faults(&c))
	chosen, err := c.chosen()
	require.NoError(t, err)
	assert.Len(t, chosen, vector.Size)
}

func TestFaultsOfAConfiguration(t *testing.T) {
	for says, change := range map[string]func(*Config){
		`endpoint: "" is no URL`:                              func(c *Config) { c.Client.Endpoint = "" },
		`endpoint: "localhost:8000" is no URL`:                func(c *Config) { c.Client.Endpoint = "localhost:8000" },
		`endpoint: "grpc://x" is no URL`:                      func(c *Config) { c.Client.Endpoint = "grpc://x" },
		"name: the model needs a name":                        func(c *Config) { c.Name = "" },
		"timeout: 0s is out of range":                         func(c *Config) { c.Client.Timeout = 0 },
		"column: -2 is out of range":                          func(c *Config) { c.Column = -2 },
		"threshold: NaN is out of range":                      func(c *Config) { c.Threshold = math.NaN() },
		"max_batch: 0 is out of range, allowed are 1 to 4096": func(c *Config) { c.MaxBatch = 0 },
		"queue_size: 1048577 is out of range":                 func(c *Config) { c.QueueSize = 1<<20 + 1 },
		"breaker::failures: 0 is out of range":                func(c *Config) { c.Breaker.Failures = 0 },
		"breaker::pause: 1ms is out of range":                 func(c *Config) { c.Breaker.Pause = time.Millisecond },
		`features: there is no feature "age"`:                 func(c *Config) { c.Features = []string{"age"} },
		"features: failed is listed twice":                    func(c *Config) { c.Features = []string{"failed", "failed"} },
		`normalise::form: "z" is unknown`:                     func(c *Config) { c.Normalise.Form = "z" },
		"normalise::center: has 1 values for 2 features":      func(c *Config) { c.Normalise.Center = []float64{1} },
		"normalise::scale[1]: must not be 0":                  func(c *Config) { c.Normalise.Scale = []float64{1, 0} },
		"normalise::scale[1]: +Inf is out of range":           func(c *Config) { c.Normalise.Scale = []float64{1, math.Inf(1)} },
		"normalise::absent: NaN is out of range":              func(c *Config) { c.Normalise.Absent = math.NaN() },
	} {
		t.Run(says, func(t *testing.T) {
			c := DefaultConfig()
			c.Client.Endpoint, c.Name, c.Features = "http://localhost:8000", "m", []string{"attempts", "failed"}
			require.NoError(t, faults(&c))
			change(&c)
			require.ErrorContains(t, faults(&c), "model::"+says)
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	c := DefaultConfig()
	c.Name, c.MaxBatch, c.Normalise.Absent = "m", -1, math.Inf(1)
	err := faults(&c)
	for _, says := range []string{"endpoint:", "max_batch:", "normalise::absent:"} {
		require.ErrorContains(t, err, says)
	}
}
