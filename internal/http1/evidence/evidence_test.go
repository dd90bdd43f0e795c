// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// size is that of each request and of each answer.
const size = 100

// talk has requests and answers alternate.
type talk struct {
	Evidence
	asked, answered uint32
	now             int64
}

// ask sends a request, and reports whether it begins where a message can begin.
func (k *talk) ask() bool {
	k.now += 1000
	anchored := k.Request(k.asked, k.answered, k.now, false)
	k.asked += size
	return anchored
}

func (k *talk) answer() {
	k.now += 1000
	k.answered += size
	k.Sent(k.answered, k.asked, k.now, false)
}

// exchange sends both, and takes them for a pair.
func (k *talk) exchange() {
	k.ask()
	k.answer()
	k.Paired()
}

func (k *talk) allows() bool { return k.Allows(k.asked, k.asked) }

func TestOrder(t *testing.T) {
	seen, joined := Begin(), Join()
	assert.True(t, seen.Proven())
	assert.False(t, joined.Proven())
	seen.Lost()
	assert.False(t, seen.Proven())
}

func TestSilence(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*talk)
		want   bool
	}{
		"a second":                     {func(*talk) {}, true},
		"too short":                    {func(k *talk) { k.now -= silence / 2 }, false},
		"the client spoke last":        {func(k *talk) { k.asked += size }, false},
		"not all acknowledged":         {func(k *talk) { k.Sent(k.answered+1, k.asked, k.now-2*silence, false) }, false},
		"an interim answer came last":  {func(k *talk) { k.asked++; k.Sent(k.answered, k.asked, 1, true) }, false},
		"a body passed unseen":         {func(k *talk) { k.Passed(k.answered+1, 1) }, false},
		"a body passed a moment ago":   {func(k *talk) { k.Passed(k.answered, k.now) }, false},
		"the client pipelined earlier": {func(k *talk) { k.Pipelined() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			k := &talk{Evidence: Join(), answered: 0xffffff80, now: 1}
			k.ask()
			k.answer()
			k.now += silence
			c.before(k)
			k.ask()
			assert.Equal(t, c.want, k.Proven())
		})
	}
}

func TestSilenceWhileARequestWaits(t *testing.T) {
	k := &talk{Evidence: Join()}
	k.ask()
	k.answer()
	k.Request(k.asked, k.answered, k.now+2*silence, true)
	assert.False(t, k.Proven())
}

func TestHabit(t *testing.T) {
	for name, c := range map[string]struct {
		exchanges int
		hole      func(*talk)
		want      bool
	}{
		"answers missed":         {habit, func(k *talk) { k.Lost() }, true},
		"a request missed":       {habit, func(k *talk) { k.LostRequests(k.asked); k.asked += size; k.answer() }, false},
		"no byte missed":         {habit, func(k *talk) { k.LostRequests(k.asked); k.answer() }, true},
		"it begins anywhere":     {habit, func(k *talk) { k.LostRequests(k.asked); k.asked += size }, false},
		"not often enough":       {habit - 1, func(k *talk) { k.Lost() }, false},
		"the client pipelines":   {habit, func(k *talk) { k.Lost(); k.Pipelined() }, false},
		"not known how many":     {1, func(k *talk) { k.Lost() }, false},
		"only the place unknown": {1, func(k *talk) { k.Doubt() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := &talk{Evidence: Begin(), asked: 0xfffffff0}
			for range c.exchanges {
				k.exchange()
			}
			c.hole(k)
			k.ask()
			require.False(t, k.Proven())
			assert.Equal(t, c.want, k.allows())
			assert.False(t, k.Allows(k.asked-1, k.asked), "the answer came before the end of the request")
		})
	}
}

// TestHabitEndsWithAPipeline: two requests under way show it, if they are two.
func TestHabitEndsWithAPipeline(t *testing.T) {
	k := &talk{Evidence: Begin()}
	for range habit {
		k.exchange()
	}
	k.Lost()
	k.Request(k.asked, k.answered, k.now, true)
	assert.False(t, k.allows())
	k.now += 2 * silence
	k.ask()
	assert.False(t, k.Proven())
}

// TestPlaceOfARequest: what begins in a hole can be the middle of a body.
func TestPlaceOfARequest(t *testing.T) {
	k := &talk{Evidence: Begin()}
	k.exchange()
	assert.True(t, k.ask())
	k.LostRequests(k.asked)
	k.asked += size
	assert.False(t, k.ask())
	k.Request(k.asked, k.answered, k.now, true)
	k.answer()
	k.now += silence
	assert.True(t, k.ask())
	assert.True(t, k.Proven(), "what looked like two requests was none")
}
