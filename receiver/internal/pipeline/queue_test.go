// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQueueOrderAndRoom(t *testing.T) {
	q := newQueue[string](10)
	require.True(t, q.Push("a", 6))
	assert.False(t, q.Push("b", 5), "over capacity")
	require.True(t, q.Push("c", 4))
	assert.Equal(t, 10, q.Bytes())

	value, done, ok := q.Pop()
	require.True(t, ok)
	assert.Equal(t, "a", value)
	assert.False(t, q.Push("d", 6), "what is being worked on keeps its room")
	done()
	assert.True(t, q.Push("e", 6))
	assert.Equal(t, 10, q.Capacity())

	q.Close()
	q.Close()
	assert.False(t, q.Push("f", 0), "closed")
	for _, want := range []string{"c", "e"} {
		value, done, ok = q.Pop()
		require.True(t, ok)
		assert.Equal(t, want, value)
		done()
	}
	_, _, ok = q.Pop()
	assert.False(t, ok)
	assert.Zero(t, q.Bytes())
}

func TestQueuePopWaits(t *testing.T) {
	q := newQueue[int](10)
	got := make(chan int)
	go func() {
		defer close(got)
		for {
			value, done, ok := q.Pop()
			if !ok {
				return
			}
			done()
			got <- value
		}
	}()
	q.Push(1, 1)
	assert.Equal(t, 1, <-got)
	q.Push(2, 1)
	assert.Equal(t, 2, <-got)
	q.Close()
	_, open := <-got
	assert.False(t, open)
}

func TestQueueAbandon(t *testing.T) {
	q := newQueue[int](10)
	q.Push(1, 1)
	q.Push(2, 2)
	q.Push(3, 3)
	_, done, _ := q.Pop()
	assert.Equal(t, []int{2, 3}, q.Abandon())
	assert.Equal(t, 1, q.Bytes(), "the one being worked on")
	done()
	assert.Zero(t, q.Bytes())
	assert.False(t, q.Push(4, 1))
	_, _, ok := q.Pop()
	assert.False(t, ok)
}

func TestSlotKeepsTheLatest(t *testing.T) {
	s := newSlot[int]()
	assert.False(t, s.Put(1))
	assert.True(t, s.Put(2))
	value, ok := s.Take()
	assert.True(t, ok)
	assert.Equal(t, 2, value)

	assert.False(t, s.Put(3))
	s.Close()
	value, ok = s.Take()
	assert.True(t, ok)
	assert.Equal(t, 3, value)
	_, ok = s.Take()
	assert.False(t, ok)
}

func TestSlotTakeWaits(t *testing.T) {
	s := newSlot[int]()
	got := make(chan int)
	go func() {
		defer close(got)
		for value, ok := s.Take(); ok; value, ok = s.Take() {
			got <- value
		}
	}()
	s.Put(7)
	assert.Equal(t, 7, <-got)
	s.Close()
	_, open := <-got
	assert.False(t, open)
}
