// SPDX-License-Identifier: Apache-2.0

package web

import (
	"slices"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/catalogue"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/engine"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/finding"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/literal"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/reading"
	"github.com/ebpftcp/ebpftcpreceiver/connector/threats/internal/settings"
)

// literalSignature searches requests for strings of the user's own.
type literalSignature struct {
	*settings.LiteralSignature
	set     *literal.Set
	headers []string
	found   []int32
}

func newLiteralSignature(set *settings.LiteralSignature, literals *literal.Set) *literalSignature {
	d := &literalSignature{LiteralSignature: set, set: literals}
	for _, name := range set.Headers {
		d.headers = append(d.headers, strings.ToLower(name))
	}
	return d
}

func (*literalSignature) Events() []reading.Event { return []reading.Event{reading.HTTPRequest} }

func (d *literalSignature) Judge(m *engine.Moment) {
	d.found = d.found[:0]
	m.Content(d.search)
	if len(d.found) == 0 {
		return
	}
	m.Source.Matches++
	about := m.About(catalogue.LiteralSignature)
	if !m.Due(about, m.Source.Matches) {
		return
	}
	f := m.Request(catalogue.LiteralSignature, m.Source.Matches, m.Now)
	for _, i := range d.found {
		f.Signatures = append(f.Signatures, d.set.Name(i))
	}
	f.Facts = []finding.Fact{{Key: catalogue.FactRequests, Value: float64(m.Source.Matches)}}
	m.Report(about, f)
}

func (d *literalSignature) search(part reading.Part, name, text string) {
	if part == reading.PartMethod || part == reading.PartHeader && !slices.Contains(d.headers, name) {
		return
	}
	text = text[:min(len(text), d.MaxBytes)]
	d.found = d.set.Search(text, d.found)
	if part == reading.PartPath || part == reading.PartQuery {
		d.found = d.set.SearchDecoded(text, d.found)
	}
}
