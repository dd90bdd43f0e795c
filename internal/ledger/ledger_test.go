// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBalanceAddsBothSides(t *testing.T) {
	var l Ledger
	kernel := Kernel{Opened: 90, Adopted: 10, Active: 5}
	kernel.Lost[Connection][MapFull] = 3
	kernel.Produced[Open] = 7
	l.SetKernel(kernel)
	l.Queue(Connection, 92)
	l.Queue(Connection, -90)
	l.Deliver(Connection, 80)
	l.Lose(Connection, Refused, 9)
	l.Lose(Connection, Shutdown, 1)

	b := l.Balance(Connection)
	assert.Equal(t, Balance{Produced: 100, Delivered: 80, Active: 5, Queued: 2, Lost: 13}, b)
	assert.Zero(t, b.Difference())
	assert.EqualValues(t, 3, l.Lost(Connection, MapFull))
	assert.EqualValues(t, 7, l.Balance(Open).Difference(), "produced, and nobody knows where they are")
}

func TestBalanceBeforeTheFirstSnapshot(t *testing.T) {
	var l Ledger
	assert.Equal(t, Balance{}, l.Balance(Connection))
	_, read := l.Kernel()
	assert.False(t, read)
	l.SetKernel(Kernel{Active: 3})
	kernel, read := l.Kernel()
	assert.True(t, read)
	assert.EqualValues(t, 3, kernel.Active)
}

// TestBalanceOfRequests: user space produces requests, and leaves out those that nothing
// selects.
func TestBalanceOfRequests(t *testing.T) {
	var l Ledger
	l.SetKernel(Kernel{})
	l.Produce(Request, 10)
	l.LeaveOut(Request, 7)
	l.Deliver(Request, 2)
	assert.Equal(t, Balance{Produced: 10, Delivered: 2, LeftOut: 7}, l.Balance(Request))
	assert.EqualValues(t, 1, l.Balance(Request).Difference())
}
