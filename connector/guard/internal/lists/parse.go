// SPDX-License-Identifier: Apache-2.0

package lists

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Forever is the end of an entry without one.
const Forever = time.Duration(math.MaxInt64)

// Limits bound what is read.
type Limits struct {
	// Files match all patterns together. Bytes and Entries are those of one file.
	Files   int
	Bytes   int64
	Entries int
	// Faults is how many of one file are reported; others are only counted.
	Faults int
}

// DefaultLimits are enough for the lists that are in use.
func DefaultLimits() Limits {
	return Limits{Files: 256, Bytes: 32 << 20, Entries: 200_000, Faults: 10}
}

// maxLine is the length of the longest line, in bytes. A longer one is junk.
const maxLine = 1024

// maxTTL is the longest time of a line.
const maxTTL = 10 * 365 * 24 * time.Hour

// Fault is what is wrong with a line, or with a file if Line is 0.
type Fault struct {
	File   string
	Line   int
	Reason string
	// Text is the line's beginning, made harmless.
	Text string
}

// String is one line for a log.
func (f Fault) String() string {
	text := ""
	if f.Text != "" {
		text = " (" + f.Text + ")"
	}
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s%s", clean.String(f.File), f.Reason, text)
	}
	return fmt.Sprintf("%s:%d: %s%s", clean.String(f.File), f.Line, f.Reason, text)
}

// parsed is what a file contains.
type parsed struct {
	entries []line
	// tail is an entry of a last line without an end. It may be the beginning of another.
	tail   *line
	faults []Fault
	// untold are faults beyond the limit.
	untold int
}

// line is an entry as it is written.
type line struct {
	prefix netip.Prefix
	ttl    time.Duration
	number int
	reason string
}

// Refuse says why an entry must not be on a list; empty if it may.
type Refuse func(netip.Prefix) string

// parser reads one file.
type parser struct {
	file   string
	limits Limits
	refuse Refuse
	out    parsed
	// reasons has each comment once.
	reasons map[string]string
}

// parse reads a file to its end. What it can't use is a fault, and the rest is read.
func parse(from io.Reader, file string, limits Limits, refuse Refuse) (parsed, error) {
	p := &parser{file: file, limits: limits, refuse: refuse, reasons: map[string]string{}}
	limited := &io.LimitedReader{R: from, N: limits.Bytes + 1}
	in := bufio.NewReaderSize(limited, maxLine)
	for number := 1; ; number++ {
		text, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		begin := text
		if long {
			begin = bytes.Clone(text[:40])
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return p.out, err
		}
		end := errors.Is(err, io.EOF)
		if limited.N <= 0 {
			p.fault(0, fmt.Sprintf("longer than %d bytes, the rest is not read", limits.Bytes), nil)
			return p.out, nil
		}
		if number == 1 {
			begin = bytes.TrimPrefix(begin, []byte("\xef\xbb\xbf"))
		}
		if long {
			p.fault(number, fmt.Sprintf("longer than %d bytes", maxLine), begin)
		} else if !p.line(number, begin, end) {
			return p.out, nil
		}
		if end {
			return p.out, nil
		}
	}
}

// line reads one line. It reports whether there is room for more.
func (p *parser) line(number int, text []byte, last bool) bool {
	content, comment := text, []byte(nil)
	if i := bytes.IndexAny(text, "#;"); i >= 0 {
		content, comment = text[:i], bytes.TrimSpace(bytes.TrimLeft(text[i:], "#; "))
	}
	fields := bytes.Fields(content)
	if len(fields) == 0 {
		return true
	}
	if len(p.out.entries) >= p.limits.Entries {
		p.fault(0, fmt.Sprintf("more than %d entries, the rest is not read", p.limits.Entries), nil)
		return false
	}
	entry, reason := p.entry(fields)
	if reason != "" {
		p.fault(number, reason, bytes.TrimSpace(content))
		return true
	}
	entry.number, entry.reason = number, p.reason(comment)
	if last {
		p.out.tail = &entry
		return true
	}
	p.out.entries = append(p.out.entries, entry)
	return true
}

// entry makes an entry, or says why it can't.
func (p *parser) entry(fields [][]byte) (line, string) {
	prefix, err := address.Parse(string(fields[0]))
	if err != nil {
		return line{}, err.Error()
	}
	entry := line{prefix: prefix}
	switch len(fields) {
	case 1:
	case 2:
		if entry.ttl, err = parseTTL(string(fields[1])); err != nil {
			return line{}, err.Error()
		}
	default:
		return line{}, "more than an address and a time"
	}
	if p.refuse != nil {
		if why := p.refuse(prefix); why != "" {
			return line{}, why
		}
	}
	return entry, ""
}

// reason is a comment, kept once.
func (p *parser) reason(comment []byte) string {
	if len(comment) == 0 {
		return ""
	}
	if known, ok := p.reasons[string(comment)]; ok {
		return known
	}
	text := clean.String(string(comment))
	p.reasons[string(comment)] = text
	return text
}

func (p *parser) fault(number int, reason string, text []byte) {
	if len(p.out.faults) >= p.limits.Faults {
		p.out.untold++
		return
	}
	p.out.faults = append(p.out.faults, Fault{p.file, number, reason, string(clean.Append(nil, text, 60))})
}

var errTTL = errors.New("the time is neither seconds nor a number with s, m, h or d")

// parseTTL reads how long an entry counts.
func parseTTL(text string) (time.Duration, error) {
	unit := time.Second
	digits := text
	switch text[len(text)-1] {
	case 's':
		digits = text[:len(text)-1]
	case 'm':
		unit, digits = time.Minute, text[:len(text)-1]
	case 'h':
		unit, digits = time.Hour, text[:len(text)-1]
	case 'd':
		unit, digits = 24*time.Hour, text[:len(text)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 {
		return 0, errTTL
	}
	return min(time.Duration(n)*unit, maxTTL), nil
}
