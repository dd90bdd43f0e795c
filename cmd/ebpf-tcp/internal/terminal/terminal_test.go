// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/model"
	"github.com/ebpftcp/ebpftcpreceiver/internal/view/screen"
)

// on runs the tables on a terminal of so many columns and lines.
type on struct {
	t      *testing.T
	screen tcell.SimulationScreen
	done   chan error
	asked  atomic.Int64
	// drawn is the text of the last drawing.
	drawn atomic.Pointer[string]
}

func start(t *testing.T, columns, lines int, s *screen.State) *on {
	t.Helper()
	simulated := tcell.NewSimulationScreen("UTF-8")
	o := &on{t: t, screen: simulated, done: make(chan error, 1)}
	u := newUI(screen.Views())
	u.app.SetScreen(simulated) // which sets it to 80 columns
	simulated.SetSize(columns, lines)
	u.app.SetAfterDrawFunc(func(s tcell.Screen) {
		text := textOf(s)
		o.drawn.Store(&text)
	})
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go func() {
		o.done <- u.run(ctx, func() *screen.State { o.asked.Add(1); return s })
	}()
	return o
}

// textOf is called by the goroutine that draws.
func textOf(s tcell.Screen) string {
	var b strings.Builder
	width, height := s.Size()
	for y := range height {
		for x := range width {
			text, _, _ := s.Get(x, y)
			b.WriteString(text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (o *on) text() string {
	if text := o.drawn.Load(); text != nil {
		return *text
	}
	return ""
}

func (o *on) shows(text string) {
	o.t.Helper()
	require.Eventually(o.t, func() bool { return strings.Contains(o.text(), text) }, 10*time.Second, 10*time.Millisecond, text)
}

func (o *on) press(keys string) {
	for _, r := range keys {
		key := tcell.KeyRune
		if r == '\n' {
			key = tcell.KeyEnter
		}
		o.screen.InjectKey(key, r, 0)
	}
}

func busy() *screen.State {
	return &screen.State{Snapshot: model.Snapshot{
		Time: time.Now(),
		Services: []model.Service{
			{ServiceKey: model.ServiceKey{Port: 80, Process: "nginx"}, Open: 7, Opened: 2, Answer: 0.5},
			{ServiceKey: model.ServiceKey{Port: 22, Process: "sshd"}, Open: 1, Opened: 1, Answer: 0.1},
		},
		Failures: []model.Failure{{Port: 81, Reason: "[red]<img onerror=x>", Count: 7}},
		Findings: []event.Event{{Kind: event.Threat, Rule: "port_scan", Text: "scans"}},
	}, Hooks: []screen.Hook{{Name: "raw_tp/x", Missing: "refused"}}}
}

func TestViews(t *testing.T) {
	o := start(t, 120, 20, busy())
	o.shows("nginx")
	o.shows("open 8  new/s 3.0")
	o.shows("findings 1  lost 0  hooks missing 1")
	o.press("3")
	o.shows("[red]<img onerror=x>")
	o.press("6")
	o.shows("port_scan")
	o.press("8")
	o.shows("raw_tp/x")
	o.press("1s")
	o.shows("PORT^")
	before := strings.Index(o.text(), "sshd")
	assert.Less(t, before, strings.Index(o.text(), "nginx"), "22 comes first")
	o.press("r")
	o.shows("PORTv")
	o.press("/SSH\n")
	o.shows(`filter "SSH"`)
	assert.NotContains(t, o.text(), "nginx")
	o.press("p")
	o.shows("PAUSED")
	o.press("q")
	require.NoError(t, <-o.done)
}

// TestSmallAndResized has a terminal of 40 columns, and less than the heading needs.
func TestSmallAndResized(t *testing.T) {
	o := start(t, 40, 10, busy())
	o.shows("nginx")
	for _, size := range [][2]int{{10, 2}, {1, 1}, {200, 50}} {
		o.screen.SetSize(size[0], size[1])
		require.NoError(t, o.screen.PostEvent(tcell.NewEventResize(size[0], size[1])))
		asked := o.asked.Load()
		require.Eventually(t, func() bool { return o.asked.Load() > asked }, 10*time.Second, 10*time.Millisecond)
	}
	o.shows("nginx")
	o.press("q")
	require.NoError(t, <-o.done)
}

func TestEndsWithTheContext(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	stop()
	u := newUI(screen.Views())
	u.app.SetScreen(tcell.NewSimulationScreen("UTF-8"))
	go func() { done <- u.run(ctx, busy) }()
	require.NoError(t, <-done)
}

func TestNothingToShow(t *testing.T) {
	o := start(t, 80, 24, &screen.State{})
	for _, view := range screen.Views() {
		o.press(string(view.Key) + "srsjk")
		o.shows(strings.ToUpper(view.Name))
	}
	o.press("q")
	require.NoError(t, <-o.done)
}
