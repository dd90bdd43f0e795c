// SPDX-License-Identifier: Apache-2.0

// Package terminal draws the tables of a live model on a terminal.
package terminal

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/screen"
)

// refresh is how often the tables are drawn again.
const refresh = time.Second

// Run draws until the context ends or a user leaves. The state is asked for once per drawing.
func Run(ctx context.Context, views []screen.View, state func() *screen.State) error {
	return newUI(views).run(ctx, state)
}

func (u *ui) run(ctx context.Context, state func() *screen.State) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	u.state = state()
	u.draw()
	u.app.SetInputCapture(func(k *tcell.EventKey) *tcell.EventKey {
		if k.Key() != wake {
			return k
		}
		u.woken(ctx)
		return nil
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		u.refresh(ctx, state)
	}()
	err := u.app.Run()
	stop()
	<-done
	if err != nil {
		return fmt.Errorf("draw on the terminal: %w", err)
	}
	return nil
}

// wake is a key that no keyboard has. It tells the drawing that there is a new state, or that the
// context has ended. The library's queue of updates waits for ever once the drawing has ended, and
// its Stop does nothing before it began. Its queue of events has room for 100, and this one ends
// with the drawing.
const wake = tcell.KeyF64

// refresh offers a new state once per interval until the context ends.
func (u *ui) refresh(ctx context.Context, state func() *screen.State) {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-tick.C:
			u.next.Store(state())
		}
		ended := ctx.Err() != nil
		u.app.QueueEvent(tcell.NewEventKey(wake, 0, tcell.ModNone))
		if ended {
			return
		}
	}
}

// ui is what is on the terminal. Only the goroutine that draws changes it.
type ui struct {
	app    *tview.Application
	head   *tview.TextView
	table  *tview.Table
	foot   *tview.TextView
	search *tview.InputField
	bottom *tview.Pages

	views []screen.View
	state *screen.State
	// next is the newest state, from another goroutine.
	next atomic.Pointer[screen.State]
	// at is the view that is shown.
	at int
	// column is the one to sort by, or -1 for the view's own order.
	column     int
	descending bool
	filter     string
	paused     bool
}

func newUI(views []screen.View) *ui {
	u := &ui{
		app: tview.NewApplication(), head: tview.NewTextView(), foot: tview.NewTextView(),
		table:  tview.NewTable().SetFixed(1, 0).SetSelectable(true, false).SetEvaluateAllRows(true),
		search: tview.NewInputField().SetLabel("filter: "), bottom: tview.NewPages(),
		views: views, column: -1,
	}
	// The terminal's own colours, so that light and dark ones are readable.
	plain := tcell.ColorDefault
	u.head.SetBackgroundColor(plain)
	u.table.SetBackgroundColor(plain)
	u.table.SetSelectedStyle(tcell.StyleDefault.Reverse(true))
	u.foot.SetBackgroundColor(plain)
	u.search.SetFieldStyle(tcell.StyleDefault).SetLabelStyle(tcell.StyleDefault).SetBackgroundColor(plain)
	u.search.SetDoneFunc(u.searched)
	u.bottom.AddPage("help", u.foot, true, true).AddPage("filter", u.search, true, false)
	u.table.SetInputCapture(u.key)
	layout := tview.NewFlex().SetDirection(tview.FlexRow).
		AddItem(u.head, 2, 0, false).AddItem(u.table, 0, 1, true).AddItem(u.bottom, 1, 0, false)
	u.app.SetRoot(layout, true).SetFocus(u.table)
	return u
}

// woken draws the newest state, or ends.
func (u *ui) woken(ctx context.Context) {
	if ctx.Err() != nil {
		u.app.Stop()
		return
	}
	if s := u.next.Load(); s != nil && !u.paused {
		u.state = s
		u.draw()
	}
}

// key handles a key that the table does not use.
func (u *ui) key(k *tcell.EventKey) *tcell.EventKey {
	switch r := k.Rune(); {
	case k.Key() == tcell.KeyTab:
		u.show((u.at + 1) % len(u.views))
	case k.Key() == tcell.KeyBacktab:
		u.show((u.at + len(u.views) - 1) % len(u.views))
	case k.Key() == tcell.KeyEscape:
		u.filter = ""
	case k.Key() != tcell.KeyRune:
		return k
	case r == 'q':
		u.app.Stop()
	case r == 'p', r == ' ':
		u.paused = !u.paused
	case r == 's':
		u.sortBy(u.column + 1)
	case r == 'r':
		u.descending = !u.descending
	case r == '/':
		u.bottom.SwitchToPage("filter")
		u.app.SetFocus(u.search.SetText(u.filter))
	case !u.showKey(r):
		return k
	}
	u.draw()
	return nil
}

func (u *ui) showKey(r rune) bool {
	for i := range u.views {
		if u.views[i].Key == r {
			u.show(i)
			return true
		}
	}
	return false
}

func (u *ui) show(view int) {
	u.at, u.column, u.filter = view, -1, ""
	u.table.Select(1, 0).ScrollToBeginning()
}

// sortBy sorts by a column: the largest numbers, or the first texts, come first.
func (u *ui) sortBy(column int) {
	if column >= len(u.views[u.at].Columns) {
		column = -1
	}
	u.column = column
	u.descending = column >= 0 && u.views[u.at].Columns[column].Right
}

func (u *ui) searched(key tcell.Key) {
	if key == tcell.KeyEnter {
		u.filter = u.search.GetText()
	}
	u.bottom.SwitchToPage("help")
	u.app.SetFocus(u.table)
	u.draw()
}

func (u *ui) draw() {
	view := &u.views[u.at]
	rows := view.Rows(u.state)
	if u.column >= 0 {
		screen.Sort(rows, u.column, u.descending)
	}
	u.head.SetText(u.heading())
	u.foot.SetText("1-8 view  s sort  r reverse  / filter  p pause  q quit")
	row, _ := u.table.GetSelection()
	u.table.Clear()
	for i, column := range view.Columns {
		title := column.Title
		if i == u.column {
			title += map[bool]string{true: "v", false: "^"}[u.descending]
		}
		u.table.SetCell(0, i, cell(title, column.Right).SetSelectable(false).SetAttributes(tcell.AttrBold))
	}
	at := 1
	for _, cells := range rows {
		if u.filter != "" && !screen.Matches(cells, u.filter) {
			continue
		}
		for i := range cells {
			u.table.SetCell(at, i, cell(cells[i].Text, view.Columns[i].Right))
		}
		at++
	}
	// The library would look for a row to select for ever.
	u.table.SetSelectable(at > 1, false)
	u.table.Select(min(max(row, 1), max(at-1, 1)), 0)
}

// cell shows text as it is. Without Escape a name such as [red] would be a colour.
func cell(text string, right bool) *tview.TableCell {
	c := tview.NewTableCell(tview.Escape(text)).SetStyle(tcell.StyleDefault)
	if right {
		c.SetAlign(tview.AlignRight)
	}
	return c
}

// heading is two lines: the views, and what is true of the whole host.
func (u *ui) heading() string {
	var b strings.Builder
	for i := range u.views {
		name := u.views[i].Name
		if i == u.at {
			name = strings.ToUpper(name)
		}
		b.WriteString(string(u.views[i].Key) + " " + name + "  ")
	}
	var open int64
	var opened, failed, asked float64
	for i := range u.state.Services {
		s := &u.state.Services[i]
		open += s.Open
		opened += s.Opened
		failed += s.Failed
		asked += s.Requests
	}
	var lost int64
	for _, l := range u.state.Losses {
		lost += l.Count
	}
	missing := 0
	for _, h := range u.state.Hooks {
		if h.Missing != "" {
			missing++
		}
	}
	fmt.Fprintf(&b, "\n%s  open %d  new/s %.1f  failed/s %.1f  requests/s %.1f  findings %d  lost %d  hooks missing %d",
		u.state.Time.Local().Format("15:04:05"), open, opened, failed, asked, len(u.state.Findings), lost+u.state.LeftOut, missing)
	if u.paused {
		b.WriteString("  PAUSED")
	}
	if u.filter != "" {
		b.WriteString("  filter " + strconv.Quote(u.filter))
	}
	return b.String()
}
