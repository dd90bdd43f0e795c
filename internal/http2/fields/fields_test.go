// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

func encode(t *testing.T, encoder *hpack.Encoder, to *bytes.Buffer, pairs ...string) []byte {
	t.Helper()
	to.Reset()
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return bytes.Clone(to.Bytes())
}

// TestUnknownTable: what earlier blocks put into the table is absent, and never another field's.
func TestUnknownTable(t *testing.T) {
	var out bytes.Buffer
	encoder := hpack.NewEncoder(&out)
	encode(t, encoder, &out, "x-old", "1", ":path", "/old")
	pool := stream.NewPool(1 << 20)
	var table Table
	table.Forget(pool)
	var got []string
	take := func(name, value string) { got = append(got, name+"="+value) }
	assert.True(t, table.Decode(pool, encode(t, encoder, &out, "x-old", "1", ":path", "/old", "x-old", "2", "x-new", "3"), take))
	assert.True(t, table.Decode(pool, encode(t, encoder, &out, "x-new", "3"), nil))
	assert.True(t, table.Decode(pool, encode(t, encoder, &out, "x-new", "3", ":path", "/new"), take))
	assert.Equal(t, []string{"=", "=", "=2", "x-new=3", "x-new=3", ":path=/new"}, got)
	assert.Zero(t, pool.Lent())
}

// TestGarbage: blocks of garbage that announce large tables cost a bounded number of those.
func TestGarbage(t *testing.T) {
	pool := stream.NewPool(1 << 20)
	var table Table
	table.Renew()
	block := []byte{0x3f, 0xe1, 0xff, 0x03, 0xff, 0xff} // a table of 64 KiB
	for range 2 * MaxForgotten {
		assert.False(t, table.Decode(pool, block, nil))
	}
	assert.True(t, table.Broken())
	assert.Zero(t, pool.Lent())
	assert.Equal(t, DefaultTable, table.size)
	table.Drop(pool)
	assert.Zero(t, pool.Lent())
}

// TestLargerTable: an encoder may announce one, as far as there is room for it.
func TestLargerTable(t *testing.T) {
	for _, test := range []struct {
		room, size int
		ok         bool
	}{{1 << 20, maxTable, true}, {1 << 20, maxTable + 1, false}, {1 << 10, maxTable, false}} {
		var out bytes.Buffer
		encoder := hpack.NewEncoder(&out)
		encoder.SetMaxDynamicTableSizeLimit(1 << 20)
		encoder.SetMaxDynamicTableSize(uint32(test.size))
		pool := stream.NewPool(test.room)
		var table Table
		table.Renew()
		assert.Equal(t, test.ok, table.Decode(pool, encode(t, encoder, &out, "a", "b"), nil), "%+v", test)
		table.Drop(pool)
		assert.Zero(t, pool.Lent())
	}
}
