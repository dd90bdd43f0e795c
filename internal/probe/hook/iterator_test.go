// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package hook

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entry is a record of 16 bytes.
type entry struct{ Number, Double uint64 }

func entries(n int) []byte {
	var stream []byte
	for i := range n {
		stream = binary.NativeEndian.AppendUint64(stream, uint64(i))
		stream = binary.NativeEndian.AppendUint64(stream, uint64(2*i))
	}
	return stream
}

// A record may be cut at any byte of what one read returns.
func TestEachRecord(t *testing.T) {
	const n = 5000 // more than one buffer holds
	for name, stream := range map[string]io.Reader{
		"at once":      bytes.NewReader(entries(n)),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(entries(n))),
		"halves":       iotest.HalfReader(bytes.NewReader(entries(n))),
		"with its end": iotest.DataErrReader(bytes.NewReader(entries(n))),
	} {
		t.Run(name, func(t *testing.T) {
			var next uint64
			require.NoError(t, eachRecord(stream, func(e *entry) {
				require.Equal(t, entry{next, 2 * next}, *e)
				next++
			}))
			assert.EqualValues(t, n, next)
		})
	}
}

func TestEachRecordFails(t *testing.T) {
	count := func(stream io.Reader) (n int, err error) {
		err = eachRecord(stream, func(*entry) { n++ })
		return n, err
	}
	n, err := count(bytes.NewReader(entries(3)[:40]))
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Equal(t, 2, n)

	broken := errors.New("the kernel stopped")
	n, err = count(io.MultiReader(bytes.NewReader(entries(3)), iotest.ErrReader(broken)))
	assert.ErrorIs(t, err, broken)
	assert.Equal(t, 3, n)

	n, err = count(bytes.NewReader(nil))
	assert.NoError(t, err)
	assert.Zero(t, n)
}
