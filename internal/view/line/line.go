// SPDX-License-Identifier: Apache-2.0

// Package line writes an event as one line for a terminal: time first, then what happened, who
// asked, which service, and how it went.
package line

import (
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ebpftcp/ebpftcpreceiver/internal/view/event"
)

// Columns is the greatest length of a line, in characters.
const Columns = 100

// Widths of the columns, which longer contents exceed.
const (
	kindWidth   = 7
	clientWidth = 21 // an IPv4 address with its port
	serverWidth = 18
)

// Of returns the line, without a line feed.
func Of(e *event.Event) string {
	var b strings.Builder
	b.Grow(2 * Columns)
	b.WriteString(e.Time.Local().Format("15:04:05.000"))
	b.WriteByte(' ')
	pad(&b, e.Kind.String(), kindWidth)
	if e.Client != "" || e.Port != 0 {
		b.WriteByte(' ')
		pad(&b, client(e), clientWidth)
		b.WriteString(" > ")
		pad(&b, server(e), serverWidth)
	}
	text := strings.TrimRight(b.String(), " ")
	if more := details(e); len(more) > 0 {
		text = b.String()
		for i, what := range more {
			// What came first must be there, even if it is cut. The rest only if it fits.
			if what != "" && (i < needed || utf8.RuneCountInString(text)+1+utf8.RuneCountInString(what) <= Columns) {
				text += " " + what
			}
		}
	}
	return Cut(strings.TrimRight(text, " "), Columns)
}

// needed is how many of the details a line must have.
const needed = 3

// Cut shortens text to so many characters. Its last is then an ellipsis.
func Cut(text string, columns int) string {
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	n := 0
	for i := range text {
		if n++; n == columns {
			return text[:i] + "…"
		}
	}
	return text
}

func pad(b *strings.Builder, text string, width int) {
	b.WriteString(text)
	for n := utf8.RuneCountInString(text); n < width; n++ {
		b.WriteByte(' ')
	}
}

func client(e *event.Event) string {
	switch {
	case e.Client == "":
		return "-"
	case e.ClientPort == 0:
		return e.Client
	}
	return net.JoinHostPort(e.Client, strconv.Itoa(int(e.ClientPort)))
}

func server(e *event.Event) string {
	s := ":" + strconv.Itoa(int(e.Port))
	if e.Process != "" {
		s += " " + e.Process
	}
	if e.PID > 0 {
		s += "[" + strconv.FormatInt(e.PID, 10) + "]"
	}
	return s
}

// details are the columns after the service.
func details(e *event.Event) []string {
	switch e.Kind {
	case event.Open:
		return []string{rtt(e)}
	case event.Close, event.Update:
		return []string{e.Reason, Span(e.Duration), retransmits(e), bytes(e), rtt(e)}
	case event.Failed:
		return []string{e.Reason}
	case event.Request:
		return []string{status(e), Span(e.Duration), asked(e), e.Reason}
	case event.Handshake:
		return []string{e.Protocol, Span(e.Duration), e.ServerName, e.Reason}
	default:
		return []string{e.Text}
	}
}

func asked(e *event.Event) string {
	if e.Call != "" {
		return e.Call
	}
	return strings.TrimSpace(e.Method + " " + e.Path + " " + e.Model)
}

func status(e *event.Event) string {
	if e.Status < 0 {
		return ""
	}
	return strconv.FormatInt(e.Status, 10)
}

func bytes(e *event.Event) string {
	if e.Received < 0 || e.Sent < 0 {
		return ""
	}
	return "in " + Bytes(e.Received) + " out " + Bytes(e.Sent)
}

func retransmits(e *event.Event) string {
	if e.Retransmits <= 0 {
		return ""
	}
	return "retransmits " + strconv.FormatInt(e.Retransmits, 10)
}

func rtt(e *event.Event) string {
	if !e.RTT.Known() {
		return ""
	}
	return "rtt " + Span(e.RTT)
}

// Span writes a duration with three digits, such as 12.3ms, or nothing if it is absent.
func Span(s event.Seconds) string {
	if !s.Known() {
		return ""
	}
	d := s.Duration()
	switch {
	case d < 999_500*time.Nanosecond: // would be written with four digits
		return digits(float64(d)/float64(time.Microsecond)) + "us"
	case d < 999_500*time.Microsecond:
		return digits(float64(d)/float64(time.Millisecond)) + "ms"
	case d < 59_950*time.Millisecond:
		return digits(d.Seconds()) + "s"
	}
	return d.Round(time.Second).String()
}

// Bytes writes a size with three digits, in powers of 1,000.
func Bytes(n int64) string {
	v, unit := float64(n), ""
	for _, next := range []string{"k", "M", "G", "T", "P", "E"} {
		// 999.5 would be written with four digits.
		if v < 999.5 {
			break
		}
		v, unit = v/1000, next
	}
	if unit == "" {
		return strconv.FormatInt(n, 10) + "B"
	}
	return digits(v) + unit + "B"
}

// digits writes three significant digits of a number below 1,000.
func digits(v float64) string {
	precision := 0
	switch {
	case v < 9.995:
		precision = 2
	case v < 99.95:
		precision = 1
	}
	return strconv.FormatFloat(v, 'f', precision, 64)
}
