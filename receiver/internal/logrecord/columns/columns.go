// SPDX-License-Identifier: Apache-2.0

// Package columns numbers the attributes of an event, and keeps maps of keys that records are
// copied from.
package columns

import (
	"math/bits"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// Most is how many attributes an event can have, one for each bit of a Presence. The generator
// of the declaration refuses more.
const Most = 2 * 64

// Presence has a bit for each column.
type Presence [Most / 64]uint64

// Add marks a column as present, Remove as absent.
func (p *Presence) Add(column uint8) { p[column/64] |= 1 << (column % 64) }

// Remove takes the mark of a column back.
func (p *Presence) Remove(column uint8) { p[column/64] &^= 1 << (column % 64) }

// Len is the number of columns that are present.
func (p *Presence) Len() int {
	n := 0
	for _, word := range p {
		n += bits.OnesCount64(word)
	}
	return n
}

// Columns are the attributes of one event, in the order of their declaration.
type Columns struct {
	keys []string
	// of is the column of each attribute; Most if the event does not declare it.
	of [declared.Attributes]uint8
	// layouts are keys without values, by what is present.
	layouts map[Presence]pcommon.Map
}

// maxLayouts bounds the layouts, because each optional attribute comes and goes by itself.
// Few combinations occur. If more do, the layouts are rebuilt.
const maxLayouts = 256

// New makes the columns of an event.
func New(event declared.Event) *Columns {
	c := &Columns{layouts: map[Presence]pcommon.Map{}}
	for a := range c.of {
		c.of[a] = Most
	}
	for i, a := range event.Attributes() {
		c.keys = append(c.keys, a.Key())
		c.of[a] = uint8(i)
	}
	return c
}

// Of is the column of an attribute; Most if the event does not declare it.
func (c *Columns) Of(a declared.Attribute) uint8 { return c.of[a] }

// Layout has the keys that are present, without values. It is only to be copied.
func (c *Columns) Layout(present Presence) pcommon.Map {
	if known, ok := c.layouts[present]; ok {
		return known
	}
	if len(c.layouts) >= maxLayouts {
		clear(c.layouts)
	}
	layout := pcommon.NewMap()
	layout.EnsureCapacity(present.Len())
	for word, rest := range present {
		for ; rest != 0; rest &= rest - 1 {
			layout.PutEmpty(c.keys[word*64+bits.TrailingZeros64(rest)])
		}
	}
	c.layouts[present] = layout
	return layout
}
