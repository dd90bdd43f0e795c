// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPrinter(t *testing.T) {
	var out bytes.Buffer
	p := newPrinter(&out, func() {})
	for i := range 100 {
		p.print(fmt.Sprint(i))
	}
	assert.Zero(t, p.close())
	assert.Equal(t, 100, strings.Count(out.String(), "\n"))
}

// TestPrinterWithoutReader: nobody waits for it, not even at the end, and lines are counted.
func TestPrinterWithoutReader(t *testing.T) {
	reader, out := io.Pipe()
	p := newPrinter(out, func() {})
	for range waiting + 1000 {
		p.print("a line")
	}
	assert.Greater(t, p.close(), int64(1000))
	reader.Close()
	<-p.done
}

// broken fails as a closed output does.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestPrinterStopsWithItsOutput(t *testing.T) {
	stopped := make(chan struct{})
	p := newPrinter(broken{}, func() { close(stopped) })
	p.print("a line")
	<-stopped
	p.print("another")
	p.close()
}
