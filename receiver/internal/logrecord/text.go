// SPDX-License-Identifier: Apache-2.0

package logrecord

import "strings"

// textChunk is how much text shares one allocation. It is small, because a consumer that keeps
// one string keeps the whole chunk.
const textChunk = 16 << 10

// text cuts strings out of shared chunks. Without it, bodies would be the only allocations of a
// record that pdata itself does not need.
type text struct {
	chunk *strings.Builder
}

func (t *text) add(b []byte) string {
	if t.chunk == nil || t.chunk.Cap()-t.chunk.Len() < len(b) {
		// The strings that were cut from a full chunk keep it.
		t.chunk = new(strings.Builder)
		t.chunk.Grow(max(textChunk, len(b)))
	}
	begin := t.chunk.Len()
	t.chunk.Write(b)
	return t.chunk.String()[begin:]
}
