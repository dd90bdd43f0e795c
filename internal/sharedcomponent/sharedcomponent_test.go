// SPDX-License-Identifier: Apache-2.0

package sharedcomponent

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
)

type inner struct {
	host           component.Host
	starts, stops  int
	startErr, stop error
}

func (i *inner) Start(_ context.Context, host component.Host) error {
	i.host = host
	i.starts++
	return i.startErr
}

func (i *inner) Shutdown(context.Context) error {
	i.stops++
	return i.stop
}

type reportingHost struct {
	component.Host
	events []*componentstatus.Event
}

func (h *reportingHost) Report(e *componentstatus.Event) { h.events = append(h.events, e) }

func TestOnePerKeyUntilShutdown(t *testing.T) {
	m := NewMap[string, *inner]()
	create := func() (*inner, error) { return &inner{}, nil }
	a, err := m.LoadOrCreate("a", create)
	require.NoError(t, err)
	again, err := m.LoadOrCreate("a", create)
	require.NoError(t, err)
	b, err := m.LoadOrCreate("b", create)
	require.NoError(t, err)
	assert.Same(t, a, again)
	assert.NotSame(t, a, b)

	require.NoError(t, a.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, a.Shutdown(t.Context()))
	require.NoError(t, a.Shutdown(t.Context()))
	assert.Equal(t, 1, a.Unwrap().stops)

	renewed, err := m.LoadOrCreate("a", create)
	require.NoError(t, err)
	assert.NotSame(t, a, renewed)
	require.NoError(t, a.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, a.Shutdown(t.Context()))
	same, err := m.LoadOrCreate("a", create)
	require.NoError(t, err)
	assert.Same(t, renewed, same, "an old instance does not take the new one away")
	same, err = m.LoadOrCreate("b", create)
	require.NoError(t, err)
	assert.Same(t, b, same)
}

func TestStartStopStart(t *testing.T) {
	m := NewMap[string, *inner]()
	create := func() (*inner, error) { return &inner{stop: errors.New("stop")}, nil }
	c, err := m.LoadOrCreate("a", create)
	require.NoError(t, err)
	host := &reportingHost{Host: componenttest.NewNopHost()}
	require.NoError(t, c.Shutdown(t.Context()), "nothing was started")
	assert.Zero(t, c.Unwrap().stops)
	for run := 1; run <= 3; run++ {
		require.NoError(t, c.Start(t.Context(), host))
		require.NoError(t, c.Start(t.Context(), host))
		assert.Equal(t, run, c.Unwrap().starts)
		same, err := m.LoadOrCreate("a", create)
		require.NoError(t, err)
		assert.Same(t, c, same)
		require.EqualError(t, c.Shutdown(t.Context()), "stop")
		require.EqualError(t, c.Shutdown(t.Context()), "stop")
		assert.Equal(t, run, c.Unwrap().stops)
	}
	componentstatus.ReportStatus(c.Unwrap().host, componentstatus.NewEvent(componentstatus.StatusOK))
	assert.Empty(t, host.events, "a host hears nothing after Shutdown")
}

func TestStartAgainAfterFailure(t *testing.T) {
	m := NewMap[string, *inner]()
	c, err := m.LoadOrCreate("a", func() (*inner, error) { return &inner{startErr: errors.New("no")}, nil })
	require.NoError(t, err)
	require.EqualError(t, c.Start(t.Context(), componenttest.NewNopHost()), "no")
	require.NoError(t, c.Shutdown(t.Context()))
	c.Unwrap().startErr = nil
	require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	require.NoError(t, c.Shutdown(t.Context()))
}

func TestCreateFails(t *testing.T) {
	m := NewMap[string, *inner]()
	_, err := m.LoadOrCreate("a", func() (*inner, error) { return nil, errors.New("no") })
	require.EqualError(t, err, "no")
	_, err = m.LoadOrCreate("a", func() (*inner, error) { return &inner{}, nil })
	require.NoError(t, err, "the failure is not remembered")
}

func TestStartOnceErrorForAll(t *testing.T) {
	m := NewMap[string, *inner]()
	c, err := m.LoadOrCreate("a", func() (*inner, error) { return &inner{startErr: errors.New("no")}, nil })
	require.NoError(t, err)
	require.EqualError(t, c.Start(t.Context(), componenttest.NewNopHost()), "no")
	require.EqualError(t, c.Start(t.Context(), componenttest.NewNopHost()), "no")
	assert.Equal(t, 1, c.Unwrap().starts)
}

func TestStatusReachesEveryHost(t *testing.T) {
	m := NewMap[string, *inner]()
	c, err := m.LoadOrCreate("a", func() (*inner, error) { return &inner{}, nil })
	require.NoError(t, err)
	logs := &reportingHost{Host: componenttest.NewNopHost()}
	metrics := &reportingHost{Host: componenttest.NewNopHost()}

	require.NoError(t, c.Start(t.Context(), logs))
	componentstatus.ReportStatus(c.Unwrap().host, componentstatus.NewEvent(componentstatus.StatusOK))
	require.NoError(t, c.Start(t.Context(), metrics))
	require.Len(t, logs.events, 1)
	require.Len(t, metrics.events, 1, "the later host hears of it too")

	componentstatus.ReportStatus(c.Unwrap().host, componentstatus.NewRecoverableErrorEvent(errors.New("x")))
	require.Len(t, logs.events, 2)
	require.Len(t, metrics.events, 2)
	assert.Equal(t, componentstatus.StatusRecoverableError, metrics.events[1].Status())
}
