// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// equal fails if a head that is read at once differs from what End and the slower way read. It
// reports whether it was read at once.
func equal(t *testing.T, text string) bool {
	t.Helper()
	var end End
	size, done := end.Find([]byte(text))
	var got, want Head
	n := got.WholeRequest([]byte(text))
	if n > 0 {
		want.ParseRequest([]byte(text[:n]))
		require.Equal(t, []any{size, done}, []any{n, true}, "%q", text)
		require.Equal(t, want, got, "%q", text)
	}
	if m := got.WholeAnswer([]byte(text)); m > 0 {
		valid := want.ParseAnswer([]byte(text[:m]))
		require.Equal(t, []any{size, done, valid}, []any{m, true, got.Valid}, "%q", text)
		if valid {
			require.Equal(t, want, got, "%q", text)
		}
	}
	return n > 0
}

func TestWhole(t *testing.T) {
	for _, head := range append(heads, "\n", "\r\n\r\n", "", "\rGET / HTTP/1.1\n\n", "GET / HTTP/1.1\n\rContent-Length: 1\n\n",
		"HTTP/1.1 200\nContent-Type: text/event-stream\nContent-Type: x\n\n", "HTTP/1.1 200\ncontent-type: x\nContent-Type: text/event-stream\n\n") {
		for n := range len(head) + 1 {
			equal(t, head[:n])
			equal(t, head[:n]+"more\r\n\r\n")
		}
	}
	assert.True(t, equal(t, heads[0]))
	assert.False(t, equal(t, heads[0][:len(heads[0])-1]), "it lacks its end")
}

func TestWholeOfMixtures(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	whole := 0
	for range 20_000 {
		var b strings.Builder
		for range 1 + random.IntN(3) {
			head := heads[random.IntN(len(heads))]
			b.WriteString(head[random.IntN(len(head)):])
		}
		if equal(t, b.String()) {
			whole++
		}
	}
	assert.Greater(t, whole, 1000)
}
