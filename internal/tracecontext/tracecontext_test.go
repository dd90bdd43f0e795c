// SPDX-License-Identifier: Apache-2.0

package tracecontext

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

const (
	trace = "0af7651916cd43dd8448eb211c80319c"
	span  = "b7ad6b7169203331"
	good  = "00-" + trace + "-" + span + "-01"
)

// fields makes header fields from names and values in turn.
func fields(pairs ...string) []request.Field {
	var all []request.Field
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, request.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

func TestParent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		value string
		fault Fault
		flags byte
	}{
		{"sampled", good, None, 1},
		{"not sampled", good[:53] + "00", None, 0},
		{"random", good[:53] + "03", None, 3},
		{"unknown flags are cleared", good[:53] + "ff", None, 3},
		{"later version", "01" + good[2:], None, 1},
		{"later version with more", "cc" + good[2:] + "-what-the-future", None, 1},
		{"later version with only a hyphen more", "cc" + good[2:] + "-", None, 1},
		{"later version, too long", "cc" + good[2:] + ".what", Malformed, 0},
		{"version 0 with more", good + "-01", Malformed, 0},
		{"version ff", "ff" + good[2:], Version, 0},
		{"zero trace id", "00-" + strings.Repeat("0", 32) + "-" + span + "-01", ZeroID, 0},
		{"zero span id", "00-" + trace + "-" + strings.Repeat("0", 16) + "-01", ZeroID, 0},
		{"upper case", strings.ToUpper(good), Malformed, 0},
		{"upper case version", "0A" + good[2:], Malformed, 0},
		{"upper case flags", good[:53] + "0A", Malformed, 0},
		{"no hex", strings.Replace(good, "a", "g", 1), Malformed, 0},
		{"no hex flags", good[:53] + "0.", Malformed, 0},
		{"no hex version", ".0" + good[2:], Malformed, 0},
		{"wrong separators", strings.ReplaceAll(good, "-", "_"), Malformed, 0},
		{"short", good[:54], Malformed, 0},
		{"empty", "", Malformed, 0},
		{"a list", good + "," + good, Malformed, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, found, fault := Parse(fields("Host", "a", "TraceParent", test.value, "tracestate", "a=1"), nil)
			assert.Equal(t, test.fault, fault)
			if test.fault != None {
				assert.False(t, found)
				assert.Equal(t, Context{}, got)
				assert.NotEmpty(t, fault.String())
				return
			}
			require.True(t, found)
			assert.Equal(t, trace, hex.EncodeToString(got.TraceID[:]))
			assert.Equal(t, span, hex.EncodeToString(got.SpanID[:]))
			assert.Equal(t, test.flags, got.Flags)
			assert.Equal(t, test.flags&1 != 0, got.Sampled())
			assert.Equal(t, "a=1", string(got.State))
		})
	}
}

func TestNoContext(t *testing.T) {
	t.Parallel()
	got, found, fault := Parse(fields("Host", "a", "tracestate", "a=1"), nil)
	assert.Equal(t, Context{}, got)
	assert.False(t, found)
	assert.Equal(t, None, fault, "a tracestate alone is no fault")
}

func TestRepeated(t *testing.T) {
	t.Parallel()
	for _, other := range []string{good, "", "garbage"} {
		_, found, fault := Parse(fields("traceparent", other, "TRACEPARENT", good), nil)
		assert.False(t, found)
		assert.Equal(t, Repeated, fault)
	}
	_, found, fault := Parse([]request.Field{{Name: []byte("traceparent")}, {Name: []byte("traceparent")}}, nil)
	assert.False(t, found)
	assert.Equal(t, Repeated, fault)
}

func TestState(t *testing.T) {
	t.Parallel()
	many := ""
	for i := range 32 {
		many += string(rune('a'+i%26)) + string(rune('0'+i/26)) + "=1,"
	}
	for _, test := range []struct {
		name   string
		values []string
		want   string
		fault  Fault
	}{
		{"none", nil, "", None},
		{"one", []string{"congo=t61rcWkgMzE"}, "congo=t61rcWkgMzE", None},
		{"several fields", []string{"a=1", "", "b=2", "c=3"}, "a=1,b=2,c=3", None},
		{"white space and empty members", []string{"a=1 ,\t b=2, ,"}, "a=1 ,\t b=2, ,", None},
		{"tenant", []string{"0t-_*/@sys=v v"}, "0t-_*/@sys=v v", None},
		{"32 members", []string{many}, many, None},
		{"33 members", []string{many + "zz=1"}, "", State},
		{"duplicate", []string{"a=1", "a=2"}, "", State},
		{"upper case key", []string{"A=1"}, "", State},
		{"key begins with @", []string{"@a=1"}, "", State},
		{"no key", []string{"=1"}, "", State},
		{"no value", []string{"a="}, "", State},
		{"no equals sign", []string{"a"}, "", State},
		{"two equals signs", []string{"a=b=c"}, "", State},
		{"control character", []string{"a=\x01"}, "", State},
		{"long key", []string{strings.Repeat("a", 257) + "=1"}, "", State},
		{"longest", []string{strings.Repeat("a", 256) + "=" + strings.Repeat("b", 256)}, strings.Repeat("a", 256) + "=" + strings.Repeat("b", 256), None},
		{"long value", []string{"a=" + strings.Repeat("b", 257)}, "", State},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			all := fields("traceparent", good)
			for _, value := range test.values {
				all = append(all, fields("TraceState", value)...)
			}
			got, found, fault := Parse(all, nil)
			assert.True(t, found, "tracestate does not spoil traceparent")
			assert.Equal(t, test.fault, fault)
			assert.Equal(t, test.want, string(got.State))
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good), []byte("a=1,b=2"), []byte("c=3"))
	f.Add([]byte("cc"+good[2:]+"-x"), []byte("@=,"), []byte(""))
	f.Add([]byte("ff"+good[2:]), []byte(strings.Repeat("a=1,", 40)), []byte(" "))
	f.Fuzz(func(t *testing.T, parent, first, second []byte) {
		all := []request.Field{
			{Name: []byte("traceparent"), Value: parent},
			{Name: []byte("tracestate"), Value: first},
			{Name: []byte("tracestate"), Value: second},
		}
		got, found, fault := Parse(all, nil)
		if !found {
			if fault == None || fault == State {
				t.Fatalf("not found, and the fault is %q", fault)
			}
			return
		}
		want := hex.EncodeToString(got.TraceID[:]) + "-" + hex.EncodeToString(got.SpanID[:])
		if !bytes.Equal(parent[3:52], []byte(want)) {
			t.Fatalf("%q was read as %s", parent, want)
		}
		if got.TraceID == [16]byte{} || got.SpanID == [8]byte{} || bytes.HasPrefix(parent, []byte("ff")) {
			t.Fatalf("%q was accepted", parent)
		}
		if bytes.ContainsAny(got.State, "\r\n\x00") {
			t.Fatalf("the state is %q", got.State)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	all := fields("Host", "example.com", "User-Agent", "curl", "Accept", "*/*", "traceparent", good, "tracestate", "a=1,b=2")
	b.ReportAllocs()
	for b.Loop() {
		if _, found, _ := Parse(all, nil); !found {
			b.Fatal("not found")
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	all := fields("traceparent", good, "tracestate", "a=1", "tracestate", "b=2")
	buffer := make([]byte, 0, 64)
	assert.Zero(t, testing.AllocsPerRun(100, func() { Parse(all, buffer) }))
}
