// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package sources

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

const (
	// floodPromote is from how many segments in a window on a source gets an entry while a flood
	// goes on, or half of the table is taken.
	floodPromote = 8
	// floodShare of the table that enters within a window is a flood: an eighth.
	floodShare = 8
	// calm is how many windows without a flood end it.
	calm = 10
)

// gate decides who gets an entry.
type gate struct {
	control, sketch *ebpf.Map
	memory          *ebpf.Memory
	capacity        int

	promote, generation uint32
	last                shared.SourceEntries
	quiet               int
	// row is a copy of the first row, and crowded the share of its cells that were taken.
	row     []byte
	crowded float64
}

func (g *gate) open() error {
	memory, err := g.sketch.Memory()
	if err != nil {
		return fmt.Errorf("map the sketch of sources: %w", err)
	}
	g.memory = memory
	g.row = make([]byte, int(shared.SketchCells)*4)
	return g.set(1, 0)
}

func (g *gate) set(promote, generation uint32) error {
	if g.promote == promote && g.generation == generation {
		return nil
	}
	control := shared.SourceGate{Promote: promote, Crowded: floodPromote, Generation: generation}
	if err := g.control.Put(uint32(0), control); err != nil {
		return fmt.Errorf("tell the programs who is followed: %w", err)
	}
	g.promote, g.generation = promote, generation
	return nil
}

// turn ends a window: it clears the sketch, and decides about the next one.
func (g *gate) turn(tracked int, entries shared.SourceEntries) error {
	entered := entries.Entered - g.last.Entered
	g.last = entries
	if entered > uint64(g.capacity/floodShare) || tracked > g.capacity/2 || g.crowded > 0.5 {
		g.quiet = 0
		return g.set(floodPromote, g.generation)
	}
	if g.quiet++; g.quiet < calm && g.promote > 1 {
		return nil
	}
	return g.set(1, g.generation)
}

// sources estimates how many sources the sketch has seen in this window, from the cells of a row
// that are free, and clears it.
func (g *gate) sources() (float64, error) {
	if _, err := g.memory.ReadAt(g.row, 0); err != nil {
		return 0, fmt.Errorf("read the sketch of sources: %w", err)
	}
	free := 0
	for at := 0; at < len(g.row); at += 4 {
		if binary.NativeEndian.Uint32(g.row[at:]) == 0 {
			free++
		}
	}
	cells := int(shared.SketchCells)
	g.crowded = 1 - float64(free)/float64(cells)
	if free == cells {
		return 0, nil
	}
	clear(g.row)
	for row := range int64(shared.SketchRows) {
		if _, err := g.memory.WriteAt(g.row, row*int64(len(g.row))); err != nil {
			return 0, fmt.Errorf("clear the sketch of sources: %w", err)
		}
	}
	return linear(free, cells), nil
}

// linear is the estimate of linear counting: how many distinct things leave so many of the cells
// free. Without a free cell it is as if there were half of one.
func linear(free, cells int) float64 {
	return -float64(cells) * math.Log(max(float64(free), 0.5)/float64(cells))
}
