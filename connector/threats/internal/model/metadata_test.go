// SPDX-License-Identifier: Apache-2.0

package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMismatches(t *testing.T) {
	for says, change := range map[string]func(*metadata, *Config){
		`there is no input "y"`:                   func(_ *metadata, c *Config) { c.Input = "y" },
		"the input's datatype is neither FP32":    func(m *metadata, _ *Config) { m.Inputs[0].Datatype = "INT64" },
		"the input has another shape":             func(m *metadata, _ *Config) { m.Inputs[0].Shape = []int64{-1, 4} },
		`there is no output "verdict"`:            func(_ *metadata, c *Config) { c.Output = "verdict" },
		"it has 0 inputs":                         func(m *metadata, _ *Config) { m.Inputs = nil },
		"it has 2 outputs, so output must say":    func(m *metadata, _ *Config) { m.Outputs = append(m.Outputs, tensor{"label", "BYTES", []int64{-1}}) },
		"the output has 2 values for each vector": func(m *metadata, _ *Config) { m.Outputs[0].Shape = []int64{-1, 2} },
		"the output has no column 1":              func(_ *metadata, c *Config) { c.Column = 1 },
		"the output has another shape":            func(m *metadata, _ *Config) { m.Outputs[0].Shape = []int64{-1, 2, 2} },
		"it wants more than one input": func(m *metadata, c *Config) {
			m.Inputs, c.Input = append(m.Inputs, tensor{"z", "FP32", []int64{1}}), "x"
		},
	} {
		t.Run(says, func(t *testing.T) {
			m := fits()
			s := serve(t, m)
			config := configOf(s)
			change(&s.metadata, &config)
			b := newBench(t, config)
			err := b.Start(t.Context())
			var mismatch *MismatchError
			require.ErrorAs(t, err, &mismatch)
			require.ErrorContains(t, err, says)
			// Both sides are in the one error.
			assert.ErrorContains(t, err, "the server has inputs ")
			assert.ErrorContains(t, err, "FP32 or FP64, [-1 3] or [3], of the 3 features attempts, failed, failed_share (raw)")
		})
	}
}

func TestUnknownVersion(t *testing.T) {
	s := serve(t, fits())
	config := configOf(s)
	config.Version = "9"
	b := started(t, config)
	b.offer(0, 1)
	b.wait(t, HTTPStatus, 1)
	m := fits()
	require.ErrorContains(t, config.agreeVersion(&m), `there is no version "9"`)
}

func TestNamesOfAServerAreCleaned(t *testing.T) {
	m := fits()
	m.Inputs[0].Name = "x\x1b[31m"
	s := serve(t, m)
	config := configOf(s)
	config.Input = "other"
	err := newBench(t, config).Start(t.Context())
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "\x1b")
}

func TestNoMetadata(t *testing.T) {
	config := DefaultConfig()
	for _, text := range []string{"", "<html>", `{"inputs":7}`, "[]"} {
		_, err := config.agree([]byte(text))
		require.Error(t, err, text)
		var mismatch *MismatchError
		assert.NotErrorAs(t, err, &mismatch, text)
	}
}
