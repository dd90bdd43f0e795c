// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"
)

// clock is that of the programs: jiffies, which cost them next to nothing. It stands still
// while the host is suspended.
type clock struct {
	program   *ebpf.Program
	perSecond uint64
}

const clockProgram = guardProgClockRead

// question is where the data of a test run begins: CHANGE_HEADER of bpf/guard/change.h.
const question = 16

// measured is how long the rate of the clock is measured.
const measured = 100 * time.Millisecond

// rates are those that kernels are built with.
var rates = []uint64{100, 250, 300, 1000}

// newClock measures the rate with a program, because the kernel's configuration need not be
// readable.
func newClock(spec *ebpf.CollectionSpec) (clock, error) {
	program, err := ebpf.NewProgram(spec.Programs[clockProgram])
	if err != nil {
		return clock{}, fmt.Errorf("load the program that reads the clock: %w", err)
	}
	c := clock{program: program}
	if c.perSecond, err = c.measure(); err != nil {
		return clock{}, errors.Join(fmt.Errorf("measure the kernel's clock: %w", err), program.Close())
	}
	return c, nil
}

// read returns the time in jiffies and on the boot clock, in ns.
func (c *clock) read() (jiffies, boot uint64, err error) {
	data := make([]byte, question+binary.Size(guardClock{}))
	answer := make([]byte, len(data))
	if _, err := c.program.Run(&ebpf.RunOptions{Data: data, DataOut: answer}); err != nil {
		return 0, 0, fmt.Errorf("run the program that reads the clock: %w", err)
	}
	return binary.NativeEndian.Uint64(answer[question:]), binary.NativeEndian.Uint64(answer[question+8:]), nil
}

// beginning waits for a moment at which the clock moves on.
func (c *clock) beginning() (jiffies, boot uint64, err error) {
	first, _, err := c.read()
	for jiffies = first; err == nil && jiffies == first; time.Sleep(time.Millisecond / 4) {
		jiffies, boot, err = c.read()
	}
	return jiffies, boot, err
}

// measure returns the rate of a kernel that fits best.
func (c *clock) measure() (uint64, error) {
	from, begin, err := c.beginning()
	if err != nil {
		return 0, err
	}
	time.Sleep(measured)
	to, end, err := c.beginning()
	if err != nil {
		return 0, err
	}
	rate := float64(to-from) / time.Duration(end-begin).Seconds()
	return nearest(rate), nil
}

// nearest is the closest of the known rates, by their ratio.
func nearest(rate float64) uint64 {
	best, distance := rates[0], math.Inf(1)
	for _, known := range rates {
		if d := math.Abs(math.Log(rate / float64(known))); d < distance {
			best, distance = known, d
		}
	}
	return best
}

func (c *clock) now() (uint64, error) {
	jiffies, _, err := c.read()
	return jiffies, err
}

// after is a time from now, not before its end.
func (c *clock) after(wait time.Duration) (uint64, error) {
	now, err := c.now()
	return now + c.jiffies(wait), err
}

// jiffies are those of a duration, rounded up.
func (c *clock) jiffies(d time.Duration) uint64 {
	if d <= 0 {
		return 0
	}
	seconds, rest := uint64(d/time.Second), uint64(d%time.Second)
	return seconds*c.perSecond + (rest*c.perSecond+uint64(time.Second)-1)/uint64(time.Second)
}

// duration is that of jiffies.
func (c *clock) duration(jiffies uint64) time.Duration {
	return time.Duration(jiffies/c.perSecond)*time.Second + time.Duration(jiffies%c.perSecond)*time.Second/time.Duration(c.perSecond)
}

func (c *clock) close() error { return c.program.Close() }
