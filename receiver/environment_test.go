// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/kerneltest"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/pipeline"
)

// fakeEnvironment provides kernel sides for tests, and keeps them.
type fakeEnvironment struct {
	t       testing.TB
	prepare func(*kerneltest.Kernel)

	mu      sync.Mutex
	kernels []*kerneltest.Kernel
}

func (e *fakeEnvironment) environment() environment {
	return environment{
		newKernel: func(cfg probe.Config, _ *zap.Logger) (pipeline.Kernel, error) {
			k := kerneltest.New(e.t)
			k.Config = cfg
			if e.prepare != nil {
				e.prepare(k)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			e.kernels = append(e.kernels, k)
			return k, nil
		},
		root:      fstest.MapFS{},
		flushTime: defaultFlushTime,
	}
}

// last is the latest kernel.
func (e *fakeEnvironment) last() *kerneltest.Kernel {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kernels[len(e.kernels)-1]
}

func (e *fakeEnvironment) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.kernels)
}

// receiverUnderTest is a receiver without its factory, so that its ledger can be read.
type receiverUnderTest struct {
	*tcpReceiver
	env *fakeEnvironment
}

func newReceiverUnderTest(t *testing.T, cfg *Config, logs consumer.Logs, metrics consumer.Metrics) receiverUnderTest {
	env := &fakeEnvironment{t: t}
	r := newReceiver(cfg, nopSettings(), env.environment())
	r.logs, r.metrics = logs, metrics
	return receiverUnderTest{r, env}
}

func (r receiverUnderTest) start(t *testing.T) *kerneltest.Kernel {
	t.Helper()
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	return r.env.last()
}

func (r receiverUnderTest) assertBalanced(t *testing.T) {
	t.Helper()
	for e := range ledger.AccountedEvents() {
		balance := r.ledger.Balance(e)
		assert.Zero(t, balance.Difference(), "%s: %+v", e, balance)
		assert.Zero(t, balance.Queued, "%s", e)
	}
}
