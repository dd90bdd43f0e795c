// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const second = int64(time.Second)

// newBook tells into a list.
func newBook(perMinute, open int) (*Book, *[]Finding) {
	var told []Finding
	return NewBook(Settings{
		Rules: 2, Open: open, PerMinute: perMinute, EndAfter: 10 * time.Minute,
		Tell: func(f *Finding) { told = append(told, *f) }, Ended: func(Subject) {},
	}), &told
}

func note(b *Book, about Subject, count uint64, at int64) {
	if b.Due(about, count, at) {
		b.Report(about, &Finding{At: at, First: at, Last: at, Count: count})
	}
}

func TestBeginsGrowsAndEnds(t *testing.T) {
	b, told := newBook(100, 10)
	for count := uint64(9); count <= 2000; count++ {
		note(b, Subject{}, count, int64(count)*second/10)
	}
	b.Tick(200 * second)
	b.Tick(201*second + int64(10*time.Minute))
	b.Tick(202*second + int64(10*time.Minute))
	require.Len(t, *told, 4)
	for i, want := range []struct {
		state State
		count uint64
	}{{Begin, 9}, {Growth, 90}, {Growth, 900}, {End, 2000}} {
		got := (*told)[i]
		assert.Equal(t, want.state, got.State)
		assert.Equal(t, want.count, got.Count)
		assert.Equal(t, (*told)[0].ID, got.ID)
		assert.Equal(t, 9*second/10, got.First)
	}
	assert.Equal(t, []uint64{1, 0}, b.Begun)
	assert.Zero(t, b.Len())
}

func TestAFloodIsSummedUp(t *testing.T) {
	b, told := newBook(100, 1000)
	for i := range uint64(65_000) {
		note(b, Subject{Lo: i}, 9, second)
	}
	assert.Len(t, *told, 100)
	assert.Equal(t, 1000, b.Len())
	b.Tick(second + int64(time.Minute))
	require.Len(t, *told, 101)
	assert.Equal(t, Summary, (*told)[100].State)
	assert.Equal(t, uint64(64_900), (*told)[100].Suppressed)
	assert.Equal(t, uint64(65_000), b.Begun[0])
	assert.Equal(t, uint64(64_900), b.Suppressed[0])
	// A finding that was not told has no end.
	b.Tick(second + int64(time.Hour))
	assert.Len(t, *told, 201)
}

func TestAFindingThatWasSuppressedIsToldWhenItGrows(t *testing.T) {
	b, told := newBook(1, 10)
	note(b, Subject{Lo: 1}, 9, second)
	note(b, Subject{Lo: 2}, 9, second)
	note(b, Subject{Lo: 2}, 90, second+int64(time.Minute))
	require.Len(t, *told, 3)
	assert.Equal(t, Summary, (*told)[1].State)
	assert.Equal(t, Begin, (*told)[2].State)
	assert.Equal(t, uint64(90), (*told)[2].Count)
}

func TestARestartDoesNotTellTwice(t *testing.T) {
	b, told := newBook(100, 10)
	note(b, Subject{Lo: 1}, 9, second)
	saved := b.Save()

	again, toldAgain := newBook(100, 10)
	again.Restore(append(saved, Saved{About: Subject{Rule: 7}}))
	note(again, Subject{Lo: 1}, 10, 2*second)
	assert.Empty(t, *toldAgain)
	note(again, Subject{Lo: 1}, 90, 3*second)
	require.Len(t, *toldAgain, 1)
	assert.Equal(t, Growth, (*toldAgain)[0].State)
	assert.Equal(t, (*told)[0].ID, (*toldAgain)[0].ID)
	assert.Equal(t, second, (*toldAgain)[0].First)
}
