// SPDX-License-Identifier: Apache-2.0

package connection

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const overflowNetNS = 7

// overflowRig takes passes with the drops of listeners 1, 2, ...
type overflowRig struct {
	*Overflows
	t *testing.T
}

func newOverflowRig(t *testing.T, listeners int) *overflowRig {
	t.Helper()
	r := &overflowRig{NewOverflows(), t}
	for socket := range listeners {
		assert.Equal(t, socket == 0, r.Opened(overflowNetNS, uint64(socket+1), true))
	}
	r.Begin(overflowNetNS, 100)
	return r
}

func (r *overflowRig) pass(count uint64, drops ...uint32) (Overflow, bool) {
	for i, n := range drops {
		r.Look(uint64(i+1), n)
	}
	rest, ok := r.Share(overflowNetNS, count)
	r.EndPass()
	return rest, ok
}

func TestOverflows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// passes are the namespace's counter and then the listeners' drops.
		passes [][]uint32
		rest   uint64
		want   []uint64
	}{
		{"drops that are no overflows", [][]uint32{{100, 0}, {100, 40}, {100, 75}}, 0, []uint64{0}},
		{"the only listener", [][]uint32{{103, 3}, {105, 9}}, 0, []uint64{5}},
		{"one that drops", [][]uint32{{100, 0, 0}, {104, 0, 4}, {104, 0, 4}}, 0, []uint64{0, 4}},
		{"two that drop", [][]uint32{{100, 0, 0}, {104, 3, 4}}, 4, []uint64{0, 0}},
		{"read too early, by one pass", [][]uint32{{100, 4, 0}, {104, 4, 1}}, 4, []uint64{0, 0}},
		{"another, two passes later", [][]uint32{{104, 4, 0}, {104, 4, 0}, {104, 4, 0}, {106, 4, 2}}, 0, []uint64{4, 2}},
		{"nobody was seen to drop", [][]uint32{{100, 0, 0}, {104, 0, 0}}, 4, []uint64{0, 0}},
		{"the only listener, and nobody was seen to drop", [][]uint32{{100, 0}, {104, 0}}, 0, []uint64{4}},
		{"not all were looked at", [][]uint32{{100, 0, 0}, {104, 4}}, 4, []uint64{0, 0}},
		{"a counter that goes back", [][]uint32{{110, 10}, {5, 10}, {6, 11}}, 0, []uint64{11}},
		{"drops that wrap", [][]uint32{{100, 1<<32 - 2, 0}, {100, 1<<32 - 2, 0}, {100, 1<<32 - 2, 0}, {104, 2, 0}}, 0, []uint64{4, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newOverflowRig(t, len(test.passes[0])-1)
			var rest uint64
			for _, pass := range test.passes {
				o, ok := r.pass(uint64(pass[0]), pass[1:]...)
				require.True(t, ok)
				assert.EqualValues(t, overflowNetNS, o.NetNS)
				rest += o.N
			}
			assert.Equal(t, test.rest, rest, "of nobody")
			for i, n := range test.want {
				got, ok := r.Of(uint64(i + 1))
				require.True(t, ok)
				assert.Equalf(t, n, got, "of listener %d", i+1)
			}
		})
	}
}

// One that ended may have been the one, and so may one that is not known.
func TestOverflowsInDoubt(t *testing.T) {
	t.Parallel()
	r := newOverflowRig(t, 2)
	r.pass(103, 3, 0)
	assert.EqualValues(t, 3, r.Ended(1))
	assert.Zero(t, r.Ended(1))
	rest, ok := r.pass(105, 0, 2)
	assert.True(t, ok)
	assert.EqualValues(t, 2, rest.N)
	r.pass(105, 0, 2)
	rest, _ = r.pass(106, 0, 3)
	assert.Zero(t, rest.N)
	of, ok := r.Of(2)
	assert.True(t, ok)
	assert.EqualValues(t, 1, of)

	r.Doubt()
	rest, _ = r.pass(107, 0, 4)
	assert.EqualValues(t, 1, rest.N)

	r.Ended(2)
	_, ok = r.Of(2)
	assert.False(t, ok)
	r.pass(108)
	r.pass(108)
	assert.Empty(t, r.Namespaces())
	_, ok = r.Share(overflowNetNS, 200)
	assert.False(t, ok)
}

// One for which there is no room may be the one as long as the namespace is here.
func TestOverflowsOfHiddenListeners(t *testing.T) {
	t.Parallel()
	r := newOverflowRig(t, 1)
	r.Hide(overflowNetNS)
	r.Hide(overflowNetNS + 1)
	for i := range uint64(2 * doubtful) {
		rest, ok := r.pass(101+i, uint32(i+1))
		assert.True(t, ok)
		assert.EqualValues(t, 1, rest.N)
	}
	of, ok := r.Of(1)
	assert.True(t, ok)
	assert.Zero(t, of)
	assert.Equal(t, []uint32{overflowNetNS}, r.Namespaces())
}

// An increase that an unselected port can have caused does not count.
func TestOverflowsOfSelectedPorts(t *testing.T) {
	t.Parallel()
	r := newOverflowRig(t, 2)
	r.Selected = true
	r.Opened(overflowNetNS, 2, false)
	_, ok := r.pass(102, 1, 1)
	assert.False(t, ok)
	r.pass(102, 1, 1)
	rest, ok := r.pass(104, 3, 1)
	assert.True(t, ok)
	assert.Zero(t, rest.N)
	of, _ := r.Of(1)
	assert.EqualValues(t, 2, of)
	r.pass(104, 3, 1)
	r.pass(104, 3, 1)
	_, ok = r.pass(105, 3, 1)
	assert.False(t, ok, "nobody was seen to drop: any of them may be the one")
	r.Ended(2)
	_, ok = r.pass(106, 4)
	assert.False(t, ok)
}

func TestOverflowsBeforeTheNamespaceWasRead(t *testing.T) {
	t.Parallel()
	o := NewOverflows()
	o.Opened(overflowNetNS, 1, true)
	_, ok := o.Of(1)
	assert.False(t, ok, "absent, not 0")
	rest, ok := o.Share(overflowNetNS, 1000)
	assert.True(t, ok)
	assert.Zero(t, rest.N, "what was before does not count")
	n, ok := o.Of(1)
	assert.True(t, ok)
	assert.Zero(t, n)
	// The kernel reused the address of a socket whose end was missed.
	assert.True(t, o.Opened(8, 1, true))
	assert.ElementsMatch(t, []uint32{overflowNetNS, 8}, o.Namespaces())
}

// A listener that exists only between two passes is never read.
func TestOverflowsOfAKeptNamespace(t *testing.T) {
	t.Parallel()
	o := NewOverflows()
	o.Keep(overflowNetNS, 100)
	assert.False(t, o.Opened(overflowNetNS, 1, true), "it is not new")
	assert.Zero(t, o.Ended(1))
	rest, ok := o.Share(overflowNetNS, 103)
	assert.True(t, ok)
	assert.EqualValues(t, 3, rest.N)
	for range 3 {
		o.EndPass()
	}
	assert.Equal(t, []uint32{overflowNetNS}, o.Namespaces())
}
