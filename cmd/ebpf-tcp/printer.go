// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"sync/atomic"
	"time"
)

// waiting is how many lines wait for the output.
const waiting = 8192

// printer writes lines in a goroutine of its own, so that a slow terminal holds up nobody.
type printer struct {
	lines chan string
	done  chan struct{}
	// left counts lines that found no room.
	left atomic.Int64
}

// newPrinter starts a printer. It calls stop when nobody reads the output any more.
func newPrinter(out io.Writer, stop func()) *printer {
	p := &printer{lines: make(chan string, waiting), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.write(out, stop)
	}()
	return p
}

func (p *printer) write(out io.Writer, stop func()) {
	w := bufio.NewWriter(out)
	failed := false
	for line := range p.lines {
		_, _ = w.WriteString(line)
		_ = w.WriteByte('\n')
		// Flush when nothing else waits. The writer keeps its first error.
		if !failed && len(p.lines) == 0 && w.Flush() != nil {
			failed = true
			stop()
		}
	}
	_ = w.Flush()
}

// print never waits: a line that finds no room is counted.
func (p *printer) print(line string) {
	select {
	case p.lines <- line:
	default:
		p.left.Add(1)
	}
}

// patience is how long the last lines may take.
const patience = 2 * time.Second

// close waits until all lines are written, but not for a reader that does not read, and returns how
// many were left out. Nobody may print any more.
func (p *printer) close() int64 {
	close(p.lines)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.left.Add(int64(len(p.lines)))
	}
	return p.left.Load()
}
