// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCamelCase(t *testing.T) {
	assert.Equal(t, "CloseReason", camelCase("close_reason"))
	assert.Equal(t, "CloseReason", camelCase("CLOSE_REASON"))
	assert.Equal(t, "Pad2", camelCase("pad2"))
}

func TestEnumerator(t *testing.T) {
	assert.Equal(t, "CloseReasonTimeout", enumerator("CloseReason", "CLOSE_TIMEOUT"))
	assert.Equal(t, "FailureRefused", enumerator("Failure", "FAILURE_REFUSED"))
	assert.Equal(t, "Rooms", enumerator("Room", "ROOMS"))
}

// Both architectures have the same types, so that one declaration serves both.
func TestDeclarationsOfBothArchitectures(t *testing.T) {
	committed, err := os.ReadFile("../types.go")
	require.NoError(t, err)
	for _, object := range []string{"../shared_x86_bpfel.o", "../shared_arm64_bpfel.o"} {
		code, err := declarations(object)
		require.NoError(t, err)
		assert.Equal(t, string(committed), string(code), object)
	}
}
