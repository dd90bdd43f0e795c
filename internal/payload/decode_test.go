// SPDX-License-Identifier: Apache-2.0

package payload_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// encode applies a content encoding.
func encode(t testing.TB, encoding string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "flate":
		var err error
		w, err = flate.NewWriter(&b, flate.BestCompression)
		require.NoError(t, err)
	}
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// noise is text that does not compress well.
func noise(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, n)
	for i := range text {
		text[i] = byte('a' + r.IntN(16))
	}
	return text
}

func TestDecode(t *testing.T) {
	content := noise(10_000)
	zipped, zlibbed, flated := encode(t, "gzip", content), encode(t, "zlib", content), encode(t, "flate", content)
	d := &payload.Decoder{MaxBytes: 64 << 10, MaxRatio: 100}
	for name, test := range map[string]struct {
		body          []byte
		encoding      string
		want, remains string
	}{
		"none":             {body: content, want: string(content)},
		"identity":         {body: content, encoding: "identity", want: string(content)},
		"gzip":             {body: zipped, encoding: "gzip", want: string(content)},
		"x-gzip":           {body: zipped, encoding: " X-GZip\t", want: string(content)},
		"zlib":             {body: zlibbed, encoding: "deflate", want: string(content)},
		"raw deflate":      {body: flated, encoding: "Deflate", want: string(content)},
		"two":              {body: encode(t, "zlib", zipped), encoding: "gzip, deflate", want: string(content)},
		"two, raw":         {body: encode(t, "gzip", flated), encoding: "deflate,identity,,gzip", want: string(content)},
		"same twice":       {body: encode(t, "gzip", zipped), encoding: "gzip, gzip", want: string(content)},
		"three":            {body: encode(t, "gzip", encode(t, "gzip", zipped)), encoding: "gzip, gzip, gzip", want: string(zipped), remains: "gzip"},
		"br":               {body: []byte("\x0bxy"), encoding: "br", want: "\x0bxy", remains: "br"},
		"gzip inside br":   {body: []byte("\x0bxy"), encoding: "gzip, br", want: "\x0bxy", remains: "gzip, br"},
		"br inside gzip":   {body: encode(t, "gzip", []byte("xy")), encoding: "br , gzip", want: "xy", remains: "br"},
		"two members":      {body: append(bytes.Clone(zipped), encode(t, "gzip", []byte("more"))...), encoding: "gzip", want: string(content) + "more"},
		"empty body":       {encoding: "gzip"},
		"empty content":    {body: encode(t, "gzip", nil), encoding: "gzip"},
		"unknown encoding": {body: content, encoding: "gzipped", want: string(content), remains: "gzipped"},
	} {
		t.Run(name, func(t *testing.T) {
			got := d.Decode(test.body, false, []byte(test.encoding))
			require.Equal(t, test.want, string(got.Content))
			require.Equal(t, test.remains, got.Remains)
			require.False(t, got.Cut)
			require.Equal(t, payload.ProblemNone, got.Problem)
		})
	}
}

// TestDecodeCut cuts at each byte: what was decoded is the beginning of the content.
func TestDecodeCut(t *testing.T) {
	content := noise(600)
	d := &payload.Decoder{MaxBytes: 64 << 10, MaxRatio: 100}
	for encoding, body := range map[string][]byte{
		"gzip":          encode(t, "gzip", content),
		"deflate":       encode(t, "zlib", content),
		"gzip, deflate": encode(t, "flate", encode(t, "gzip", content)),
	} {
		most := 0
		for n := 1; n < len(body); n++ {
			got := d.Decode(body[:n], true, []byte(encoding))
			require.True(t, got.Cut)
			require.Equal(t, payload.ProblemNone, got.Problem, "%s %d", encoding, n)
			require.Empty(t, got.Remains)
			require.True(t, bytes.HasPrefix(content, got.Content))
			most = max(most, len(got.Content))

			whole := d.Decode(body[:n], false, []byte(encoding))
			require.Equal(t, payload.ProblemEncoding, whole.Problem)
		}
		require.Greater(t, most, 500, encoding)
	}
}

func TestDecodeProblems(t *testing.T) {
	content := noise(10_000)
	d := &payload.Decoder{MaxBytes: 64 << 10, MaxRatio: 100}

	got := d.Decode([]byte("surely no gzip"), false, []byte(" gzip"))
	require.Equal(t, payload.Decoded{Content: []byte("surely no gzip"), Remains: "gzip", Problem: payload.ProblemEncoding}, got)
	got = d.Decode([]byte("surely no gzip"), true, []byte("br, gzip"))
	require.Equal(t, payload.Decoded{Content: []byte("surely no gzip"), Cut: true, Remains: "br, gzip", Problem: payload.ProblemEncoding}, got)

	zipped := encode(t, "gzip", content)
	zipped[len(zipped)-5] ^= 1
	got = d.Decode(zipped, false, []byte("gzip"))
	require.Equal(t, payload.ProblemEncoding, got.Problem, "the checksum is wrong")
	require.True(t, got.Cut)
	require.Equal(t, string(content), string(got.Content))
}

func TestDecodeBounds(t *testing.T) {
	content := noise(10_000)
	for _, encoding := range []string{"gzip", "zlib", "flate"} {
		name := map[string]string{"gzip": "gzip", "zlib": "deflate", "flate": "deflate"}[encoding]
		for limit, cut := range map[int]bool{9_999: true, 10_000: false, 1: true} {
			d := &payload.Decoder{MaxBytes: limit, MaxRatio: 100}
			got := d.Decode(encode(t, encoding, content), false, []byte(name))
			require.Equal(t, cut, got.Cut)
			require.Equal(t, payload.ProblemNone, got.Problem)
			require.Equal(t, string(content[:min(limit, len(content))]), string(got.Content))
		}
	}
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 8<<20)
	d := &payload.Decoder{MaxBytes: 1 << 20, MaxRatio: 20}
	bomb := encode(t, "gzip", zeros)
	for encoding, body := range map[string][]byte{
		"gzip":          bomb,
		"deflate":       encode(t, "zlib", zeros),
		"gzip, gzip":    encode(t, "gzip", bomb),
		"deflate, gzip": encode(t, "gzip", encode(t, "flate", zeros)),
	} {
		got := d.Decode(body, false, []byte(encoding))
		require.Equal(t, payload.ProblemRatio, got.Problem, encoding)
		require.True(t, got.Cut)
		require.LessOrEqual(t, len(got.Content), max(4<<10, 20*len(body)))
	}
	// A little content may expand at any ratio.
	got := d.Decode(encode(t, "gzip", zeros[:4<<10]), false, []byte("gzip"))
	require.Equal(t, payload.ProblemNone, got.Problem)
	require.Len(t, got.Content, 4<<10)
}

func TestDecodeReusesMemory(t *testing.T) {
	d := &payload.Decoder{MaxBytes: 64 << 10, MaxRatio: 100}
	body := encode(t, "zlib", encode(t, "gzip", noise(10_000)))
	encoding := []byte("gzip, deflate")
	allocations := testing.AllocsPerRun(50, func() { d.Decode(body, false, encoding) })
	require.LessOrEqual(t, allocations, 8.0, "compress/flate makes tables for some blocks")
}

func TestEncoding(t *testing.T) {
	field := func(name, value string) request.Field {
		return request.Field{Name: []byte(name), Value: []byte(value)}
	}
	m := &request.Message{}
	m.SetFields(field("Content-Type", "a/b"))
	require.Empty(t, payload.Encoding(m))
	m.SetFields(append(m.Fields(), field("CONTENT-Encoding", "gzip"))...)
	require.Equal(t, "gzip", string(payload.Encoding(m)))
	m.SetFields(append(m.Fields(), field("content-encoding", "br"), field("content-encoding", "deflate"))...)
	require.Equal(t, "gzip, br, deflate", string(payload.Encoding(m)))
	require.Equal(t, "gzip", string(m.Fields()[1].Value))
}

// FuzzDecode: whatever the bytes, no bound is exceeded, and the same decoder gives the same
// again. If nothing was cut and there is no problem, a decoder without bounds agrees.
func FuzzDecode(f *testing.F) {
	text := []byte(strings.Repeat(`{"a":1},`, 50))
	f.Add(encode(f, "gzip", text), false, "gzip")
	f.Add(encode(f, "zlib", text)[:20], true, "deflate")
	f.Add(encode(f, "flate", text), false, "deflate")
	f.Add(encode(f, "gzip", encode(f, "zlib", text)), false, "deflate, x-gzip")
	f.Add(encode(f, "gzip", make([]byte, 100_000)), false, "gzip")
	f.Add([]byte("\x1f\x8b"), true, "br,gzip")
	f.Fuzz(func(t *testing.T, body []byte, cut bool, encoding string) {
		d := &payload.Decoder{MaxBytes: 16 << 10, MaxRatio: 10}
		bound := max(len(body), d.MaxBytes)
		got := d.Decode(body, cut, []byte(encoding))
		require.LessOrEqual(t, len(got.Content), bound)
		require.True(t, got.Cut || !cut)
		content := bytes.Clone(got.Content)
		again := d.Decode(body, cut, []byte(encoding))
		require.Equal(t, content, bytes.Clone(again.Content))
		require.Equal(t, got.Problem, again.Problem)
		if got.Problem != payload.ProblemNone || got.Cut {
			return
		}
		if encoding == "gzip" && len(body) > 0 {
			r, err := gzip.NewReader(bytes.NewReader(body))
			require.NoError(t, err)
			want, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, string(want), string(content))
		}
	})
}
