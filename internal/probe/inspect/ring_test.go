// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package inspect

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeRing is a ring of 64 bytes whose programs are the test. The kernel maps the records twice;
// here each is written twice.
type fakeRing struct {
	*ring
	written uint64
}

const fakeSize = 64

func newFakeRing() *fakeRing {
	return &fakeRing{ring: &ring{
		consumer: make([]byte, 8), producer: make([]byte, 8), records: make([]byte, 2*fakeSize), mask: fakeSize - 1,
	}}
}

func (f *fakeRing) put(header uint32, data string) {
	record := binary.NativeEndian.AppendUint32(nil, header|uint32(len(data)))
	record = append(append(record, 0, 0, 0, 0), data...)
	for len(record)%recordAlign != 0 {
		record = append(record, 0)
	}
	for i, b := range record {
		at := (f.written + uint64(i)) % fakeSize
		f.records[at], f.records[at+fakeSize] = b, b
	}
	f.written += uint64(len(record))
	binary.NativeEndian.PutUint64(f.producer, f.written)
}

func (f *fakeRing) consumed() uint64 { return binary.NativeEndian.Uint64(f.consumer) }

func TestRingReadsInPlace(t *testing.T) {
	f := newFakeRing()
	assert.Nil(t, f.read())
	for i := range 100 {
		text := "0123456789abcdef"[:1+i%16]
		f.put(0, text)
		f.put(recordVoid, "nobody")
		assert.Equal(t, text, string(f.read()), "also where the end of the memory is inside")
		assert.Nil(t, f.read())
		require.Less(t, f.consumed(), f.written)
		f.release(true)
		require.Equal(t, f.written, f.consumed())
		assert.Zero(t, f.waiting())
	}
}

func TestRingWaitsForRecordsBeingWritten(t *testing.T) {
	f := newFakeRing()
	f.put(recordBusy, "later")
	f.put(0, "next")
	assert.Nil(t, f.read())
	assert.Equal(t, int(f.written), f.waiting())
	binary.NativeEndian.PutUint32(f.records, uint32(len("later")))
	assert.Equal(t, "later", string(f.read()))
	f.release(false)
	assert.EqualValues(t, 16, f.consumed(), "an eighth of the memory")
	assert.Equal(t, "next", string(f.read()))
	assert.Nil(t, f.read())
}
