// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap/zaptest"
)

// TestStopIsBounded: a consumer that only gives up when its context ends does not hold up a
// stop, and what it had counts as lost.
func TestStopIsBounded(t *testing.T) {
	entered := make(chan struct{}, 1)
	next, err := consumer.NewLogs(func(ctx context.Context, _ plog.Logs) error {
		entered <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	require.NoError(t, err)
	q := NewQueue(next, func([]int) plog.Logs { return plog.NewLogs() }, zaptest.NewLogger(t))
	q.Start()
	q.Add(1)
	<-entered
	q.Add(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q.Stop(ctx)
	assert.EqualValues(t, 2, q.Lost[Shutdown].Load())
	assert.Zero(t, q.Told.Load())
	q.Add(1)
	assert.EqualValues(t, 3, q.Lost[Shutdown].Load(), "after the end")
}
