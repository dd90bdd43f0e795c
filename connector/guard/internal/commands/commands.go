// SPDX-License-Identifier: Apache-2.0

// Package commands is what a person can ask the guard for, and have it do.
package commands

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/allow"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/blocks"
	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/lists"
	"github.com/ebpftcp/ebpftcpreceiver/internal/control"
)

// State is what the commands read and change. The caller applies the decisions.
type State struct {
	Table   *blocks.Table
	Allowed *allow.List
	// Networks are the host's own.
	Networks func() []netip.Prefix
	Now      time.Duration
}

// Run answers a question, and returns what it decided.
func Run(q control.Question, s *State) (control.Answer, []blocks.Decision) {
	switch {
	case q.Command == "list" && len(q.Arguments) == 0:
		return s.list(), nil
	case q.Command == "flush" && len(q.Arguments) == 0:
		return s.flush()
	case q.Command == "block" && len(q.Arguments) == 2:
		return s.block(&q, q.Arguments[1])
	case len(q.Arguments) != 1:
	case q.Command == "why":
		return s.why(q.Arguments[0]), nil
	case q.Command == "block":
		return s.block(&q, "")
	case q.Command == "unblock":
		return s.unblock(q.Arguments[0])
	}
	return control.Answer{Error: "use: list | why ADDRESS | block ADDRESS [DURATION] | unblock ADDRESS | flush"}, nil
}

func wrong(format string, args ...any) control.Answer {
	return control.Answer{Error: fmt.Sprintf(format, args...)}
}

func (s *State) list() control.Answer {
	var keys []netip.Prefix
	for key := range s.Table.All() {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits())
	})
	var a control.Answer
	for _, key := range keys {
		a.Lines = append(a.Lines, s.lines(key)...)
	}
	return a
}

// lines has one for each origin of a block.
func (s *State) lines(key netip.Prefix) (lines []string) {
	for _, b := range s.Table.Get(key) {
		left := "until it is lifted"
		if b.Until != blocks.Forever {
			left = "for " + b.Left(s.Now).Round(time.Second).String()
		}
		line := fmt.Sprintf("%s blocked %s by %s", key, left, b.Origin.Kind)
		for _, more := range []string{b.Origin.Name, b.Rule, b.Reason} {
			if more != "" && (more != b.Rule || b.Rule != b.Origin.Name) {
				line += " " + more
			}
		}
		if b.Rule != "" && b.Rule == b.Origin.Name {
			line += " " + b.Rule
		}
		lines = append(lines, line)
	}
	return lines
}

func (s *State) why(text string) control.Answer {
	prefix, err := address.Parse(text)
	if err != nil || !address.IsSingle(prefix) {
		return wrong("%q is no address", text)
	}
	var a control.Answer
	for _, entry := range s.Allowed.Reasons(prefix.Addr()) {
		a.Lines = append(a.Lines, fmt.Sprintf("%s allowed: %s %s", entry.Prefix, entry.Why, entry.Detail))
	}
	for _, key := range s.Table.Covering(prefix.Addr()) {
		a.Lines = append(a.Lines, s.lines(key)...)
	}
	if len(a.Lines) == 0 {
		a.Lines = []string{prefix.Addr().String() + " neither allowed nor blocked"}
	}
	return a
}

func (s *State) block(q *control.Question, duration string) (control.Answer, []blocks.Decision) {
	text := q.Arguments[0]
	prefix, err := address.Parse(text)
	if err != nil {
		return wrong("%q: %v", text, err), nil
	}
	r := blocks.Request{Prefix: prefix, Origin: blocks.Origin{Kind: blocks.Operator}, Reason: "by hand"}
	if duration != "" {
		if r.TTL, err = time.ParseDuration(duration); err != nil || r.TTL <= 0 {
			return wrong("%q is no duration such as 10m", duration), nil
		}
	}
	if entry, ok := s.Allowed.Find(prefix); ok {
		return wrong("%s is allowed: %s %s", prefix, entry.Why, entry.Detail), nil
	}
	if why := s.risk(prefix, q.From); why != "" && !q.Force {
		return wrong("%s: %s. With -force it is blocked all the same", prefix, why), nil
	}
	d := s.Table.Block(&r, s.Now)
	if d.Outcome == blocks.Refused {
		return wrong("%s: %s", prefix, d.Refusal), []blocks.Decision{d}
	}
	return control.Answer{Lines: s.lines(d.Key)}, []blocks.Decision{d}
}

// risk says how a block may cut off the person who asks for it, who has come from an address; empty
// if it can't.
func (s *State) risk(prefix netip.Prefix, from string) string {
	if why := lists.DefaultPolicy(s.Networks).Refuse(prefix); why != "" {
		return why
	}
	addr, err := netip.ParseAddr(from)
	if err == nil && s.Table.Key(prefix).Contains(addr.Unmap().WithZone("")) {
		return "you are logged in from " + addr.String()
	}
	return ""
}

func (s *State) unblock(text string) (control.Answer, []blocks.Decision) {
	prefix, err := address.Parse(text)
	if err != nil {
		return wrong("%q: %v", text, err), nil
	}
	done := s.Table.LiftAll(s.Table.Key(prefix), s.Now)
	a := control.Answer{Lines: []string{fmt.Sprintf("lifted %d blocks", len(done))}}
	for _, key := range s.Table.Covering(prefix.Addr()) {
		a.Lines = append(a.Lines, "still: "+key.String())
	}
	return a, done
}

func (s *State) flush() (control.Answer, []blocks.Decision) {
	var keys []netip.Prefix
	for key := range s.Table.All() {
		keys = append(keys, key)
	}
	var done []blocks.Decision
	for _, key := range keys {
		done = append(done, s.Table.LiftAll(key, s.Now)...)
	}
	return control.Answer{Lines: []string{fmt.Sprintf("lifted %d blocks", len(done))}}, done
}
