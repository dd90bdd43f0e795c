// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package capability

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestExplains(t *testing.T) {
	statistics := "processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0"
	assert.False(t, explains(nil))
	assert.False(t, explains([]string{statistics}), "refused before the first instruction")
	assert.True(t, explains([]string{"0: R1=ctx() R10=fp0", "R0 !read_ok", statistics}))
}
